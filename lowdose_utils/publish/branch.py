"""The branch `published`: executed notebooks that Colab and Binder open, at the paths the book links to."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import yaml

from lowdose_utils.errors import LowdoseError
from lowdose_utils.files import atomic_path, write_text
from lowdose_utils.notebook import sections
from lowdose_utils.publish.checkout import head_commit
from lowdose_utils.publish.installing import installing_cell, package_at

POST_BUILD = """\
#!/usr/bin/env bash
set -euo pipefail
pip install --no-deps --no-build-isolation --no-cache-dir "{package}"
"""
README = """\
# {title}: executed notebooks

Written by `lowdose published` from commit {commit} of {repository}; nothing is edited here.
The launch buttons of the book open these files. A first cell, which the sources do not have, installs the
package at that commit where it is not at hand.
"""


def write_published(root: Path, folder: Path, *, commit: str | None = None) -> list[Path]:
    """Write what goes on the branch `published` into a folder that holds nothing else afterwards.

    Parameters
    ----------
    root : Path
        Checkout of the book, with ``book/sections/`` written (``make book``).
    folder : Path
        Its layout is the checkout's: ``book/sections/*.ipynb``, ``.binder/``, ``requirements.lock``.
    commit : str, optional
        Commit whose package the notebooks install; by default the checkout's, which must be unchanged.

    Returns
    -------
    list of Path
        The notebooks.

    Raises
    ------
    LowdoseError
        If a section was not executed, the checkout has changes, or the folder holds something else.
    """
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    repository = config["repository"]["url"]
    inside = Path(config["repository"]["path_to_book"], "sections")
    if folder.exists() and any(folder.iterdir()) and not _ours(folder):
        raise LowdoseError(
            f"folder {folder}",
            found="files of another kind",
            expected="an empty folder, or one that this command wrote",
            way_out="Name another folder.",
        )
    commit = commit or head_commit(root)
    package = package_at(root, commit)
    names = []
    with atomic_path(folder) as fresh:
        for section in sections(root):
            page = root / "book" / "sections" / f"{section}.ipynb"
            if not page.exists():
                raise LowdoseError(
                    f"page of {section}",
                    found="none in book/sections",
                    expected="all sections executed",
                    way_out="Run `make book` first.",
                )
            write_text(fresh / inside / page.name, nbformat.writes(_installing(page, package)) + "\n")
            names.append(page.name)
        for kept in ("requirements.lock", "LICENSE", "CITATION.cff"):
            shutil.copyfile(root / kept, fresh / kept)
        shutil.copytree(root / ".binder", fresh / ".binder")
        write_text(fresh / ".binder" / "postBuild", POST_BUILD.format(package=package))
        (fresh / ".binder" / "postBuild").chmod(0o755)
        text = README.format(title=config["title"], commit=commit, repository=repository)
        write_text(fresh / "README.md", text)
    return [folder / inside / name for name in names]


def _ours(folder: Path) -> bool:
    """Whether this command wrote the folder, which it may then replace; a checkout is never replaced."""
    readme = folder / "README.md"
    written = readme.is_file() and "Written by `lowdose published`" in readme.read_text(encoding="utf-8")
    return written and not (folder / ".git").exists()


def _installing(page: Path, package: str) -> nbformat.NotebookNode:
    """The executed page behind a cell that installs the package where it is not importable."""
    notebook = nbformat.read(page, as_version=4)
    notebook.cells.insert(0, installing_cell(package))
    return notebook
