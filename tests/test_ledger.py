"""Verdicts follow from measurements: change one, and the verdict turns."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from lowdose_utils import ledger, publish
from lowdose_utils.errors import LowdoseError
from lowdose_utils.fingerprint import fingerprint, is_current, loaded_modules
from lowdose_utils.publish import runs, tables

CLAIM = {
    "id": "primer.axis",
    "section": "00_scan_to_slice",
    "criterion": [{"measured": "axis", "is": "within", "bound": [295.25, 296.25]}],
}


def record(**measurements: object) -> dict[str, object]:
    return {"claims": {"primer.axis": measurements}}


def test_a_wrong_measurement_turns_the_verdict() -> None:
    assert ledger.judge(CLAIM, record(axis=295.8)).outcome == "reproduced"
    assert ledger.judge(CLAIM, record(axis=290.0)).outcome == "not reproduced"


@pytest.mark.parametrize(
    ("claim", "given_record", "written", "reason"),
    [
        (CLAIM, record(), True, "nothing measured"),
        (CLAIM, record(other=1), True, "the measurement axis is missing"),
        (CLAIM, record(axis="nan"), True, "the measurement axis is missing"),
        (CLAIM, {"claims": {}}, True, "nothing measured"),
        (CLAIM, None, True, "not run"),
        (CLAIM, None, False, "section not written"),
        ({**CLAIM, "criterion": None}, record(axis=295.8), True, "no criterion"),
    ],
)
def test_what_cannot_be_judged_says_why(claim, given_record, written, reason) -> None:
    verdict = ledger.judge(claim, given_record, written=written)
    assert verdict.outcome == "not judged"
    assert reason in verdict.why


@given(value=st.floats(-10, 10), bound=st.floats(-10, 10))
def test_comparisons_are_what_their_names_say(value: float, bound: float) -> None:
    def holds(comparison: str) -> bool:
        claim = {**CLAIM, "criterion": [{"measured": "axis", "is": comparison, "bound": bound}]}
        return ledger.judge(claim, record(axis=value)).outcome == "reproduced"

    assert holds("at least") == (value >= bound) != holds("below")
    assert holds("at most") == (value <= bound) != holds("above")
    assert holds("equal") == (value == bound)


def test_all_checks_must_hold() -> None:
    criterion = [{"measured": name, "is": "above", "bound": 0} for name in ("a", "b")]
    claim = {**CLAIM, "criterion": criterion}
    assert ledger.judge(claim, record(a=1, b=1)).outcome == "reproduced"
    assert ledger.judge(claim, record(a=1, b=-1)).outcome == "not reproduced"


def test_every_claim_is_complete_and_its_name_is_its_own() -> None:
    claims = ledger.load_claims()
    assert len({claim["id"] for claim in claims}) == len(claims)
    assert len({ledger.anchor(claim["id"]) for claim in claims}) == len(claims)
    for claim in claims:
        assert claim["id"].startswith(claim["paper"] + ".")
        assert all(claim[key] for key in ("title", "where", "reported", "measure", "data", "section"))
        for check in claim["criterion"] or []:
            assert check["is"] in ledger._COMPARISONS
            assert check["measured"] and check["bound"] is not None


def test_all_four_papers_are_in_the_ledger() -> None:
    count = {paper: 0 for paper in ("yang2018", "staniewicz2015", "hendriksen2021", "kuan2020")}
    for claim in ledger.load_claims():
        if claim["paper"] in count:
            count[claim["paper"]] += 1
    assert count == {"yang2018": 10, "staniewicz2015": 7, "hendriksen2021": 9, "kuan2020": 8}


def test_the_page_of_claims_shows_the_verdict_of_a_planted_record(tmp_path) -> None:
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "00_scan_to_slice.md").write_text("")
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "claims.yml").write_text((ROOT / "book" / "claims.yml").read_text(encoding="utf-8"))
    built = tmp_path / "_build" / "pages" / "quick" / "00_scan_to_slice.json"
    built.parent.mkdir(parents=True)
    for axis, outcome in ((295.8, "reproduced"), (290.0, "not reproduced")):
        built.write_text(json.dumps(record(axis=axis)))
        entry = publish.ledger_page(tmp_path, "quick").split("`primer.axis`")[1].split("###")[0]
        assert f">{outcome}</span>" in entry
        assert 'href="../sections/00_scan_to_slice.html#claim-primer-axis"' in entry
    built.write_text(json.dumps({"claims": {}}))
    entry = publish.ledger_page(tmp_path, "quick").split("`primer.axis`")[1].split("###")[0]
    assert ">not judged</span>: nothing measured" in entry
    assert "section not written" in publish.ledger_page(tmp_path, "quick").split("`yang2018.phantom`")[1]


def front_page(
    root: Path, shown: dict[str, object], *, slider: bool = False, section: str = "01_second"
) -> runs.FrontPicture | None:
    """What is found in a page whose tagged cell shows this, and perhaps has a slider in a cell below."""
    figure = {"caption": "A slice.", "name": "fig-toy"}
    cells: list[dict[str, object]] = [
        {"metadata": {}},
        {"metadata": {"tags": ["front-picture"], "mystnb": {"figure": figure}}, "outputs": [shown]},
        {"metadata": {"tags": ["front-slider"] if slider else []}, "outputs": [SLIDER]},
    ]
    pages = root / "_build" / "pages" / "quick"
    pages.mkdir(parents=True, exist_ok=True)
    (pages / f"{section}.ipynb").write_text(json.dumps({"cells": cells}))
    (pages / f"{section}.json").write_text("{}")
    return runs.tagged_picture(root, section, "quick")


def picture(content: bytes) -> dict[str, dict[str, object]]:
    alt = {"image/png": {"alt": 'A "slice": two doses.'}}
    return {"data": {"image/png": base64.b64encode(content).decode()}, "metadata": alt}


SLIDER = {"data": {"text/html": ['<figure class="lowdose-slider">', "</figure>"]}}


@pytest.mark.parametrize("kind", ["measured", "simulated"])
@pytest.mark.parametrize("slides", [False, True])
def test_the_front_page_shows_the_tagged_cell_and_what_its_data_are(tmp_path, kind, slides) -> None:
    front = front_page(tmp_path, picture(b"a"), slider=slides)
    assert front is not None and front.png == b"a"
    page = tables.front_figure(front, {"datasets": [{"kind": kind, "title": "A tooth"}]})
    assert f"A slice. {kind.capitalize()} data: A tooth" in page
    assert "(sections/01_second.ipynb)" in page
    assert 'generated/front.png\n:alt: "A \\"slice\\": two doses."' in page
    assert ('<figure class="lowdose-slider"></figure>' in page) == slides


def test_of_several_front_pictures_the_last_section_that_was_run_gives_its(tmp_path) -> None:
    for section in ("00_first", "01_second", "02_third"):
        (tmp_path / "notebooks").mkdir(exist_ok=True)
        (tmp_path / "notebooks" / f"{section}.md").write_text("")
    with pytest.raises(LowdoseError, match="front-picture"):
        runs.front_picture(tmp_path, "quick")
    for section in ("00_first", "01_second"):
        front_page(tmp_path, picture(section.encode()), section=section)
    assert runs.front_picture(tmp_path, "quick").section == "01_second"
    # A tagged cell without a PNG (of html alone, say) is passed over.
    assert front_page(tmp_path, SLIDER) is None
    assert runs.front_picture(tmp_path, "quick").png == b"00_first"


TOY = {
    "notebooks/00_toy.md": "# Toy\n\n```{code-cell} ipython3\n:tags: [parameters]\n\nsize = 3\n```\n",
    "lowdose_utils/used.py": "def half(x):\n    return x / 2\n\n\ndef double(x):\n    return 2 * x\n",
    "lowdose_utils/unused.py": "b = 1\n",
    "lowdose_utils/figures/lines.py": "WIDTH = 1\n",
    "data_registry/registry.txt": "tooth/tooth.h5 sha256:0 https://a.example/tooth.h5\n",
    "data_registry/datasets.yml": (ROOT / "data_registry" / "datasets.yml").read_text(encoding="utf-8"),
}
USED = ["lowdose_utils/figures/lines.py", "lowdose_utils/used.py"]


@pytest.fixture
def toy_run(tmp_path):
    """A record of a section in a small checkout, and a way to change files of the latter."""

    def write(name: str, text: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")

    for name, text in TOY.items():
        write(name, text)
    run = {
        "section": "00_toy",
        "datasets": [{"name": "tooth", "sha256": "sha256:0"}, {"name": "drawn", "kind": "simulated"}],
        "inputs": fingerprint("00_toy", USED, ["tooth"], tmp_path),
    }
    assert is_current(run, tmp_path)
    return run, write


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("notebooks/00_toy.md", "size = 3", "size = 4"),
        ("notebooks/00_toy.md", "```\n", "```\n\n```{code-cell} ipython3\nsize += 1\n```\n"),
        ("lowdose_utils/used.py", "x / 2", "x / 3"),
        ("lowdose_utils/used.py", "def half(x)", "def halved(x)"),
        ("lowdose_utils/used.py", "return 2 * x", 'return "2" * x'),
        ("lowdose_utils/used.py", "def half", "from lowdose_utils.unused import b as two\n\ndef half"),
        ("notebooks/00_toy.md", "size = 3", "from lowdose_utils.unused import b\n\nsize = 3"),
        ("lowdose_utils/used.py", "def half", "import numpy as np\n\ndef half"),
        ("data_registry/registry.txt", "sha256:0", "sha256:1"),
    ],
)
def test_a_record_is_stale_when_what_made_its_numbers_changes(toy_run, tmp_path, name, old, new) -> None:
    run, write = toy_run
    write(name, TOY[name].replace(old, new))
    assert TOY[name] != (tmp_path / name).read_text(encoding="utf-8")
    assert not is_current(run, tmp_path)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("notebooks/00_toy.md", "# Toy", "# A toy, better told"),
        ("notebooks/00_toy.md", "[parameters]", "[parameters, hide-input]"),
        ("notebooks/00_toy.md", "size = 3", "size = 3  # pixels"),
        ("lowdose_utils/used.py", "    return x / 2", '    """Half of it."""\n    return x / 2'),
        ("lowdose_utils/used.py", "def half", "from lowdose_utils.unused import b\n\ndef half"),
        ("lowdose_utils/unused.py", "b = 1", "b = 2"),
        ("lowdose_utils/figures/lines.py", "WIDTH = 1", "WIDTH = 2"),
    ],
)
def test_a_record_outlives_changes_of_what_its_numbers_do_not_hang_on(
    toy_run, tmp_path, name, old, new
) -> None:
    run, write = toy_run
    write(name, TOY[name].replace(old, new))
    assert TOY[name] != (tmp_path / name).read_text(encoding="utf-8")
    assert is_current(run, tmp_path)


def test_a_record_outlives_another_wording_of_an_error_but_not_another_condition(toy_run, tmp_path) -> None:
    run, write = toy_run
    guarded = (
        TOY["lowdose_utils/used.py"] + "\n\ndef root(x):\n    if x < 0:\n        raise ValueError('no')\n"
    )
    write("lowdose_utils/used.py", guarded)
    run["inputs"] = fingerprint("00_toy", USED, ["tooth"], tmp_path)
    write("lowdose_utils/used.py", guarded.replace("'no'", "f'{x} is below 0'"))
    assert is_current(run, tmp_path)
    write("lowdose_utils/used.py", guarded.replace("x < 0", "x < 1"))
    assert not is_current(run, tmp_path)


def test_a_definition_may_move_between_the_modules_of_a_run_but_not_out_of_them(toy_run, tmp_path) -> None:
    run, write = toy_run
    half, double = (part + "\n" for part in TOY["lowdose_utils/used.py"].split("\n\n\n"))
    write("lowdose_utils/used.py", "from math import pi, tau\n" + half + double)
    run["inputs"] = fingerprint("00_toy", USED, ["tooth"], tmp_path)
    half, double = "from math import tau\n" + half, "from math import pi\n" + double
    write("lowdose_utils/used.py", double)
    assert not is_current(run, tmp_path)
    write("lowdose_utils/figures/lines.py", half)  # what shows results is not looked at
    assert not is_current(run, tmp_path)
    write("lowdose_utils/halves.py", half)
    run["inputs"]["modules"] = sorted([*USED, "lowdose_utils/halves.py"])
    assert is_current(run, tmp_path)


def test_a_record_without_a_full_fingerprint_is_stale(toy_run, tmp_path) -> None:
    run, _ = toy_run
    assert not is_current({**run, "inputs": {"source": "0", "package": "0", "registry": "0"}}, tmp_path)


def test_a_record_names_the_modules_that_were_imported() -> None:
    found = loaded_modules()
    assert "lowdose_utils/ledger.py" in found
    assert all((ROOT / name).is_file() for name in found)


def test_a_run_with_other_values_than_its_preset_has_now_is_noticed(tmp_path) -> None:
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "presets.yml").write_text("00_toy: {quick: {size: 64, seeds: [0, 1]}}")
    run = {"section": "00_toy", "parameters": {"preset": "quick", "size": 64.0, "seeds": [0, 1], "more": 1}}
    assert runs.has_its_presets_values(run, tmp_path)
    run["parameters"]["seeds"] = [0]
    assert not runs.has_its_presets_values(run, tmp_path)
    run["parameters"]["preset"] = "long"
    assert not runs.has_its_presets_values(run, tmp_path)
