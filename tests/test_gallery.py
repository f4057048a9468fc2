"""Every figure of the papers has its place in the book, and the galleries and the index lead there."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import ROOT
from docutils.nodes import make_id
from PIL import Image

from lowdose_utils import ledger
from lowdose_utils.errors import LowdoseError
from lowdose_utils.publish.claims import Judged
from lowdose_utils.publish.counterparts import (
    THUMBNAIL_BYTES,
    Counterpart,
    Picture,
    labels,
    load_counterparts,
    thumbnail,
)
from lowdose_utils.publish.gallery import gallery_page, index_page
from lowdose_utils.publish.runs import recorded_runs

ENTRIES = load_counterparts(ROOT)
RUNS = recorded_runs(ROOT)
ALL_CLAIMS = ledger.load_claims()
ENTRY = Counterpart("paper", "Fig. 4", "Scores by dose", "00_toy", "fig-toy", "drawn")
CLAIMS = [
    {
        "id": "paper.scores",
        "paper": "paper",
        "paper_title": "A paper",
        "title": "Scores",
        "where": "Fig. 4, text",
    },
    {"id": "paper.other", "paper": "paper", "paper_title": "A paper", "title": "Other", "where": "Fig. 40"},
]


def places(section: str) -> set[str]:
    """The ids in a section's page that a figure's entry may name."""
    source = (ROOT / "notebooks" / f"{section}.md").read_text(encoding="utf-8")
    claims = {ledger.anchor(claim["id"]) for claim in ALL_CLAIMS if f'"{claim["id"]}"' in source}
    headings = {make_id(title) for title in re.findall(r"^##+ (.+)$", source, re.MULTILINE)}
    return {*re.findall(r"^    name: (fig-\S+)$", source, re.MULTILINE), *claims, *headings}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Fig. 4, text", ["Fig. 4"]),
        ("Fig. 1b-c", ["Fig. 1b-c"]),
        ("Fig. S1d-f", ["Fig. S1d-f"]),
        ("Fig. 1h, Supplementary Table 1", ["Fig. 1h", "Supplementary Table 1"]),
        ("Abstract, Discussion", []),
    ],
)
def test_the_figures_that_a_claim_names_are_read(text: str, found: list[str]) -> None:
    assert labels(text) == found


def test_every_figure_that_a_claim_rests_on_has_an_entry() -> None:
    listed = {(entry.paper, label) for entry in ENTRIES for label in labels(entry.figure)}
    asked = {(claim["paper"], label) for claim in ALL_CLAIMS for label in labels(claim["where"])}
    assert asked - listed == set()


@pytest.mark.parametrize("section", sorted({entry.section for entry in ENTRIES if entry.section}))
def test_every_entry_names_a_place_and_a_dataset_that_its_section_has(section: str) -> None:
    own = [entry for entry in ENTRIES if entry.section == section]
    assert {entry.cell for entry in own} - places(section) == set()
    runs = [run for run in RUNS if run["section"] == section]
    assert {entry.data for entry in own} <= {used["name"] for run in runs for used in run["datasets"]}


@pytest.mark.parametrize(
    "entry",
    [
        {"section": "00_toy", "cell": "fig-toy"},
        {},
        {"why": "not shown", "section": "a", "cell": "b", "data": "c"},
    ],
)
def test_an_entry_without_cell_and_reason_or_with_both_is_refused(
    tmp_path: Path, entry: dict[str, str]
) -> None:
    (tmp_path / "book").mkdir()
    written = {"paper": [{"figure": "Fig. 1", "title": "A title", **entry}]}
    (tmp_path / "book" / "figures.yml").write_text(yaml.safe_dump(written))
    with pytest.raises(LowdoseError, match=r"paper, 'Fig\. 1'"):
        load_counterparts(tmp_path)


@pytest.mark.parametrize("shape", [(600, 1000), (900, 200), (50, 40)])
def test_a_thumbnail_is_small_and_keeps_its_proportions(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "png")
    small = thumbnail(buffer.getvalue())
    assert len(small) <= THUMBNAIL_BYTES
    with Image.open(io.BytesIO(small)) as image:
        width, height = image.size
    assert width <= min(480, shape[1]) and height <= min(360, shape[0])
    assert width / height == pytest.approx(shape[1] / shape[0], rel=0.02)


@pytest.mark.parametrize(("outcome", "kind"), [("reproduced", "measured"), ("not reproduced", "simulated")])
def test_a_card_shows_label_and_verdict_of_the_run_and_leads_to_its_cell(outcome, kind) -> None:
    verdicts = {claim["id"]: ledger.Verdict(outcome, "why") for claim in CLAIMS}
    built = {"00_toy": {"datasets": [{"name": "drawn", "kind": kind}, {"name": "b", "kind": "measured"}]}}
    picture = Picture(b"", 'Curves: "up" & down.')
    page = gallery_page([ENTRY], built, {"00_toy": {"fig-toy": picture}}, Judged(CLAIMS, verdicts), "quick")
    card = page.split("{grid-item-card}")[1].split(":::")[0]
    assert ":link: sections/00_toy.html#fig-toy\n" in card
    assert f"{kind.capitalize()}; <span" in card
    assert card.count(f">{outcome}</span>") == 1  # Fig. 40 is another figure
    assert json.loads(card.split(":img-alt: ")[1].split("\n")[0]) == picture.alt
    assert page.count("](#ledger-paper-") == 2
    index = index_page([ENTRY], built, Judged(CLAIMS, verdicts), "quick")
    row = next(line for line in index.splitlines() if line.startswith("| Fig. 4 |"))
    assert 'href="../sections/00_toy.html#fig-toy"' in row and f"`00_toy`, {kind}, [" in row
    assert row.count("](#ledger-paper-scores)") == 1 and "paper-other" not in row


def test_what_was_not_run_or_stands_nowhere_is_said() -> None:
    verdicts = {claim["id"]: ledger.Verdict("not judged", "why") for claim in CLAIMS}
    nowhere = Counterpart("paper", "Fig. 9", "A photograph", why="It shows the authors' microscope.")
    page = gallery_page([ENTRY, nowhere], {}, {}, Judged(CLAIMS, verdicts), "quick")
    assert "{grid-item-card}" not in page and "Fig. 9: not made here. It shows" in page
    index = index_page([ENTRY, nowhere], {}, Judged(CLAIMS, verdicts), "quick")
    assert "| Fig. 4 | not run in this build |" in index and "| Fig. 9 | It shows" in index


def test_if_other_data_stood_in_all_kinds_are_named() -> None:
    used = [{"name": "a", "kind": "simulated"}, {"name": "b", "kind": "measured"}]
    assert ENTRY.kind({"datasets": used}) == "simulated and measured"
    assert ENTRY.kind({"datasets": [*used, {"name": "drawn", "kind": "measured"}]}) == "measured"


def test_galleries_and_index_lead_to_places_that_exist(built_book) -> None:
    html = built_book / "_build" / "html"
    pages = [html / f"{paper}.html" for paper in {entry.paper for entry in ENTRIES}]
    for page in [*pages, html / "generated" / "figures.html"]:
        links = re.findall(r'href="([^"#]*\.html#[^"]+)"', page.read_text(encoding="utf-8"))
        assert sum("sections/" in link for link in links) >= 3
        for link in links:
            target, _, place = link.partition("#")
            assert f'id="{place}"' in (page.parent / target).resolve().read_text(encoding="utf-8"), link


def test_every_figure_has_a_small_picture(built_book) -> None:
    folder = built_book / "book" / "generated" / "gallery"
    files = {path.stem: path.stat().st_size for path in folder.iterdir()}
    named = {entry.cell for entry in ENTRIES if entry.cell.startswith("fig-")}
    assert set(files) <= named
    assert named - set(files) <= {"fig-txm-axons"}  # in the few slices of a small preset none may be found
    assert max(files.values()) <= THUMBNAIL_BYTES and sum(files.values()) <= 1_500_000
