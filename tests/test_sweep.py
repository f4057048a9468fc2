"""One section at many values: what is refused, what is run and what not again, and what comes out of it."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from PIL import Image
from test_notebook import HEADER

from lowdose_utils import notebook, sweep
from lowdose_utils.errors import LowdoseError
from lowdose_utils.publish.runs import recorded_runs
from lowdose_utils.record import MIME, fingerprint
from lowdose_utils.sweep.collect import choose, write_table
from lowdose_utils.sweep.plan import check_results, result_patterns

PRESETS = {"00_toy": {"quick": {}, "smoke": {}, "limits": {"noise": [0, 1], "word": ["ramp", "hann"]}}}
# A record by hand: a kernel without torch starts at once.
BODY = f"""
```{{code-cell}} ipython3
import os
from IPython.display import display
if noise == 0.2:
    raise RuntimeError("a cell that does not like 0.2")
width, parts = {{"value": 2 * noise, "unit": "px"}}, {{"value": [noise, 1.0], "unit": ""}}
record = {{
    "section": "00_toy", "parameters": {{}}, "datasets": [], "claims": {{}}, "device": "cpu",
    "results": {{"toy_width": width, "toy_parts": parts}},
    "inputs": {json.dumps(fingerprint("00_toy", [], []))},
    "run": {{"seconds": 0.5, "threads": int(os.environ["OMP_NUM_THREADS"])}},
}}
display({{"{MIME}": record}}, raw=True)
```
"""


def toy(folder: Path) -> Path:
    """A checkout with one section that takes no time, and fails at a noise of 0.2."""
    root = folder / "a toy"
    (root / "notebooks").mkdir(parents=True)
    (root / "notebooks" / "00_toy.md").write_text(HEADER + BODY, encoding="utf-8")
    (root / "notebooks" / "presets.yml").write_text(json.dumps(PRESETS), encoding="utf-8")
    shutil.copy(ROOT / "sweep.smk", root)
    return root


def made(root: Path, **values: list) -> sweep.Sweep:
    return sweep.plan("00_toy", values, preset="smoke", root=root)


def test_commas_inside_of_brackets_and_quotes_do_not_separate_values() -> None:
    pairs = ["noise=0.1, 1e-3", "levels=[0.5],[0.5,0.1]", "word='a,b',c", "flag=true", "one=[1, 2]"]
    assert sweep.read_values(pairs) == {
        "noise": [0.1, 0.001], "levels": [[0.5], [0.5, 0.1]], "word": ["a,b", "c"], "flag": [True],
        "one": [[1, 2]],
    }  # fmt: skip


@pytest.mark.parametrize("pair", ["noise", "noise=", "=1", "levels=[0.5", "noise=0.1,,0.2", "word=a],[b"])
def test_pairs_that_cannot_be_read_are_refused(pair) -> None:
    with pytest.raises(LowdoseError, match=re.escape(repr(pair))):
        sweep.read_values([pair])


def test_every_combination_is_there_once_with_all_its_values(tmp_path) -> None:
    root = toy(tmp_path)
    planned = made(root, noise=[0, 0.1], word=["ramp", "hann"], count=[4])
    assert [one.overrides for one in planned.combinations] == [
        {"noise": noise, "word": word, "count": 4} for noise in (0.0, 0.1) for word in ("ramp", "hann")
    ]
    assert planned.swept == ("noise", "word")
    assert planned.combinations[1].label == "noise=0.0, word=hann"
    names = [one.name for one in planned.combinations]
    assert len(set(names)) == 4
    assert all(re.fullmatch(r"[\w.=+-]+", name, re.ASCII) for name in names)
    others = made(root, noise=[0, 0.1], word=["ramp", "hann"], count=[5]).combinations
    assert not {one.name for one in others} & set(names)


@pytest.mark.parametrize(
    ("pairs", "options", "said"),
    [
        (["nois=0.1,0.2"], {}, ["'nois'", "noise=0.1"]),
        (["noise=0.1,loud"], {}, ["'loud' (str)", "float"]),
        (["noise=0.1,0.3,1.5"], {}, ["1.5", "0 to 1"]),
        (["noise=0.1,0.2", "word=ramp,cosine"], {}, ["'cosine'", "ramp, hann"]),
        (["levels=0.1,0.2"], {}, ["0.1 (float)", "list"]),
        (["noise=1,1.0"], {}, ["noise=1.0 twice"]),
        (["noise=0.1,0.2", "noise=0.3"], {}, ["'noise=0.3'", "each name once"]),
        (["noise=0.1"], {}, ["one combination", "lowdose run"]),
        (["preset=smoke,quick"], {}, ["-p preset", "--preset"]),
        (["noise=0.1,0.3"], {"preset": "fast"}, ["'fast'", "smoke, quick"]),
        (["noise=0.1,0.3"], {"name": "../away"}, ["'../away'"]),
        (["noise=0.1,0.3"], {"jobs": 0}, ["--jobs", "1 or more"]),
    ],
)
def test_wrong_sweeps_are_refused_before_anything_runs(tmp_path, monkeypatch, pairs, options, said) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    root = toy(tmp_path)
    with pytest.raises(LowdoseError) as caught:
        sweep.run_sweep("00_toy", pairs, root=root, **options)
    assert all(piece in str(caught.value) for piece in said), str(caught.value)
    assert not (root / "_build").exists()


@pytest.mark.parametrize("section", notebook.sections(ROOT))
def test_results_that_runs_had_are_known_from_the_source(section) -> None:
    recorded = next(run["results"] for run in recorded_runs(ROOT) if run["section"] == section)
    patterns = result_patterns(section, ROOT)
    assert [name for name in recorded if not any(re.fullmatch(p, name) for p in patterns)] == []


def test_results_that_no_run_can_have_are_refused() -> None:
    check_results(["primer_edge", "primer_noise[0]", "primer_noise_hann"], "00_scan_to_slice", ROOT)
    with pytest.raises(LowdoseError, match=r"'edge'.*primer_edge_\*"):
        check_results(["edge"], "00_scan_to_slice", ROOT)


@pytest.fixture
def slurm(tmp_path, monkeypatch) -> Path:
    """Slurm's commands on the path, which run jobs at once; gives the folder where requests are kept."""
    kept, commands = tmp_path / "slurm", tmp_path / "bin"
    kept.mkdir()
    commands.mkdir()
    script = f"exec {shlex.quote(sys.executable)} {shlex.quote(str(ROOT / 'tests' / 'stand_in_slurm.py'))}"
    for name in ("sbatch", "srun", "sacct", "sacctmgr", "sinfo", "scontrol", "scancel"):
        (commands / name).write_text(f'#!/bin/sh\n{script} {name} "$@"\n')
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("STAND_IN_SLURM", str(kept))
    # The plugin for Slurm does not quote the path of Python, which has to be one without a space.
    environment = tmp_path / "environment"
    environment.symlink_to(sys.prefix)
    monkeypatch.setattr(sys, "executable", str(environment / "bin" / "python"))
    return kept


