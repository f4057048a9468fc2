"""What runs left: the records of this build, those kept in the repository, the front picture."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowdose_utils.errors import LowdoseError
from lowdose_utils.notebook import PRESETS, preset_table, sections


def records(root: Path, preset: str) -> dict[str, dict[str, Any]]:
    """The records of this build's sections, by name."""
    found = {}
    for section in sections(root):
        path = root / "_build" / "pages" / preset / f"{section}.json"
        if path.exists():
            found[section] = json.loads(path.read_text(encoding="utf-8"))
    return found


def recorded_runs(root: Path) -> list[dict[str, Any]]:
    """The records kept in the repository, in the order of section, preset and device."""
    kept = [json.loads(path.read_text(encoding="utf-8")) for path in root.glob("book/recorded_runs/*.json")]
    return sorted(kept, key=lambda r: (r["section"], PRESETS.index(r["parameters"]["preset"]), r["device"]))


def best_run(section: str, runs: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The recorded run with the largest preset."""
    own = [run for run in runs if run["section"] == section]
    return max(own, key=lambda run: PRESETS.index(run["parameters"]["preset"]), default=None)


def has_its_presets_values(run: Mapping[str, Any], root: Path) -> bool:
    """Whether a run had the values that its preset has now."""
    had = run["parameters"]
    preset = preset_table(root).get(run["section"], {}).get(had["preset"])
    return preset is not None and all(had.get(name) == value for name, value in preset.items())


def run_label(run: Mapping[str, Any]) -> str:
    """Preset, device, date and commit of a run, in a few words."""
    made = run["run"]
    return f"preset {run['parameters']['preset']}, {run['device']}, {made['date']}, commit {made['commit']}"


@dataclass(frozen=True)
class FrontPicture:
    """What the cell tagged ``front-picture`` of a section's executed page shows."""

    section: str
    png: bytes
    alt: str
    caption: str
    slider: str = ""  # html, if the cell also shows a picture to be compared by hand


def front_picture(root: Path, preset: str) -> FrontPicture:
    """The picture of the front page and of the README: of tagged cells, that of the last section.

    Sections that have not been run are passed over.
    """
    for section in reversed(records(root, preset)):
        picture = tagged_picture(root, section, preset)
        if picture is not None:
            return picture
    raise LowdoseError(
        "picture of the front page",
        found="no cell tagged front-picture",
        expected="one in some section that was run",
        way_out="Run the section that has it, or tag the cell that draws it.",
    )


def tagged_picture(root: Path, section: str, preset: str) -> FrontPicture | None:
    """What the cell tagged ``front-picture`` of a section's executed page shows, if it shows a PNG.

    A slider below it comes from a cell tagged ``front-slider``.
    """
    page = root / "_build" / "pages" / preset / f"{section}.ipynb"
    cells = json.loads(page.read_text(encoding="utf-8"))["cells"]
    sliders = ["".join(shown["text/html"]) for _, shown, _ in _outputs(cells, "front-slider", "text/html")]
    for cell, shown, described in _outputs(cells, "front-picture", "image/png"):
        caption = cell["metadata"].get("mystnb", {}).get("figure", {}).get("caption", "")
        alt = described.get("image/png", {}).get("alt", "")
        png = base64.b64decode(shown["image/png"])
        return FrontPicture(section, png, alt, caption, next(iter(sliders), ""))
    return None


def _outputs(cells: Iterable[Mapping[str, Any]], tag: str, mime: str) -> Iterator[tuple[Any, Any, Any]]:
    """Cell, data and metadata of each output of a MIME type, of the cells that have a tag."""
    for cell in cells:
        for output in cell.get("outputs", []) if tag in cell["metadata"].get("tags", []) else []:
            if mime in output.get("data", {}):
                yield cell, output["data"], output.get("metadata", {})
