"""The command line: what it says when it is used well, and when not."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import ROOT, data_folder

from lowdose_utils.__main__ import main
from lowdose_utils.notebook import PRESETS


@pytest.fixture
def real_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = data_folder()
    if folder is None:
        pytest.skip("the real files are not at hand: set LOWDOSE_DATA_DIR")
    monkeypatch.setenv("LOWDOSE_DATA_DIR", str(folder))


def test_help_and_module_name_work_from_any_folder(tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lowdose_utils", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "run" in done.stdout
    assert "data" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "00_scan_to_slice", "-p", "repeat=3"], ["'repeat'", "repeats="]),
        (["run", "00_scan_to_slice", "-p", "repeats=many"], ["repeats", "'many' (str)", "int"]),
        (["run", "00_scan_to_slice", "-p", "repeats"], ["NAME=VALUE"]),
        (["run", "00_scan_to_slice", "--preset", "fast"], ["'fast'", ", ".join(PRESETS)]),
        (["run", "no_such_section"], ["'no_such_section'", "00_scan_to_slice"]),
        (["data", "fetch", "no_such_data"], ["'no_such_data'", "tooth"]),
        (["data", "fetch"], ["no dataset named", "--all"]),
        (["kit", "."], ["files that are no kit", "an empty folder"]),
        (["published", "."], ["files of another kind", "an empty folder"]),
    ],
)
def test_wrong_use_is_one_line_on_standard_error_and_exit_status_1(
    arguments, said, capsys, monkeypatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(arguments) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("lowdose: ")
    assert shown.err.count("\n") == 1
    assert all(piece in shown.err for piece in said), shown.err


def test_data_list_names_every_dataset_and_its_status(real_folder, capsys) -> None:
    assert main(["data", "list"]) == 0
    shown = capsys.readouterr().out
    assert "tooth" in shown
    assert "pinned" in shown
    assert "first-use" in shown or "manual" in shown


def test_data_verify_passes_on_right_files(real_folder, capsys) -> None:
    assert main(["data", "verify", "tooth"]) == 0
    assert "ok" in capsys.readouterr().out


def test_data_verify_fails_on_a_wrong_file(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("LOWDOSE_DATA_DIR", str(tmp_path))
    (tmp_path / "tooth").mkdir()
    (tmp_path / "tooth" / "tooth.h5").write_bytes(b"not a scan")
    assert main(["data", "verify", "tooth"]) == 1
    assert "wrong" in capsys.readouterr().out


def test_plain_notebooks_are_written(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["notebooks", "--folder", str(tmp_path)]) == 0
    assert (tmp_path / "00_scan_to_slice.ipynb").exists()
