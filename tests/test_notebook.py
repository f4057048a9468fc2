"""Sections run as asked, refuse what is wrong before anything runs, and leave clean pages."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
import papermill
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from lowdose_utils import notebook, parameters
from lowdose_utils.errors import LowdoseError
from lowdose_utils.record import MIME

HEADER = """---
kernelspec: {name: python3, display_name: Python 3, language: python}
---
# A toy

```{code-cell} ipython3
:tags: [parameters]
preset = "quick"
noise = 0.1
count = 3
flag = False
word = "ramp"
levels = [0.1, 0.2]
```
"""
BODY = """
```{code-cell} ipython3
from lowdose_utils.record import Record
run = Record.begin("00_toy", globals(), device="cpu")
run.result("toy_double", 2 * noise, "px")
```

```{code-cell} ipython3
for line in range(50):
    print(line, flush=True)
run.judge("primer.axis", axis=295.8)
```

```{code-cell} ipython3
from IPython.display import display
widget = "application/vnd.jupyter.widget-view+json"
display({widget: {"model_id": "0"}, "text/plain": "its picture"}, raw=True)
```

```{code-cell} ipython3
run.show()
```
"""
PRESETS = {
    "00_toy": {"quick": {"noise": 0.2}, "smoke": {}, "limits": {"noise": [0, 1], "word": ["ramp", "hann"]}}
}


def toy(folder: Path, body: str = BODY) -> Path:
    """A checkout with one small section, in a folder with a space in its name."""
    root = folder / "a toy"
    (root / "notebooks").mkdir(parents=True)
    (root / "notebooks" / "00_toy.md").write_text(HEADER + body, encoding="utf-8")
    (root / "notebooks" / "presets.yml").write_text(json.dumps(PRESETS), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    root = toy(tmp_path_factory.mktemp("checkout"))
    first = notebook.run("00_toy", root=root)
    kept = first.rename(first.with_name("first.ipynb"))
    record = first.with_suffix(".json").rename(first.with_name("first.json"))
    assert record.exists()
    return root, kept, notebook.run("00_toy", root=root)


def test_a_run_leaves_page_and_record_with_the_presets_values(executed) -> None:
    _, _, page = executed
    record = json.loads(page.with_suffix(".json").read_text())
    assert record["parameters"] == {
        "preset": "quick", "noise": 0.2, "count": 3, "flag": False, "word": "ramp", "levels": [0.1, 0.2],
    }  # fmt: skip
    assert record["results"]["toy_double"] == {"value": 0.4, "unit": "px"}
    assert record["claims"] == {"primer.axis": {"axis": 295.8}}
    assert record["run"]["seconds"] > 0
    assert record["run"]["peak_memory_mib"] > 50
    page_text = page.read_text()
    assert 'id=\\"claim-primer-axis\\"' in page_text
    assert 'class=\\"verdict-reproduced\\"' in page_text


def test_of_a_widget_the_page_keeps_what_can_be_seen_without_a_kernel(executed) -> None:
    text = executed[2].read_text()
    assert "its picture" in text and "widget-view" not in json.dumps(
        [cell.get("outputs") for cell in json.loads(text)["cells"]]
    )


def test_two_runs_give_the_same_record_and_the_same_page(executed) -> None:
    _, first, second = executed

    def without_run(path: Path) -> dict:
        page = json.loads(path.read_text())
        for cell in page["cells"]:
            for out in cell.get("outputs", []):
                out.get("data", {}).get(MIME, {}).pop("run", None)
        return page

    assert without_run(first) == without_run(second)
    one, two = (json.loads(path.with_suffix(".json").read_text()) for path in (first, second))
    assert one.pop("run").keys() == two.pop("run").keys()
    assert one == two


def test_a_page_carries_no_path_of_the_machine_and_no_volatile_metadata(executed) -> None:
    root, _, page = executed
    text = page.read_text()
    assert str(root) not in text
    assert str(Path.home()) not in text
    assert '"papermill"' not in text
    assert "iopub" not in text
    tags = [cell["metadata"].get("tags", []) for cell in json.loads(text)["cells"]]
    assert sum("parameters" in t and "hide-input" in t for t in tags) == 1
    assert sum("injected-parameters" in t for t in tags) == 1


def test_printed_text_is_in_one_piece(executed) -> None:
    cells = json.loads(executed[2].read_text())["cells"]
    streams = [out for cell in cells for out in cell.get("outputs", []) if out["output_type"] == "stream"]
    assert ["".join(out["text"]) for out in streams] == ["".join(f"{line}\n" for line in range(50))]


def test_nothing_temporary_stays(executed) -> None:
    _root, _, page = executed
    assert sorted(p.name for p in page.parent.iterdir()) == [
        "00_toy.ipynb", "00_toy.json", "first.ipynb", "first.json",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"nois": 0.3}, ["'nois'", "noise=0.1", "levels=[0.1, 0.2]"]),
        ({"noise": "loud"}, ["noise", "'loud' (str)", "float"]),
        ({"noise": True}, ["True (bool)", "float"]),
        ({"count": True}, ["True (bool)", "int"]),
        ({"count": 2.5}, ["2.5 (float)", "int"]),
        ({"flag": 1}, ["1 (int)", "bool"]),
        ({"levels": 0.3}, ["0.3 (float)", "list"]),
        ({"levels": ["a"]}, ["['a']", "list"]),
        ({"noise": 1.5}, ["1.5", "0 to 1"]),
        ({"noise": float("nan")}, ["nan", "0 to 1"]),
        ({"word": "cosine"}, ["'cosine'", "ramp, hann"]),
    ],
)
def test_wrong_parameters_are_refused_before_anything_runs(tmp_path, monkeypatch, overrides, said) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("papermill was started")

    monkeypatch.setattr(papermill, "execute_notebook", never)
    with pytest.raises(LowdoseError) as caught:
        notebook.run("00_toy", overrides=overrides, root=toy(tmp_path))
    assert all(piece in str(caught.value) for piece in said), str(caught.value)


def test_wrong_section_and_wrong_preset_list_what_exists(tmp_path) -> None:
    root = toy(tmp_path)
    with pytest.raises(LowdoseError, match="00_toy"):
        notebook.run("01_toys", root=root)
    with pytest.raises(LowdoseError, match="smoke, quick"):
        notebook.run("00_toy", preset="qick", root=root)


@given(value=st.floats(0, 1) | st.integers(0, 1))
def test_an_int_stands_for_a_float_and_limits_are_inclusive(value: float) -> None:
    checked = parameters.check_parameters({"noise": value}, {"noise": 0.5}, {"noise": [0, 1]})
    assert checked == {"noise": float(value)}
    assert type(checked["noise"]) is float


def test_a_parameters_cell_with_anything_but_literals_is_refused(tmp_path) -> None:
    root = toy(tmp_path)
    source = root / "notebooks" / "00_toy.md"
    source.write_text(source.read_text().replace("count = 3", "count = 1 + 2\nimport os"))
    with pytest.raises((LowdoseError, ValueError)):
        notebook.parameters("00_toy", "quick", {}, root)


def test_a_failed_cell_names_itself_and_keeps_the_partial_notebook_and_the_last_good_page(tmp_path) -> None:
    root = toy(tmp_path, BODY.replace("run.show()", "print('before')\n1 / 0"))
    page = root / "_build" / "pages" / "quick" / "00_toy.ipynb"
    page.parent.mkdir(parents=True)
    page.write_text("the last good page")
    with pytest.raises(
        LowdoseError, match=r"00_toy.*cell \d+: ZeroDivisionError.*_build/failed/00_toy.ipynb"
    ):
        notebook.run("00_toy", root=root)
    assert page.read_text() == "the last good page"
    partial = nbformat.read(root / "_build" / "failed" / "00_toy.ipynb", as_version=4)
    kinds = [out.output_type for cell in partial.cells for out in cell.get("outputs", [])]
    assert "error" in kinds
    assert [p.name for p in page.parent.iterdir()] == ["00_toy.ipynb"]


def test_a_dead_kernel_is_said_in_one_sentence(tmp_path) -> None:
    root = toy(
        tmp_path, "\n```{code-cell} ipython3\nimport os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n```\n"
    )
    with pytest.raises(LowdoseError, match=r"kernel died.*smaller preset"):
        notebook.run("00_toy", root=root)


def test_a_run_that_is_told_to_end_keeps_what_it_had_and_leaves_no_kernel(tmp_path) -> None:
    cell = "import os, pathlib, time\npathlib.Path('kernel').write_text(str(os.getpid()))\ntime.sleep(100)"
    root = toy(tmp_path, f"\n```{{code-cell}} ipython3\n{cell}\n```\n")
    words = [sys.executable, "-m", "lowdose_utils", "run", "00_toy", "-p", "count=4"]
    with subprocess.Popen(words, cwd=root, stderr=subprocess.PIPE, text=True) as running:
        while not (root / "kernel").exists() and running.poll() is None:
            time.sleep(0.05)
        running.terminate()
        _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert said.startswith("lowdose: interrupted; what was finished is kept, run it again to go on\n")
    assert "count = 4" in (root / "_build" / "failed" / "00_toy.ipynb").read_text()
    assert list((root / "_build" / "runs").iterdir()) == []
    time.sleep(1)
    with pytest.raises(ProcessLookupError):
        os.kill(int((root / "kernel").read_text()), 0)


def test_a_second_run_to_the_same_output_waits_and_one_to_another_does_not(tmp_path, capsys) -> None:
    root, same, other = toy(tmp_path), tmp_path / "same.ipynb", tmp_path / "other.ipynb"
    entered = threading.Event()

    def enter(output: Path) -> None:
        with notebook._only_writer("00_toy", output, root):
            entered.set()

    with notebook._only_writer("00_toy", same, root):
        enter(other)
        assert entered.is_set()
        assert capsys.readouterr().out == ""
        entered.clear()
        waiting = threading.Thread(target=enter, args=[same])
        waiting.start()
        assert not entered.wait(0.3)
    assert entered.wait(5)
    waiting.join()
    assert "another run of it is under way" in capsys.readouterr().out


def test_a_file_system_without_locks_stops_no_run(tmp_path, monkeypatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refused)
    with notebook._only_writer("00_toy", tmp_path / "a.ipynb", toy(tmp_path)):
        pass


def test_a_failed_run_to_an_own_output_leaves_its_partial_notebook_there(tmp_path) -> None:
    root = toy(tmp_path, "\n```{code-cell} ipython3\n1 / 0\n```\n")
    output = root / "mine" / "a.ipynb"
    with pytest.raises(LowdoseError, match=r"mine/a.failed.ipynb.*lowdose run .* -p 'levels=\[0.5\]'"):
        notebook.run("00_toy", overrides={"levels": [0.5]}, output=output, root=root)
    assert [path.name for path in output.parent.iterdir()] == ["a.failed.ipynb"]
    assert not (root / "_build" / "failed").exists()


@settings(deadline=None, max_examples=40)
@given(value=st.floats() | st.integers() | st.booleans() | st.text() | st.lists(st.floats(0, 1) | st.text()))
def test_a_value_written_for_the_command_line_is_read_as_it_was(value: object) -> None:
    read = parameters.parse_value(parameters.format_value(value))
    assert repr(read) == repr(value)


def test_numbers_may_be_written_as_people_write_them() -> None:
    assert parameters.parse_value("[1e-3, 2E5, -1.5e+2]") == [0.001, 2e5, -150.0]
    assert parameters.parse_value("1e") == "1e"


def test_sources_written_for_papermill_have_the_cells_of_the_source(tmp_path) -> None:
    root = toy(tmp_path)
    (path,) = notebook.write_sources(root, tmp_path / "plain")
    plain = nbformat.read(path, as_version=4)
    nbformat.validate(plain)
    assert [cell.source for cell in plain.cells] == [
        cell.source for cell in notebook.source_notebook("00_toy", root).cells
    ]
    assert plain.metadata.kernelspec.name == "python3"


@pytest.mark.parametrize("section", notebook.sections(ROOT))
def test_papermill_sees_the_parameters_of_each_section_and_every_preset_fits(section, tmp_path) -> None:
    source = notebook.source_notebook(section, ROOT)
    known = parameters.defaults(source)
    path = tmp_path / f"{section}.ipynb"
    nbformat.write(source, path)
    assert set(papermill.inspect_notebook(path)) == set(known)
    assert source.metadata.kernelspec.name == "python3"
    for preset in notebook.PRESETS:
        assert notebook.parameters(section, preset, {}, ROOT)["preset"] == preset
