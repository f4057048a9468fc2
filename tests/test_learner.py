"""Learner copies: nothing of a solution is left, plain Jupyter can show them, and they run."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import re
import subprocess
import zipfile
from pathlib import Path

import nbformat
import papermill
import pytest
from conftest import ROOT
from PIL import Image

from lowdose_utils import notebook, parameters
from lowdose_utils.__main__ import main
from lowdose_utils.errors import LowdoseError
from lowdose_utils.publish.learner import learner_notebook
from lowdose_utils.record import read_record

SECTIONS = notebook.sections(ROOT)
EXECUTED = SECTIONS[:-1]  # the last one has no page: its copy has to do without
RAW = re.compile(r"^(?:`{3,}|:{3,})\{.*|\{[a-z:]+\}`.*|^\([\w-]+\)=|^:label:", re.MULTILINE)
PRINTED = "all of the third kind: 0.125"


def picture(level: int) -> str:
    """A PNG as a notebook holds it, cut into lines."""
    buffer = io.BytesIO()
    Image.new("L", (40, 30), level).save(buffer, "png")
    return base64.encodebytes(buffer.getvalue()).decode()


def solutions(section: str) -> list[list[str]]:
    """Lines of each solution, text and code, read from the source without the package's help."""
    source = (ROOT / "notebooks" / f"{section}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```\{solution-start\}.*?```\n(.*?)```\{solution-end\}", source, re.DOTALL)
    lines = [[line.strip() for line in block.splitlines()] for block in blocks]
    return [[line for line in block if line and not line.startswith("```")] for block in lines]


def outside(section: str) -> str:
    source = (ROOT / "notebooks" / f"{section}.md").read_text(encoding="utf-8")
    return re.sub(r"```\{solution-start\}.*?```\{solution-end\}", "", source, flags=re.DOTALL)