@pytest.mark.slow
def test_a_failure_loses_no_other_run_and_only_what_is_missing_is_run_again(tmp_path, capfd, slurm) -> None:
    root = toy(tmp_path)
    folder = root / "_build" / "sweeps" / "00_toy" / "smoke-noise"

    def run(*pairs: str, **options: object) -> tuple[int, str, str]:
        status = sweep.run_sweep("00_toy", [*pairs, "count=4"], root=root, preset="smoke", **options)
        return status, *capfd.readouterr()

    def table() -> list[dict[str, str]]:
        with (folder / "results.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    # Two at a time on this machine, of which one fails.
    status, _, said = run("noise=0.3,0.2", jobs=2)
    assert status == 1, said
    (partial,) = folder.glob("*.failed.ipynb")
    (line,) = [line for line in said.splitlines() if line.startswith("lowdose: ")]
    for piece in ("noise=0.2: section 00_toy", "does not like 0.2", partial.name, "-p noise=0.2 -p count=4"):
        assert piece in line
    assert "does not like 0.2" in partial.read_text()
    (row,) = table()
    assert (row["noise"], row["count"], row["toy_width (px)"][:3]) == ("0.3", "4", "0.6")

    # The cause is mended; the rest goes to a cluster, with what its profile asks for.
    good = root / row["notebook"]
    before = good.stat().st_mtime_ns
    source = root / "notebooks" / "00_toy.md"
    source.write_text(source.read_text().replace("if noise == 0.2", "if noise == 0.4"))
    profile = tmp_path / "profile"
    profile.mkdir()
    asked_of_all = (ROOT / "profiles" / "slurm" / "config.yaml").read_text(encoding="utf-8")
    (profile / "config.yaml").write_text(asked_of_all + "slurm-init-seconds-before-status-checks: 1\n")
    status, out, said = run("noise=0.3,0.2", profile=str(profile), results=["toy_width"])
    assert status == 0, said
    assert "1 finished, 1 to run" in out
    (asked,) = (path.read_text() for path in slurm.glob("*.asked"))
    assert all(piece in asked for piece in ("--gres=gpu:1", "--cpus-per-task=8", "--mem\n32000", "-t\n120"))
    again = root / table()[1]["notebook"]
    assert json.loads(again.with_suffix(".json").read_text())["run"]["threads"] == min(8, os.cpu_count())
    assert good.stat().st_mtime_ns == before
    assert [row["noise"] for row in table()] == ["0.3", "0.2"]
    assert not partial.exists()
    with Image.open(folder / "results.png") as picture:
        assert picture.size[0] > 200

    # Other values are other runs, and so are the same after a change of what they depend on.
    _, out, _ = run("noise=0.3,0.5", dry_run=True)
    assert "1 finished, 1 to run" in out
    assert "noise=0.5: lowdose run 00_toy --preset smoke -p noise=0.5 -p count=4" in out
    old = json.loads(good.with_suffix(".json").read_text())
    old["inputs"]["package"] = "of another day"
    good.with_suffix(".json").write_text(json.dumps(old))
    assert "0 finished, 2 to run" in run("noise=0.3,0.5", dry_run=True)[1]


def record(results: dict) -> dict:
    return {"results": results, "run": {"seconds": 1.5}, "device": "cpu"}


def rows_of(tmp_path: Path, **values: list) -> tuple[sweep.Sweep, list[dict]]:
    planned = made(toy(tmp_path), **values)
    records = {}
    for number, one in enumerate(planned.combinations):
        peaks = {"value": [[number, 1], [2, 3]] if number else [[7, 8]], "unit": "1/px"}
        wide = {"value": "nan" if number == 1 else number, "unit": "px"}
        word = {"value": "a", "unit": ""}
        records[one.name] = record({"toy_wide": wide, "toy_peaks": peaks, "toy_word": word})
    return planned, sweep.table(planned, records)


def test_the_table_has_a_row_for_each_run_and_a_column_for_each_value(tmp_path) -> None:
    _, rows = rows_of(tmp_path, levels=[[0.5], [0.5, 0.1]], noise=[0.1, 0.3])
    write_table(tmp_path / "results.csv", rows)
    with (tmp_path / "results.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert list(read[0]) == [
        "levels", "noise", "toy_wide (px)", "toy_peaks[0][0] (1/px)", "toy_peaks[0][1] (1/px)", "toy_word",
        "toy_peaks[1][0] (1/px)", "toy_peaks[1][1] (1/px)", "run_seconds (s)", "run_device", "notebook",
    ]  # fmt: skip
    assert [row["levels"] for row in read] == ["[0.5]", "[0.5]", "[0.5, 0.1]", "[0.5, 0.1]"]
    assert [row["toy_peaks[1][0] (1/px)"] for row in read] == ["", "2", "2", "2"]


def test_the_picture_has_a_line_for_each_value_of_the_others(tmp_path) -> None:
    planned, rows = rows_of(tmp_path, noise=[0.5, 0.01], word=["ramp", "hann"])
    columns = choose(rows, planned, ["toy_wide", "toy_peaks"])
    assert columns == ["toy_wide (px)", *(f"toy_peaks[{i}][{j}] (1/px)" for i in (0, 1) for j in (0, 1))]
    assert choose(rows, planned, []) == ["toy_wide (px)"]
    figure = sweep.draw(rows, columns[:2], planned.swept)
    axes = figure.axes[0]
    assert [line.get_label() for line in axes.lines] == ["word=ramp", "word=hann"]
    assert list(axes.lines[0].get_xdata()) == [0.01, 0.5]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_xscale()) == ("noise", "toy_wide (px)", "log")
    # Words and lists have no place on an axis of numbers: side by side, in the order asked for.
    axes = sweep.draw(rows, columns[:1], ("word", "noise")).axes[0]
    assert list(axes.lines[0].get_xdata()) == ["ramp", "hann"]
    with pytest.raises(LowdoseError, match="toy_word"):
        choose(rows, planned, ["toy_word"])
