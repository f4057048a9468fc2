"""The commit that is published or packed."""

from __future__ import annotations

import subprocess
from pathlib import Path

from lowdose_utils.errors import LowdoseError


def git(root: Path, *arguments: str) -> str:
    """Run git in `root` and give what it says.

    Raises
    ------
    LowdoseError
        If `root` is no clone, or git fails.
    """
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise LowdoseError(
            f"git {arguments[0]} in {root}",
            found=(getattr(error, "stderr", "") or str(error)).strip(),
            expected="a clone of the book's repository",
            way_out="Clone it, and run the command there.",
        ) from None
    return done.stdout.strip()


def head_commit(root: Path) -> str:
    """The full hash of the checkout's commit, if the checkout is that commit and nothing else.

    Raises
    ------
    LowdoseError
        If files that git knows were changed since.
    """
    changed = git(root, "status", "--porcelain", "--untracked-files=no").splitlines()
    if changed:
        raise LowdoseError(
            "checkout",
            found=f"{len(changed)} changed files, such as {changed[0].split()[-1]}",
            expected="a commit and nothing else, since the commit is what others get",
            way_out="Commit the changes, or `git stash` them.",
        )
    return git(root, "rev-parse", "HEAD")