def page(section: str) -> nbformat.NotebookNode:
    """As if the section had been executed: its solutions print, and draw a picture of their own."""
    executed = notebook.source_notebook(section, ROOT)
    solving = 0
    for cell in executed.cells:
        if cell.cell_type == "markdown":
            solving += cell.source.count("{solution-start}") - cell.source.count("{solution-end}")
        elif solving:
            data = {"image/png": picture(len(cell.source) % 256), "text/plain": "its text"}
            said = {"image/png": {"alt": "[a] disc"}}
            cell.outputs = [
                nbformat.v4.new_output("stream", name="stderr", text="a warning\n"),
                nbformat.v4.new_output("stream", text=f"{PRINTED}\n"),
                nbformat.v4.new_output("display_data", data=data, metadata=said),
            ]
    return executed


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command writes, from a checkout in which all sections but the last have been executed."""
    root = tmp_path_factory.mktemp("a checkout")
    for folder in ("notebooks", "book"):
        (root / folder).symlink_to(ROOT / folder)
    pages = root / "_build" / "pages" / "smoke"
    pages.mkdir(parents=True)
    for section in EXECUTED:
        nbformat.write(page(section), pages / f"{section}.ipynb")
        results = {"primer_angles": {"value": 7117}, "primer_counts": {"value": 41233.7}}
        (pages / f"{section}.json").write_text(
            json.dumps({"results": results, "run": {"date": "2026-01-02"}}), encoding="utf-8"
        )
    said = io.StringIO()
    with contextlib.chdir(root), contextlib.redirect_stderr(said):
        assert main(["learner", "--preset", "smoke", "--folder", "copies"]) == 0
    (root / "said").write_text(said.getvalue(), encoding="utf-8")
    return root / "copies"


def cells_of(path: Path) -> list[nbformat.NotebookNode]:
    copy = nbformat.read(path, as_version=4)
    nbformat.validate(copy)
    return copy.cells


def solved(folder: Path, section: str) -> list[nbformat.NotebookNode]:
    with zipfile.ZipFile(folder / "answers.zip") as archive:
        copy = nbformat.reads(archive.read(f"answers/{section}.ipynb").decode(), as_version=4)
    nbformat.validate(copy)
    return copy.cells


def text_of(cells: list[nbformat.NotebookNode]) -> str:
    return "\n".join(cell.source for cell in cells)


def test_there_is_a_copy_of_every_section_and_an_archive(written) -> None:
    assert sorted(path.name for path in written.iterdir()) == [f"{s}.ipynb" for s in SECTIONS] + [
        "answers.zip"
    ]


def test_from_a_clean_commit_copies_begin_with_a_cell_that_installs_it(tmp_path, capsys, monkeypatch) -> None:
    for name in ("notebooks", "book", "_config.yml"):
        (tmp_path / name).symlink_to(ROOT / name)
    for words in ("init -q", "add -A", "commit -q -m one"):
        who = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
        subprocess.run(["git", *who, *words.split()], cwd=tmp_path, check=True)
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=tmp_path, text=True).strip()
    monkeypatch.chdir(tmp_path)
    assert main(["learner", "--preset", "smoke", "--folder", "copies"]) == 0
    for cells in (
        cells_of(tmp_path / "copies" / "01_spheres.ipynb"),
        solved(tmp_path / "copies", "01_spheres"),
    ):
        assert f'/lowdose-book@{commit}"' in cells[0].source and "%pip install" in cells[0].source
        assert cells[1].source.startswith("# ")
    assert "no cell that installs" not in capsys.readouterr().err


def test_a_checkout_that_is_no_commit_gives_copies_without_that_cell_and_says_so(written) -> None:
    assert "%pip" not in text_of(cells_of(written / "01_spheres.ipynb"))
    assert "no cell that installs the package" in (written.parent / "said").read_text(encoding="utf-8")


@pytest.mark.parametrize("section", SECTIONS)
def test_no_line_of_a_solution_is_left_and_the_answers_have_its_code(written, section) -> None:
    shown = {line.strip() for line in text_of(cells_of(written / f"{section}.ipynb")).splitlines()}
    everywhere = {line.strip() for line in outside(section).splitlines()}
    answers = text_of(solved(written, section))
    for lines in solutions(section):
        secret = [line for line in lines if line not in everywhere]
        assert len(secret) >= 3, "a solution to look for"
        assert not shown & set(secret)
        code = [line for line in secret if "{" not in line and "](" not in line]
        assert [line for line in code if line not in answers] == []


@pytest.mark.parametrize("section", SECTIONS)
def test_plain_jupyter_can_show_all_text(written, section) -> None:
    for cells in (cells_of(written / f"{section}.ipynb"), solved(written, section)):
        for cell in cells:
            if cell.cell_type == "markdown":
                raw = RAW.findall(cell.source)
                assert raw == []
                links = re.findall(r"\]\(((?!data:|https?:)[^)]+)\)", cell.source)
                assert all(link.removesuffix(".ipynb") in SECTIONS for link in links), links


@pytest.mark.parametrize("section", SECTIONS)
def test_every_exercise_has_its_heading_cells_to_write_into_and_a_hint(written, section) -> None:
    cells = cells_of(written / f"{section}.ipynb")
    source = (ROOT / "notebooks" / f"{section}.md").read_text(encoding="utf-8")
    titles = re.findall(r"\{exercise-start\} (.*)", source)
    headings = re.findall(r"^### Exercise (\d) of (\d): (.*)$", text_of(cells), re.MULTILINE)
    assert headings == [(str(n), str(len(titles)), title) for n, title in enumerate(titles, 1)]
    places = [n for n, cell in enumerate(cells) if cell.source == "# Your code here"]
    assert len(places) == len(titles)
    for place, title in zip(places, titles, strict=True):
        assert title in cells[place - 2].source and "Your prediction" in cells[place - 1].source
        hint = cells[place + 1].source
        if section in EXECUTED:
            assert PRINTED in hint and "a warning" not in hint
        else:
            assert f"lowdose run {section} --preset smoke" in hint and "data:" not in hint


def test_hints_are_the_pictures_of_the_page(written) -> None:
    expected = [cell for cell in page("00_scan_to_slice").cells if cell.get("outputs")]
    copy = text_of(cells_of(written / "00_scan_to_slice.ipynb"))
    hints = re.findall(r"!\[\[a\] disc\]\(data:image/png;base64,([^)\s]+)\)", copy)
    assert len(hints) == len(expected)
    for hint, cell in zip(hints, expected, strict=True):
        content = base64.b64decode(hint, validate=True)
        assert content == base64.b64decode(cell.outputs[-1].data["image/png"])
        Image.open(io.BytesIO(content)).verify()


def test_text_quotes_the_run_or_names_the_result(written) -> None:
    quoted = text_of(cells_of(written / "00_scan_to_slice.ipynb"))
    assert "about 41234 photons per pixel" in quoted and "over 7117 angles" in quoted
    assert "a double wedge ([Vo et al. 2014](https://doi.org/" in quoted
    assert r"\tag{1} $$" in quoted and "with equation (1)" in quoted
    assert "ladder (*Step by step from the paper's recipe to ours*)" in text_of(
        cells_of(written / "01_spheres.ipynb")
    )
    assert "`primer_slope`" in quoted  # no result of the run: its name stands there


def test_parameters_have_the_values_of_the_preset(written) -> None:
    copy = nbformat.read(written / "05_fuel_cell_dynamic.ipynb", as_version=4)
    own = parameters.defaults(notebook.source_notebook("05_fuel_cell_dynamic", ROOT))
    preset = notebook.parameters("05_fuel_cell_dynamic", "smoke", {}, ROOT)
    assert parameters.defaults(copy) == {**own, **preset}


@pytest.mark.slow
def test_a_learner_who_writes_nothing_can_run_all_cells(written, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("LOWDOSE_DATA_DIR", str(tmp_path / "no data"))
    done = papermill.execute_notebook(
        written / "00_scan_to_slice.ipynb",
        tmp_path / "done.ipynb",
        {"data": "simulated"},
        cwd=tmp_path,
        kernel_name="python3",
        progress_bar=False,
    )
    record = read_record(done)
    assert {entry["kind"] for entry in record["datasets"]} == {"simulated"}
    assert record["results"]["primer_slope"]["value"] < 0


def broken(folder: Path, text: str) -> Path:
    """A checkout whose first section ends with `text`."""
    for name in ("book", "notebooks"):
        (folder / name).mkdir()
    (folder / "book" / "references.bib").touch()
    presets = (ROOT / "notebooks" / "presets.yml").read_text(encoding="utf-8")
    (folder / "notebooks" / "presets.yml").write_text(presets, encoding="utf-8")
    source = (ROOT / "notebooks" / "00_scan_to_slice.md").read_text(encoding="utf-8")
    head = source[: source.index("## What the detector wrote down")]
    (folder / "notebooks" / "00_scan_to_slice.md").write_text(head + text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("```{solution-start} ex-a\n```\nsecret\n", "solution-start and solution-end in turn"),
        ("secret\n```{solution-end}\n```\n", "solution-start and solution-end in turn"),
        ("```{dropdown} secret\n```\n", "{dropdown}"),
        ("See {doc}`secret`.\n", "{doc}"),
    ],
)
def test_what_cannot_be_turned_plain_is_refused(tmp_path, text, said) -> None:
    with pytest.raises(LowdoseError) as caught:
        learner_notebook("00_scan_to_slice", broken(tmp_path, text))
    assert said in str(caught.value)


def test_a_wrong_preset_is_refused_and_nothing_is_written(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["learner", "--preset", "fast", "--folder", str(tmp_path / "copies")]) == 1
    assert "'fast'" in capsys.readouterr().err
    assert not (tmp_path / "copies").exists()
