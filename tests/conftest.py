"""Fixtures that every test file may use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def data_folder() -> Path | None:
    """The folder with the real files: `LOWDOSE_DATA_DIR`, or `shared/data` beside the checkout."""
    named = os.environ.get("LOWDOSE_DATA_DIR")
    for folder in ([Path(named)] if named else []) + [ROOT.parent / "shared" / "data"]:
        if folder.is_dir():
            return folder.resolve()
    return None


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Give the path of a real measured file, or skip the test and say what is missing."""

    def find(name: str) -> Path:
        folder = data_folder()
        if folder is None or not (folder / name).exists():
            pytest.skip(f"real data {name} is not at hand: set LOWDOSE_DATA_DIR to a folder that has it")
        return folder / name

    return find
