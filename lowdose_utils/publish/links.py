"""Whether the links of the book lead somewhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from lowdose_utils.errors import LowdoseError


def check_links(root: Path) -> list[str]:
    """Ask for every address that the pages link to; gives a line for each that does not answer.

    The pages are those of the last ``make book``. Sphinx's own report is ``_build/links/output.txt``.

    Raises
    ------
    LowdoseError
        If the pages cannot be read.
    """
    aside = root / "_build" / "links"
    shutil.rmtree(aside, ignore_errors=True)
    tool = Path(sys.executable).with_name("jupyter-book")
    options = ["--config", "_config.yml", "--path-output", "_build/links", "--builder", "linkcheck"]
    done = subprocess.run(
        [str(tool), "build", "book", *options],
        cwd=root,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore", "LC_ALL": "C.UTF-8"},
        check=False,
    )
    report = aside / "_build" / "html" / "output.json"
    if not report.exists():  # jupyter-book's exit status says no more than that some link is broken
        raise LowdoseError(
            "link check",
            found="; ".join((done.stdout + done.stderr).strip().splitlines()[-3:]),
            expected="a report of Sphinx's linkcheck",
            way_out="Run `make book` first: the check reads the pages that it writes.",
        )
    shutil.copyfile(report.with_suffix(".txt"), aside / "output.txt")
    checked = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    broken = [link for link in checked if link["status"] == "broken"]
    return [f"{link['filename']}:{link['lineno']}: {link['uri']}: {link['info']}" for link in broken]
