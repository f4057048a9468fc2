"""Running a section: its presets, its parameters checked, papermill, a clean executed notebook."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import papermill
import yaml
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from lowdose_utils.errors import LowdoseError
from lowdose_utils.files import atomic_path, write_text
from lowdose_utils.parameters import check_parameters, defaults, format_value
from lowdose_utils.record import read_record

PRESETS = ("smoke", "quick", "long", "paper")


def find_root(start: Path | None = None) -> Path:
    """Find the book's checkout: the nearest folder upwards of `start` with ``notebooks/presets.yml``."""
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents, Path(__file__).resolve().parents[1]):
        if (folder / "notebooks" / "presets.yml").exists():
            return folder
    raise LowdoseError(
        "checkout of the book",
        found=f"no notebooks/presets.yml at or above {start.name}",
        expected="a clone of the book's repository",
        way_out="Change into the clone and run the command again.",
    )


def sections(root: Path) -> list[str]:
    """Names of all sections, in order."""
    return sorted(path.stem for path in root.glob("notebooks/[0-9][0-9]_*.md"))


def source_notebook(section: str, root: Path) -> nbformat.NotebookNode:
    """The section's source as a notebook without outputs, its cells named by their place.

    Raises
    ------
    LowdoseError
        If there is no such section.
    """
    if section not in sections(root):
        raise LowdoseError(
            "section",
            found=repr(section),
            expected="one of " + ", ".join(sections(root)),
            way_out="Name one of them.",
        )
    notebook = jupytext.read(root / "notebooks" / f"{section}.md")
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:03d}"
    return notebook


def preset_table(root: Path) -> dict[str, dict[str, Any]]:
    """``notebooks/presets.yml``: for each section its presets and the limits of its parameters."""
    table: dict[str, dict[str, Any]] = yaml.safe_load(
        (root / "notebooks" / "presets.yml").read_text(encoding="utf-8")
    )
    return table


def checker(section: str, preset: str, root: Path) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """A function that adds own values to the preset's and checks each; the sources are read once."""
    known = defaults(source_notebook(section, root))
    entry = preset_table(root).get(section, {})
    if preset not in entry:
        raise LowdoseError(
            f"preset of {section}",
            found=repr(preset),
            expected="one of " + ", ".join(name for name in PRESETS if name in entry),
            way_out="Choose one, or add it to notebooks/presets.yml.",
        )
    base, limits = {"preset": preset, **entry[preset]}, entry.get("limits", {})
    return lambda overrides: check_parameters({**base, **overrides}, known, limits)


