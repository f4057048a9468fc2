"""The papers' figures and their counterparts here: ``book/figures.yml``, and what runs made of it."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from lowdose_utils.errors import LowdoseError

_LABEL = re.compile(r"(?:Supplementary )?(?:Fig\.|Table) S?\d[\w-]*")
_EMBEDDED = re.compile(r'src="data:image/(?:png|webp);base64,([^"]+)"')
THUMBNAIL_SIZE = (480, 360)  # pixels, shown at half of that or a little more
THUMBNAIL_BYTES = 40_000


def labels(text: str) -> list[str]:
    """The figures and tables that a text names, such as "Fig. 1b-c" or "Supplementary Table 3"."""
    return _LABEL.findall(text)


@dataclass(frozen=True)
class Counterpart:
    """A figure or table of a paper, and the cell that makes the same here, or the reason why none does."""

    paper: str
    figure: str
    title: str
    section: str = ""
    cell: str = ""
    data: str = ""
    why: str = ""

    def claims(self, claims: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Those of `claims` that the paper rests on this figure."""
        own = set(labels(self.figure))
        return [c for c in claims if c["paper"] == self.paper and own & set(labels(c["where"]))]

    def kind(self, record: Mapping[str, Any]) -> str:
        """Whether what the record's run shows here was measured or simulated.

        If the run did not have the dataset that is meant (another stood in), the kinds of all that it had.
        """
        used = record["datasets"]
        kinds = [d["kind"] for d in used if d["name"] == self.data] or [d["kind"] for d in used]
        return " and ".join(dict.fromkeys(kinds))


def load_counterparts(root: Path) -> list[Counterpart]:
    """All entries of ``book/figures.yml``, in its order.

    Raises
    ------
    LowdoseError
        If an entry has neither a cell nor a reason, or names no figure.
    """
    papers = yaml.safe_load((root / "book" / "figures.yml").read_text(encoding="utf-8"))
    entries = [Counterpart(paper, **entry) for paper, listed in papers.items() for entry in listed]
    for entry in entries:
        placed = bool(entry.section and entry.cell and entry.data)
        if placed == bool(entry.why) or not labels(entry.figure):
            raise LowdoseError(
                f"entry of book/figures.yml for {entry.paper}, {entry.figure!r}",
                found=f"section {entry.section!r}, cell {entry.cell!r}, data {entry.data!r}, "
                f"why {entry.why!r}",
                expected="a figure, and section, cell and data of its counterpart, or why there is none",
                way_out="Complete the entry.",
            )
    return entries


@dataclass(frozen=True)
class Picture:
    """What an executed cell shows: the bytes of a PNG or WebP, and the text that stands for it."""

    content: bytes
    alt: str


def pictures(page: Path) -> dict[str, Picture]:
    """The pictures of an executed page by the names of their figures; of html, the first picture in it."""
    found: dict[str, Picture] = {}
    for cell in json.loads(page.read_text(encoding="utf-8"))["cells"]:
        name = cell["metadata"].get("mystnb", {}).get("figure", {}).get("name")
        for output in cell.get("outputs", []) if name else []:
            picture = _picture(output)
            if picture is not None:
                found.setdefault(name, picture)
    return found


def _picture(output: Mapping[str, Any]) -> Picture | None:
    data, metadata = output.get("data", {}), output.get("metadata", {})
    for mime in ("image/png", "text/html"):
        text = "".join(data.get(mime, ""))
        coded = text if mime == "image/png" else (_EMBEDDED.findall(text) or [""])[0]
        if coded:
            return Picture(base64.b64decode(coded), metadata.get(mime, {}).get("alt", ""))
    return None


def thumbnail(content: bytes) -> bytes:
    """A picture made small: WebP of 480 x 360 pixels at most, and of 40 kB at most."""
    with Image.open(io.BytesIO(content)) as image:
        small = image.convert("RGB")
    small.thumbnail(THUMBNAIL_SIZE, Image.Resampling.LANCZOS)
    for quality in (80, 60, 40, 20):
        buffer = io.BytesIO()
        small.save(buffer, "webp", quality=quality, method=6)
        if buffer.tell() <= THUMBNAIL_BYTES:
            break
    return buffer.getvalue()
