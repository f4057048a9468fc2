"""What is published, and what publishes it: the branch of notebooks, workflows, environments elsewhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
import yaml
from conftest import ROOT, copy_of_the_book
from loopback import Loopback, body, status
from packaging.specifiers import SpecifierSet

from lowdose_utils.__main__ import _parser, main
from lowdose_utils.errors import LowdoseError
from lowdose_utils.notebook import preset_table, source_notebook
from lowdose_utils.publish import check_links, write_published
from lowdose_utils.record import read_record

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
BY_NAME = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


# ---- the branch `published`


def test_what_is_pushed_holds_every_notebook_that_the_book_links_to(built_book: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pushed"
    write_published(built_book, folder, commit=COMMIT)
    remote = tmp_path / "remote.git"
    subprocess.run(["git", "init", "-q", "--bare", remote], check=True)
    before = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, check=True)
    for _ in range(2):  # the second push replaces the first
        subprocess.run([ROOT / ".ci" / "push-published", folder, remote], check=True, capture_output=True)
    after = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, check=True)
    assert after.stdout == before.stdout
    listed = ["git", "ls-tree", "-r", "--name-only", "published"]
    held = subprocess.run(listed, cwd=remote, capture_output=True, text=True, check=True).stdout.split()
    html = "".join(path.read_text("utf-8") for path in (built_book / "_build" / "html").glob("**/*.html"))
    colab = re.findall(
        r'href="https://colab\.research\.google\.com/github/[^"]*/blob/published/([^"]+)"', html
    )
    binder = re.findall(r'href="https://mybinder\.org/[^"]*/published\?urlpath=lab/tree/([^"]+)"', html)
    assert len(set(colab)) == len(list(ROOT.glob("notebooks/[0-9]*.md")))
    assert set(colab) == set(binder) <= set(held)
    assert {"README.md", "requirements.lock", ".binder/postBuild", ".binder/requirements.txt"} <= set(held)
    history = ["git", "rev-list", "--count", "published"]
    assert subprocess.run(history, cwd=remote, capture_output=True, text=True, check=True).stdout == "1\n"


def small_book(folder: Path) -> Path:
    """A checkout with one section, executed as far as publishing cares."""
    for name in ("_config.yml", "LICENSE", "CITATION.cff", "requirements.lock"):
        folder.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for name in ("notebooks", ".binder"):
        shutil.copytree(ROOT / name, folder / name)
    for other in folder.glob("notebooks/*.md"):
        if other.stem != "00_scan_to_slice":
            other.unlink()
    target = folder / "book" / "sections" / "00_scan_to_slice.ipynb"
    target.parent.mkdir(parents=True)
    nbformat.write(source_notebook("00_scan_to_slice", ROOT), target)
    return folder


def test_a_published_notebook_runs_where_the_package_is_installed_and_no_checkout_is_near(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = copy_of_the_book(tmp_path / "source")
    built = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*built, "--no-index", "--wheel-dir", tmp_path, source], check=True)
    shutil.rmtree(source)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "installed")
    [page] = write_published(small_book(tmp_path / "small"), tmp_path / "pushed", commit=COMMIT)
    first = nbformat.read(page, as_version=4).cells[0].source
    assert (
        f'%pip install -q "lowdose_utils @ git+https://github.com/lowdose-book/lowdose-book@{COMMIT}"'
        in first
    )
    away = tmp_path / "away"
    away.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "installed"))
    monkeypatch.setenv("LOWDOSE_DATA_DIR", str(tmp_path / "no data"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # the first cell has nothing to install
    values = {**preset_table(ROOT)["00_scan_to_slice"]["smoke"], "preset": "smoke", "data": "simulated"}
    executed = papermill.execute_notebook(
        page, away / "page.ipynb", values, cwd=away, kernel_name="python3", progress_bar=False
    )
    record = read_record(executed)
    assert record["parameters"]["preset"] == "smoke"
    assert record["run"]["commit"] == "unknown"  # of no checkout
    assert record["inputs"]["modules"]
    assert "primer.dose_law" in record["claims"]


def test_publishing_never_replaces_a_folder_that_it_did_not_write(tmp_path: Path) -> None:
    root = small_book(tmp_path / "small")
    with pytest.raises(LowdoseError, match="files of another kind"):
        write_published(root, root, commit=COMMIT)
    assert (root / "_config.yml").exists()
    folder = tmp_path / "pushed"
    write_published(root, folder, commit=COMMIT)
    (folder / "old.txt").touch()
    write_published(root, folder, commit=COMMIT)
    assert not (folder / "old.txt").exists()
    (root / "book" / "sections" / "00_scan_to_slice.ipynb").unlink()
    with pytest.raises(LowdoseError, match="make book"):
        write_published(root, folder, commit=COMMIT)
    assert (folder / "book" / "sections" / "00_scan_to_slice.ipynb").exists()


# ---- links


def test_a_link_that_leads_nowhere_is_named_with_its_place(tmp_path: Path) -> None:
    with Loopback() as server:
        good, bad = server.serve("/good", body(b"here")), server.serve("/bad", status(404))
        (tmp_path / "book").mkdir()
        (tmp_path / "_config.yml").write_text("title: tiny\nonly_build_toc_files: true\n")
        (tmp_path / "book" / "_toc.yml").write_text("format: jb-book\nroot: index\n")
        (tmp_path / "book" / "index.md").write_text(f"# A page\n\n[good]({good})\n[bad]({bad})\n")
        [broken] = check_links(tmp_path)
    assert broken.startswith("index.md:")
    assert bad in broken
    assert "404" in broken


# ---- workflows


def load(path: Path) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return read


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in load(path)["jobs"].values() for step in job["steps"]]


def commands(path: Path) -> list[str]:
    return [line for step in steps(path) for line in step.get("run", "").splitlines()]


def make_targets() -> set[str]:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return {name for line in re.findall(r"^([\w./ -]+):(?!=)", text, re.M) for name in line.split()}


@BY_NAME
def test_actions_are_pinned_by_commit_and_say_which_version_that_is(path: Path) -> None:
    used = re.findall(r"uses: *(.*)", path.read_text(encoding="utf-8"))
    assert used
    for line in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_one_action_has_one_pin() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    pins = set(re.findall(r"uses: *(.*)", text))
    assert len(pins) == len({pin.partition("@")[0] for pin in pins})


@BY_NAME
def test_jobs_may_read_and_end_and_only_those_that_publish_may_write(path: Path) -> None:
    workflow = load(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"].startswith(path.stem)
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] > 0
        if "permissions" in job:
            assert path.stem == "book"
            assert not any("make" in step.get("run", "") for step in job["steps"])
    for step in steps(path):
        if "checkout" in step.get("uses", "") and path.stem != "book":
            assert step["with"]["persist-credentials"] is False


@BY_NAME
def test_what_workflows_run_exists(path: Path) -> None:
    for command in commands(path):
        words = command.split(" | ")[0].split()
        if words[0] == "make":
            assert words[1] in make_targets(), command
        elif words[0].startswith(".ci/"):
            assert os.access(ROOT / words[0], os.X_OK), command
        elif words[0] == ".venv/bin/lowdose":
            _parser().parse_args(words[1:])
        else:
            assert words[0] == ".venv/bin/python", command


@BY_NAME
def test_caches_go_by_lock_and_registry_and_failures_leave_what_there_is(path: Path) -> None:
    keys = [step["with"]["key"] for step in steps(path) if "actions/cache@" in step.get("uses", "")]
    assert sum("hashFiles('requirements.lock')" in key for key in keys) == 1
    assert sum("hashFiles('data_registry/registry.txt')" in key for key in keys) == 1
    failed = [step for step in steps(path) if step.get("if") == "failure()"]
    assert [step["with"]["path"].split() for step in failed] == [["_build/failed", "_build/logs"]]


def test_the_weekly_ones_never_block() -> None:
    [paper] = load(ROOT / ".github" / "workflows" / "paper.yml")["jobs"].values()
    assert paper["if"] == "vars.GPU_RUNNER != ''"
    assert "vars.GPU_RUNNER" in paper["runs-on"]
    checks = [
        step for step in steps(ROOT / ".github" / "workflows" / "links.yml") if "make links" in str(step)
    ]
    assert [step["continue-on-error"] for step in checks] == [True]


# ---- environments elsewhere


def test_every_environment_has_a_python_that_the_package_takes_and_installs_from_the_lock() -> None:
    wanted = SpecifierSet(
        tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    )
    docker = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    pythons = {
        "Dockerfile": re.search(r"^FROM python:([\d.]+)-", docker, re.M),
        "devcontainer": re.search(r"python:([\d.]+)-", container["image"]),
        "Binder": re.fullmatch(r"python-([\d.]+)\n", (ROOT / ".binder" / "runtime.txt").read_text()),
    }
    assert {found and found[1] for found in pythons.values()} == {"3.11"}
    assert "3.11" in wanted
    for path in WORKFLOWS:
        versions = [s["with"]["python-version"] for s in steps(path) if "setup-python" in s.get("uses", "")]
        assert set(versions) == {"3.11"}
    for line in [container["postCreateCommand"], re.search(r"^RUN (make .*)$", docker, re.M)[1]]:
        assert line.split() == ["make", ".venv/.done"]
    asked = (ROOT / ".binder" / "requirements.txt").read_text().splitlines()
    assert [(ROOT / ".binder" / line[3:]).resolve() for line in asked if line.startswith("-r ")] == [
        ROOT / "requirements.lock"
    ]
    subprocess.run(["bash", "-n", ROOT / ".binder" / "postBuild"], check=True)


def test_published_without_pages_says_what_to_run(tmp_path: Path, monkeypatch, capsys) -> None:
    root = small_book(tmp_path / "small")
    monkeypatch.chdir(root)
    assert main(["published", str(tmp_path / "pushed")]) == 1
    assert "clone" in capsys.readouterr().err
