"""The page for workshops names what exists, and its times are those of recorded runs."""

from __future__ import annotations

import itertools
import json
import re

import pytest
from conftest import ROOT

from lowdose_utils import notebook
from lowdose_utils.publish.tables import CLASS_SECONDS, timing_page

PAGE = (ROOT / "book" / "workshop.md").read_text(encoding="utf-8")
PROGRAMMES = {"Ninety minutes": 90, "Half a day": 210}
SOURCES = {
    name: (ROOT / "notebooks" / f"{name}.md").read_text(encoding="utf-8") for name in notebook.sections(ROOT)
}


def passages() -> list[tuple[str, str]]:
    """Each section that the page links to, with what is said up to the next such link."""
    pieces = re.split(r"\(sections/(\w+)\.ipynb\)", PAGE)
    found = list(zip(pieces[1::2], pieces[2::2], strict=True))
    assert len(found) > 20
    return [(name, re.split(r"\n#|\n- \*\*", text)[0]) for name, text in found]


def programme(title: str) -> list[list[str]]:
    table = PAGE.split(f"## {title}")[1].split("\n\n")[1]
    return [[field.strip() for field in line.strip("|").split(" | ")] for line in table.splitlines()[2:]]


@pytest.mark.parametrize("section", notebook.sections(ROOT))
def test_every_section_has_an_exercise_with_a_solution(section) -> None:
    exercises = re.findall(r"\{exercise-start\}.*\n:label: (\S+)", SOURCES[section])
    assert exercises
    assert exercises == re.findall(r"\{solution-start\} (\S+)", SOURCES[section])


def test_headings_figures_exercises_and_code_that_the_page_names_exist() -> None:
    named = 0
    for section, text in passages():
        source = SOURCES[section]
        headings = re.findall(r"^#+ (.*)$", source, re.MULTILINE)
        in_italics = re.findall(r"(?<!\*)\*([^*|\n]+)\*(?!\*)", text)
        assert [heading for heading in in_italics if heading not in headings] == [], section
        figures = re.findall(r"<(fig-[\w-]+)>", text)
        assert [name for name in figures if f"name: {name}\n" not in source] == [], section
        exercises = re.findall(r"`([^`<]+) <(ex-[\w-]+)>`", text)
        written = re.findall(r"\{exercise-start\} (.*)\n:label: (\S+)", source)
        assert [exercise for exercise in exercises if exercise not in written] == [], section
        code = set(re.findall(r"(?<!\})`(\w+)`", text)) - {"smoke", "lowdose_utils"}
        assert [name for name in code if name not in source] == [], section
        named += len(in_italics) + len(figures) + len(exercises) + len(code)
    assert named > 40


@pytest.mark.parametrize(("title", "minutes"), PROGRAMMES.items())
def test_a_programme_leaves_no_gap_and_fills_its_time(title, minutes) -> None:
    spans = list(dict.fromkeys(tuple(map(int, row[0].split("-"))) for row in programme(title)))
    assert spans[0][0] == 0 and spans[-1][1] == minutes
    assert all(before[1] == after[0] for before, after in itertools.pairwise(spans))


def test_sections_that_a_programme_runs_fit_into_a_class() -> None:
    timing = timing_page(ROOT)
    page = (ROOT / "book" / "workshop.md").read_text(encoding="utf-8")
    early = re.findall(r"^Start the copies of (.*?) during the second break", page, re.M | re.S)
    in_a_break = re.findall(r"sections/(\w+)", " ".join(early))
    for title in PROGRAMMES:
        for row in programme(title):
            section = re.search(r"sections/(\w+)", row[1])[1]
            line = next(line for line in timing.splitlines() if section in line)
            assert "run it" in line or row[2].startswith("Its page only") or section in in_a_break, row


def test_times_are_those_of_recorded_runs() -> None:
    rows = [line for line in timing_page(ROOT).splitlines() if "sections/" in line]
    assert len(rows) >= len(SOURCES) - 1
    for row in rows:
        section = re.search(r"sections/(\w+)", row)[1]
        kept = (ROOT / "book" / "recorded_runs" / f"{section}-quick-cpu.json").read_text(encoding="utf-8")
        made = json.loads(kept)["run"]
        fields = [field.strip() for field in row.strip("|").split("|")]
        assert fields[1:3] == [str(made["seconds"]), str(made["peak_memory_mib"])]
        assert (fields[-1] == "run it") == (made["seconds"] <= CLASS_SECONDS)
