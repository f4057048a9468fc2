"""The cell that installs the book's package where a notebook is opened without it, such as in Colab."""

from __future__ import annotations

from pathlib import Path

import yaml
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

INSTALL = """\
# Where the book's package is not at hand (Colab), this line installs it: some minutes, torch included.
import importlib.util

if importlib.util.find_spec("lowdose_utils") is None:
    %pip install -q "{package}"\
"""


def package_at(root: Path, commit: str) -> str:
    """What pip installs: the package of the book's repository at a commit."""
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    return f"lowdose_utils @ git+{config['repository']['url']}@{commit}"


def installing_cell(package: str) -> NotebookNode:
    """A notebook's first cell, which does nothing where the package can be imported."""
    return new_code_cell(INSTALL.format(package=package), id="cell-install")
