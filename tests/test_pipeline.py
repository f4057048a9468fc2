"""The whole way from sources to html, and that it goes on where it was cut off."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, book_environment, copy_of_the_book, snakemake

from lowdose_utils import ledger, notebook, parameters, publish
from lowdose_utils.errors import LowdoseError
from lowdose_utils.record import read_record


def build(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        snakemake(root, *arguments),
        cwd=root,
        capture_output=True,
        text=True,
        env=book_environment(),
        check=False,
    )


def times(root: Path) -> dict[str, int]:
    files = [*root.glob("_build/pages/smoke/*"), root / "_build" / "html" / "index.html"]
    return {path.name: path.stat().st_mtime_ns for path in files}


def test_every_section_leaves_a_page_a_record_and_html(built_book) -> None:
    for section in notebook.sections(ROOT):
        page = built_book / "_build" / "pages" / "smoke" / f"{section}.ipynb"
        record = json.loads(page.with_suffix(".json").read_text())
        executed = json.loads(page.read_text())
        assert read_record(executed) == record
        assert record["parameters"] == {
            **parameters.defaults(notebook.source_notebook(section, ROOT)),
            **notebook.parameters(section, "smoke", {}, ROOT),
        }
        assert record["results"]
        assert (built_book / "_build" / "html" / "sections" / f"{section}.html").exists()
        assert len(page.read_bytes()) < 2_000_000


def test_the_book_is_small_enough_to_be_sent_and_read_on_a_slow_line(built_book) -> None:
    files = [path for path in (built_book / "_build" / "html").rglob("*") if path.is_file()]
    assert max(path.stat().st_size for path in files if path.suffix == ".html") < 2_000_000
    assert sum(path.stat().st_size for path in files) < 25_000_000
    for path in files:  # to be downloaded and run; their pages show the outputs
        if path.suffix == ".ipynb":
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            assert cells and not any(cell.get("outputs") for cell in cells)


def test_no_page_holds_a_path_of_this_machine(built_book) -> None:
    for path in [*built_book.glob("_build/pages/smoke/*"), *built_book.rglob("_build/html/**/*.html")]:
        text = path.read_text(encoding="utf-8")
        for machine in (str(built_book), str(ROOT), str(Path.home()) + "/"):
            assert machine not in text, path


def test_the_ledger_links_to_anchors_that_exist(built_book) -> None:
    html = built_book / "_build" / "html"
    links = re.findall(r'href="(\.\./sections/[^"]+)"', (html / "generated" / "claims.html").read_text())
    anchored = [link for link in links if "#claim-" in link]
    assert anchored
    for link in anchored:
        page, _, anchor = link.partition("#")
        assert f'id="{anchor}"' in (html / "generated" / page).resolve().read_text(), link


def test_the_ledger_shows_every_claim(built_book) -> None:
    page = (built_book / "book" / "generated" / "claims.md").read_text()
    for claim in ledger.load_claims():
        assert f"`{claim['id']}`" in page


def test_a_second_run_changes_nothing(built_book) -> None:
    before = times(built_book)
    assert build(built_book).returncode == 0
    assert times(built_book) == before


def test_a_comment_in_the_presets_runs_nothing_again(built_book) -> None:
    presets = built_book / "notebooks" / "presets.yml"
    presets.write_text("# a remark\n" + presets.read_text())
    shown = build(built_book, "--dry-run").stdout
    assert "rule section" not in shown


def test_a_broken_reference_fails_and_the_last_good_book_stays(tmp_path) -> None:
    root = copy_of_the_book(tmp_path)
    (root / "book" / "_toc.yml").write_text("format: jb-book\nroot: index\n")
    page = root / "book" / "index.md"
    page.write_text("# A book of one page\n")
    html = publish.build_html(root)
    good = html.read_text()
    page.write_text("# A book of one page\n\nSee {ref}`nowhere-at-all`.\n")
    with pytest.raises(LowdoseError, match="nowhere-at-all"):
        publish.build_html(root)
    assert "A book of one page" in good
    assert html.read_text() == good


def test_a_missing_input_is_named(built_book) -> None:
    shutil.move(built_book / "_config.yml", built_book / "kept.yml")
    done = build(built_book)
    shutil.move(built_book / "kept.yml", built_book / "_config.yml")
    assert done.returncode != 0
    assert "_config.yml is missing" in done.stdout + done.stderr


def test_an_unknown_preset_is_refused(built_book) -> None:
    done = build(built_book, "--config", "preset=fast")
    assert done.returncode != 0
    assert "no preset fast" in done.stdout + done.stderr


SLOW_SECTION = """---
kernelspec: {{name: python3, display_name: Python 3, language: python}}
---
# A section that takes its time

```{{code-cell}} ipython3
:tags: [parameters]
preset = "smoke"
```

```{{code-cell}} ipython3
import time
from pathlib import Path
from lowdose_utils.record import Record

run = Record.begin("98_slow", globals(), device="cpu")
Path({begun!r}).touch()
time.sleep(2)
run.result("slow_done", 1)
run.show()
```
"""


@pytest.mark.slow
def test_a_killed_build_goes_on_and_never_shows_half_a_page(tmp_path) -> None:
    root, begun = copy_of_the_book(tmp_path), tmp_path / "begun"
    (root / "notebooks" / "98_slow.md").write_text(SLOW_SECTION.format(begun=str(begun)))
    with (root / "notebooks" / "presets.yml").open("a") as presets:
        presets.write("98_slow: {smoke: {}}\n")
    page = root / "_build" / "pages" / "smoke" / "98_slow.ipynb"
    wanted = str(page.relative_to(root))
    running = subprocess.Popen(
        snakemake(root, wanted), cwd=root, env=book_environment(), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until(begun.exists, running)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert not page.exists() and not page.with_suffix(".json").exists()
    done = build(root, wanted)
    assert done.returncode == 0, done.stdout + done.stderr
    assert read_record(json.loads(page.read_text()))["results"]["slow_done"]["value"] == 1


def until(seen: Callable[[], bool], running: subprocess.Popen[bytes], seconds: float = 120) -> None:
    """Wait for something that a running process shall do."""
    end = time.monotonic() + seconds
    while not seen():
        assert running.poll() is None and time.monotonic() < end
        time.sleep(0.05)


def test_a_slurm_profile_passes_a_dry_run(built_book) -> None:
    profile = built_book / "profiles" / "slurm"
    done = build(built_book, "--profile", str(profile), "--executor", "dryrun", "--forceall")
    assert done.returncode == 0, done.stdout + done.stderr
    assert yaml.safe_load((profile / "config.yaml").read_text())["executor"] == "slurm"


def test_the_contents_list_the_sections_that_exist() -> None:
    contents = (ROOT / "book" / "_toc.yml").read_text()
    # The foam of the first paper stands beside the section that builds on it: order is the reader's.
    assert sorted(re.findall(r"sections/(\w+)", contents)) == notebook.sections(ROOT)


def test_the_readme_table_is_the_one_that_the_records_give() -> None:
    assert publish.sections_table(ROOT) in (ROOT / "README.md").read_text(encoding="utf-8")