def parameters(section: str, preset: str, overrides: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """All parameters of a run: the preset's, then `overrides`, each checked."""
    return checker(section, preset, root)(overrides)


@contextlib.contextmanager
def _only_writer(section: str, output: Path, root: Path) -> Iterator[None]:
    """Let one process at a time make an output; the lock goes when its holder dies, however it dies.

    Runs of one section with different outputs do not wait for each other: a sweep lives on that.
    """
    name = f"{section}-{hashlib.sha256(str(output.resolve()).encode()).hexdigest()[:12]}"
    path = root / "_build" / "locks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{section}: another run of it is under way; waiting for it to end", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            # Some file systems of clusters have no locks (Lustre without -o flock). A page is renamed whole
            # into its place, so the worst of two runs there is work done twice.
            if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
                raise
        yield


def _joined(outputs: list[Any]) -> list[Any]:
    """Outputs with printed text in one piece: how a kernel cuts it depends on the moment."""
    joined: list[Any] = []
    for output in outputs:
        last = joined[-1] if joined else {}
        if output["output_type"] == last.get("output_type") == "stream" and output["name"] == last["name"]:
            last["text"] += output["text"]
        else:
            joined.append(output)
    return joined


def _clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop what differs from run to run or from machine to machine, and name the cell papermill added."""
    notebook.metadata.pop("papermill", None)
    notebook.metadata.pop("widgets", None)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:03d}"
        if "outputs" in cell:
            cell["outputs"] = _joined(cell["outputs"])
            for output in cell["outputs"]:  # a page has no kernel behind it: the widget's picture stays
                output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
        for volatile in ("papermill", "execution"):
            cell.metadata.pop(volatile, None)
        tags = cell.metadata.get("tags", [])
        if "parameters" in tags and "hide-input" not in tags:
            cell.metadata["tags"] = [*tags, "hide-input"]  # the injected values follow it and stay in sight
    return notebook


def run(
    section: str,
    *,
    preset: str = "quick",
    overrides: Mapping[str, Any] | None = None,
    output: Path | None = None,
    root: Path | None = None,
) -> Path:
    """Execute a section and leave the page and its record.

    Parameters
    ----------
    section : str
        Name of a source in ``notebooks/``, without ending.
    preset : str
        "smoke", "quick", "long" or "paper".
    overrides : mapping, optional
        Parameters that differ from the preset's.
    output : Path, optional
        Executed notebook; by default ``_build/pages/PRESET/SECTION.ipynb``, or
        ``_build/runs/SECTION.ipynb`` if there are overrides, so that an own run never becomes a page.
    root : Path, optional
        Checkout of the book.

    Returns
    -------
    Path
        The executed notebook. Beside it stands the record, ``.json``.

    Raises
    ------
    LowdoseError
        On bad parameters before anything runs; after a failed cell, with the place of the partial notebook:
        ``_build/failed/SECTION.ipynb`` or, if `output` is given, ``NAME.failed.ipynb`` beside it.
    """
    root = root or find_root()
    overrides = dict(overrides or {})
    values = parameters(section, preset, overrides, root)
    if output is None:
        folder = Path("_build", "runs") if overrides else Path("_build", "pages", preset)
        output, kept = root / folder / f"{section}.ipynb", root / "_build" / "failed" / f"{section}.ipynb"
    else:
        output = output.resolve()
        kept = output.with_name(f"{output.stem}.failed.ipynb")
        kept.unlink(missing_ok=True)  # of an earlier run to the same place
    again = shlex.join(["lowdose", *command(section, preset, overrides)])
    logging.getLogger("papermill").setLevel(logging.ERROR)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # tells of the cell that an interrupt cut off
    with _only_writer(section, output, root), atomic_path(output) as partial:
        source = partial.with_suffix(".source.ipynb")
        try:
            nbformat.write(source_notebook(section, root), source)
            papermill.execute_notebook(
                source, partial, values, cwd=root, kernel_name="python3", progress_bar=False, log_output=False
            )
            executed = _clean(nbformat.read(partial, as_version=4))
            record = read_record(executed)
        except PapermillExecutionError as error:
            reason = f"cell {error.cell_index}: {error.ename}: {error.evalue}"
            raise _failed(section, partial, kept, root, reason, again) from None
        except DeadKernelError:
            reason = "its kernel died, most likely for want of memory; try a smaller preset"
            raise _failed(section, partial, kept, root, reason, again) from None
        except KeyboardInterrupt:
            _keep(partial, kept)
            raise
        finally:
            source.unlink(missing_ok=True)
        nbformat.write(executed, partial)
        write_text(output.with_suffix(".json"), json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return output


def command(section: str, preset: str, overrides: Mapping[str, Any]) -> list[str]:
    """The words after `lowdose` that ask for a run."""
    own = [word for name, value in overrides.items() for word in ("-p", f"{name}={format_value(value)}")]
    return ["run", section, "--preset", preset, *own]


def _keep(partial: Path, kept: Path) -> None:
    if partial.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(kept)


def _failed(section: str, partial: Path, kept: Path, root: Path, reason: str, again: str) -> LowdoseError:
    """Keep the partial notebook where it can be looked at, and say what happened."""
    _keep(partial, kept)
    shown = kept.relative_to(root) if kept.is_relative_to(root) else kept
    return LowdoseError(
        f"section {section}",
        found=f"it failed at {reason}",
        expected="all cells to run",
        way_out=f"The partial notebook is {shown.as_posix()}. To run it again: {again}",
    )


def write_sources(root: Path, folder: Path) -> list[Path]:
    """Write every section as a plain notebook with its default parameters, for JupyterLab and papermill."""
    written = []
    for section in sections(root):
        target = folder / f"{section}.ipynb"
        write_text(target, nbformat.writes(source_notebook(section, root)) + "\n")
        written.append(target)
    return written
