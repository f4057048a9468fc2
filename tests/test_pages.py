"""The Sphinx side: a notebook with a run record and a picture becomes html without a warning."""

from __future__ import annotations

import io
import re
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT
from sphinx.application import Sphinx

from lowdose_utils import figures
from lowdose_utils.pages import RECORD
from lowdose_utils.record import MIME

TEXT = 'A straight line; "quoted" & rising.'


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Html of a page with a picture, a record and thebe switched on, built with warnings as errors."""
    source = tmp_path_factory.mktemp("source with a space")
    shown = figures.show(figures.curves({"a": ([1, 2], [1, 2])}, x_label="x", y_label="y"), TEXT)
    bundle, metadata = shown._repr_mimebundle_()
    picture = nbformat.v4.new_output("execute_result", data=bundle, metadata=metadata, execution_count=1)
    record = nbformat.v4.new_output(
        "display_data", data={MIME: {"section": "secret"}, "text/html": "<b>table</b>", "text/plain": "table"}
    )
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# A page"),
            nbformat.v4.new_code_cell("picture", outputs=[picture], execution_count=1),
            nbformat.v4.new_code_cell("record", outputs=[record], execution_count=2),
        ],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3"},
            "language_info": {"name": "python", "pygments_lexer": "ipython3"},
        },
    )
    nbformat.write(notebook, source / "index.ipynb")
    built = source / "built"
    settings = {
        "extensions": ["myst_nb", "sphinx_thebe", "lowdose_utils.pages"],
        "nb_execution_mode": "off",
        "thebe_config": {"always_load": True},
        "exclude_patterns": ["built"],
    }
    said = io.StringIO()
    app = Sphinx(
        source, None, built, built / "trees", "html", settings, status=None, warning=said, freshenv=True
    )
    app.build()
    assert said.getvalue() == ""
    return (built / "index.html").read_text(encoding="utf-8")


def test_the_text_of_a_picture_is_its_alt(page: str) -> None:
    images = re.findall(r"<img[^>]*>", page)
    assert len(images) == 1
    assert 'alt="A straight line; &quot;quoted&quot; &amp; rising."' in images[0]
    assert re.search(r'src="_images/[0-9a-f]+\.png"', images[0])


def test_the_record_stays_out_of_sight_and_its_table_is_shown(page: str) -> None:
    assert "<b>table</b>" in page
    assert "secret" not in page


def test_nothing_of_thebe_is_loaded(page: str) -> None:
    loaded = re.findall(r"<(?:script|link)\b[^>]*>", page)
    assert not [tag for tag in loaded if "thebe" in tag and "x-thebe-config" not in tag]
    assert "THEBE_JS_URL" not in page
    assert any("doctools.js" in tag for tag in loaded)  # the others' scripts stay


def test_the_record_has_one_name_everywhere() -> None:
    assert RECORD == MIME


def test_static_files_are_small_and_vendored_scripts_have_licences() -> None:
    """Jupyter Book links every script under _static on every page, so only small ones may lie there."""
    book = Path(__file__).resolve().parents[1] / "book"
    scripts = [path for path in (book / "_static").rglob("*") if path.suffix in {".js", ".css"}]
    assert sum(path.stat().st_size for path in scripts) < 50_000
    assert (book / "_static" / "img-comparison-slider.LICENSE.txt").exists()
    for folder in (book / "_extra" / "vendor").iterdir():
        assert not folder.is_dir() or (folder / "LICENSE").exists(), folder.name


PAGES = [*ROOT.glob("book/*.md"), *ROOT.glob("book/guides/*.md"), *ROOT.glob("notebooks/*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_line_of_prose_is_taken_for_a_comment(page: Path) -> None:
    # MyST drops a line that begins with a per cent sign, and says nothing.
    text = page.read_text(encoding="utf-8")
    prose = re.sub(r"^(`{3,})(\{code-cell\}|\w).*?^\1$", "", text, flags=re.M | re.S)
    assert re.findall(r"^\s*%.*$", prose, re.M) == []
