"""The guide to clusters: each of its commands is right, and its profile does what the guide says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, copy_of_the_book

from lowdose_utils import data
from lowdose_utils.__main__ import main

GUIDE = ROOT / "book" / "guides" / "cluster.md"


def commands() -> list[list[str]]:
    """The lines of the guide's blocks of code, cut into words."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def dry(words: list[str]) -> list[str]:
    return words if "--dry-run" in words else [*words, "--dry-run"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_the_book(tmp_path_factory.mktemp("cluster"))


def test_the_commands_on_data_are_ones_that_exist(monkeypatch, tmp_path, capsys) -> None:
    fetched = []
    monkeypatch.setattr(data, "fetch_all", lambda **_: fetched.append("all"))
    monkeypatch.setattr(data, "fetch_dataset", lambda name, **_: fetched.append(name))
    monkeypatch.setenv("LOWDOSE_DATA_DIR", str(tmp_path))
    used = [words for words in commands() if words[:2] == ["lowdose", "data"]]
    assert used
    assert [main(words[1:]) for words in used] == [0] * len(used)
    assert fetched == ["all"]


@pytest.mark.slow
def test_the_other_commands_pass_a_dry_run(checkout, monkeypatch, capsys) -> None:
    monkeypatch.chdir(checkout)
    seen = set()
    # The longest first: with --results, say, and then not again without it.
    for words in sorted(commands(), key=len, reverse=True):
        plain = frozenset(words) - {"--dry-run"}
        if any(plain <= other for other in seen):
            continue
        seen.add(plain)
        match words:
            case ["lowdose", "sweep", *_]:
                assert main(dry(words)[1:]) == 0, capsys.readouterr().err
            case ["snakemake", *rest]:
                done = run_snakemake(dry(rest), checkout)
                assert done.returncode == 0, done.stdout + done.stderr
                assert re.search(r"^section +[1-9]", done.stdout + done.stderr, re.MULTILINE), done.stdout
            case ["make", *rest]:
                subprocess.run(["make", "-n", *rest], check=True, capture_output=True)
            case ["source", ".venv/bin/activate"] | ["export", _] | ["lowdose", "data", *_]:
                pass
            case _:
                pytest.fail(f"no test knows this command of the guide: {words}")


def run_snakemake(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *words], cwd=folder, capture_output=True, text=True, check=False
    )
