"""The guide for a new section: a fresh checkout in which its steps are taken as the page has them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, copy_of_the_book
from guide_pages import blocks

from lowdose_utils import ledger, notebook, publish

NAME = "20_window"


def write(root: Path, caption: str, text: str) -> None:
    """Put a block where its caption says: a new file, the end of one, or below a line of one."""
    if caption.startswith("at the end of "):
        file = root / caption.removeprefix("at the end of ")
        file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")
    elif caption.startswith("in "):
        name, mark = caption.removeprefix("in ").split(", below ")
        lines = (root / name).read_text(encoding="utf-8").splitlines(keepends=True)
        (below,) = (number for number, line in enumerate(lines) if mark in line)
        (root / name).write_text("".join([*lines[: below + 1], text, *lines[below + 1 :]]), encoding="utf-8")
    else:
        with (root / caption).open("x", encoding="utf-8") as file:
            file.write(text)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout after all steps."""
    root = copy_of_the_book(tmp_path_factory.mktemp("section"))
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": tools, "PYTHONPATH": str(root)}
    for block in blocks("add_a_section"):
        if block.caption:
            write(root, block.caption, block.text)
        else:
            assert block.language == "bash"
            done = subprocess.run(
                ["bash", "-euc", block.text], cwd=root, env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stdout + done.stderr
    return root


def test_the_page_is_executed_and_its_claim_is_judged(checkout: Path) -> None:
    page = checkout / "_build" / "pages" / "smoke" / f"{NAME}.ipynb"
    record = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
    assert record["parameters"]["size"] == 64
    (claim,) = (c for c in ledger.load_claims(checkout / "book" / "claims.yml") if c["id"] == "own.window")
    assert ledger.judge(claim, record).outcome == "reproduced"
    spoiled = {**record, "claims": {"own.window": {"share_of_prediction": 2.0}}}
    assert ledger.judge(claim, spoiled).outcome == "not reproduced"
    shown = page.read_text(encoding="utf-8")
    assert "verdict-reproduced" in shown and "image/png" in shown
    assert "own.window" in publish.ledger_page(checkout, "smoke")


def test_what_the_suite_asks_of_a_section_holds(checkout: Path) -> None:
    """The guide leaves nothing out: README, contents and presets are as other tests want them."""
    assert NAME in notebook.sections(checkout) and NAME not in notebook.sections(ROOT)
    assert publish.sections_table(checkout) in (checkout / "README.md").read_text(encoding="utf-8")
    assert f"sections/{NAME}\n" in (checkout / "book" / "_toc.yml").read_text(encoding="utf-8")
    for preset in notebook.PRESETS:
        notebook.parameters(NAME, preset, {}, checkout)
