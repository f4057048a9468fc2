"""Writing the generated pages, building the html, keeping a record."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

from lowdose_utils.errors import LowdoseError
from lowdose_utils.files import atomic_path, write_text
from lowdose_utils.notebook import sections
from lowdose_utils.publish.api import api_pages
from lowdose_utils.publish.claims import ledger_page
from lowdose_utils.publish.gallery import write_galleries
from lowdose_utils.publish.runs import front_picture, records, tagged_picture
from lowdose_utils.publish.tables import (
    colophon_page,
    data_page,
    frame_page,
    front_figure,
    timing_page,
    write_readme,
)


def write_pages(root: Path, preset: str) -> None:
    """Write ``book/generated/`` and copy the preset's executed sections to ``book/sections/``."""
    generated = root / "book" / "generated"
    write_text(generated / "claims.md", ledger_page(root, preset))
    write_text(generated / "data.md", data_page())
    write_text(generated / "colophon.md", colophon_page(root, preset))
    write_text(generated / "timing.md", timing_page(root))
    write_galleries(root, preset)
    front = front_picture(root, preset)
    with atomic_path(generated / "front.png") as picture:
        picture.write_bytes(front.png)
    write_text(generated / "front.md", front_figure(front, records(root, preset)[front.section]))
    for name in sections(root):
        write_text(generated / f"frame_{name}.md", frame_page(root, name))
    for file, text in api_pages(root).items():
        write_text(generated / file, text)
    target = root / "book" / "sections"
    wanted = {
        f"{name}.ipynb": root / "_build" / "pages" / preset / f"{name}.ipynb" for name in sections(root)
    }
    if target.exists():
        for stray in target.iterdir():
            if stray.name not in wanted:
                stray.unlink()
    for name, page in wanted.items():
        write_text(target / name, page.read_text(encoding="utf-8"))


def build_html(root: Path) -> Path:
    """Build the book strictly and from clean, then put it in place of the last good one.

    Raises
    ------
    LowdoseError
        If Jupyter Book warns or fails; the last good book stays.
    """
    aside, final = root / "_build" / "jb", root / "_build" / "html"
    shutil.rmtree(aside, ignore_errors=True)
    tool = Path(sys.executable).with_name("jupyter-book")
    options = ["--config", "_config.yml", "--path-output", "_build/jb", "-W", "-n", "--keep-going"]
    # The reference pages show this checkout's docstrings, whichever copy is installed.
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [str(tool), "build", "book", *options],
        cwd=root,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    log = root / "_build" / "logs" / "html.log"
    write_text(log, done.stdout + done.stderr)
    page = aside / "_build" / "html" / "index.html"
    if done.returncode != 0 or not page.exists():
        said = [
            line for line in (done.stdout + done.stderr).splitlines() if "WARNING" in line or "ERROR" in line
        ]
        raise LowdoseError(
            "book",
            found="; ".join(said[:10]) or f"exit status {done.returncode}",
            expected="a build without a warning",
            way_out=f"The whole log is {log.relative_to(root).as_posix()}.",
        )
    _lighten(page.parent)
    old = root / "_build" / "html.old"
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    page.parent.rename(final)
    shutil.rmtree(old, ignore_errors=True)
    return final / "index.html"


def _lighten(html: Path) -> None:
    """Take out what no reader asks for, half of the book's size.

    The theme's source maps; fonts in a format that no browser of this decade loads; the outputs of notebooks
    to be downloaded, which their pages show. The branch ``published`` has them with outputs.
    """
    for ending in ("*.map", "*.ttf"):
        for unused in html.rglob(ending):
            unused.unlink()
    for path in html.glob("_sources/sections/*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        write_text(path, nbformat.writes(notebook) + "\n")


def keep_record(root: Path, section: str, preset: str) -> Path:
    """Copy this build's record of a section to ``book/recorded_runs/`` and renew the README's table."""
    source = root / "_build" / "pages" / preset / f"{section}.json"
    if not source.exists():
        raise LowdoseError(
            f"record of {section} at {preset}",
            found="none",
            expected=source.relative_to(root).as_posix(),
            way_out=f"Run `lowdose run {section} --preset {preset}` first.",
        )
    record = json.loads(source.read_text(encoding="utf-8"))
    kind = "gpu" if record["run"]["peak_gpu_memory_mib"] else "cpu"
    target = root / "book" / "recorded_runs" / f"{section}-{preset}-{kind}.json"
    write_text(target, source.read_text(encoding="utf-8"))
    tagged = tagged_picture(root, section, preset)
    if tagged is not None and tagged == front_picture(root, preset):
        with atomic_path(root / "book" / "recorded_runs" / "front.png") as temporary:
            temporary.write_bytes(tagged.png)
    write_readme(root)
    return target
