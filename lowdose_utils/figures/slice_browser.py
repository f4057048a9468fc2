"""Volumes slice by slice, side by side: in the book a reader moves, enlarges and reads them together."""

from __future__ import annotations

import html
import io
import json
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.ticker import EngFormatter
from PIL import Image

from lowdose_utils.device import Array
from lowdose_utils.errors import LowdoseError
from lowdose_utils.figures.look import COLOURS
from lowdose_utils.figures.pictures import grey_limits, plain_volume
from lowdose_utils.figures.shown import Shown, as_base64, plain_text

__all__ = ["SLICES_BYTES", "slice_browser"]

SLICES_BYTES = 1_000_000
WIDE, NARROW = (1, 2, 3, 4, 3, 3), (1, 2, 3, 2, 3, 3)  # panels in a row, of one to six, where there is room
STEPS = 256  # grey values that a picture of eight bits tells apart


def slice_browser(
    volumes: Mapping[str, Array],
    *,
    alt: str,
    limits: tuple[float, float] | None = None,
    pixel_size: float | None = None,
    unit: str = "",
    width: int = 690,
) -> Shown:
    """Show volumes side by side, slice by slice, on one grey scale.

    The middle slices are all that print, mail and readers without scripts see. On the book's pages
    ``_static/slice-browser.js`` adds one control of the slice for all panels, linked zoom, a cross-hair with
    the grey value in each panel, the profile along its row, and the histograms of what is in sight; by mouse,
    touch or keyboard. Grey values travel in 256 steps between the limits, without other loss.

    Parameters
    ----------
    volumes : mapping of str to array (slice, row, column)
        Named as the panels shall be, up to six, from left to right; finite, of one shape.
    alt : str
        What is shown, and what is to be seen in it.
    limits : (float, float), optional
        Values shown black and white, which the readout does not go beyond; by default 1 % of all values is
        clipped.
    pixel_size : float, optional
        In metres; adds a scale bar.
    unit : str
        Of the grey values.
    width : int
        Of all panels on the page, in CSS pixels, less on a narrow screen.

    Returns
    -------
    Shown
        Html.

    Raises
    ------
    LowdoseError
        If there is no volume or more than six, shapes differ, a value is not finite, limits or pixel size are
        none, or the whole is above 1 MB.
    """
    if not 1 <= len(volumes) <= len(WIDE):
        raise LowdoseError(
            "volumes",
            found=f"{len(volumes)}",
            expected=f"one to {len(WIDE)}",
            way_out="Give {name: volume}, and of many volumes those to be compared.",
        )
    plain = {name: plain_volume(volume, f"volume {name!r}") for name, volume in volumes.items()}
    shapes = {name: volume.shape for name, volume in plain.items()}
    if len(set(shapes.values())) > 1:
        raise LowdoseError(
            "volumes", found=f"shapes {shapes}", expected="one shape", way_out="Crop to one shape."
        )
    low, high = map(float, limits or grey_limits(list(plain.values())))
    if not (np.isfinite([low, high]).all() and low < high):
        raise LowdoseError(
            "limits", found=f"{limits}", expected="two finite values, black below white", way_out="Swap them?"
        )
    if pixel_size is not None and not 0 < pixel_size < np.inf:
        raise LowdoseError(
            "pixel_size", found=f"{pixel_size}", expected="above 0", way_out="Give it in metres."
        )
    slices, rows, columns = next(iter(shapes.values()))
    middle, text = slices // 2, plain_text(alt)
    wide, narrow = WIDE[len(plain) - 1], NARROW[len(plain) - 1]
    across = round(width / wide) - 10
    panels, pictures, size = [], [], 0
    for (name, volume), colour in zip(plain.items(), COLOURS, strict=False):
        greys = np.round(np.clip((volume - low) / (high - low), 0, 1) * (STEPS - 1)).astype(np.uint8)
        uris = _pictures(greys)
        size += sum(map(len, uris))
        pictures.append(
            # In a notebook, without the book's style sheet, the panels stand side by side too.
            '<div class="lowdose-slices-panel" style="display:inline-block">'
            f'<div class="lowdose-slices-name">{html.escape(name)}</div>'
            f'<img width="{across}" height="{round(across * rows / columns)}" style="max-width:100%" '
            f'alt="{html.escape(name)}, slice {middle}" src="{uris[middle]}"></div>'
        )
        panels.append(
            {
                "name": name,
                "colour": colour,
                "clipped": [bool(volume.min() < low), bool(volume.max() > high)],
                "total": int(greys.sum()),  # some browsers alter what a script reads from pictures
                "slices": [None if number == middle else uri for number, uri in enumerate(uris)],
            }
        )
    if size > SLICES_BYTES:
        raise LowdoseError(
            "volumes",
            found=f"{len(plain)} of {slices} x {rows} x {columns}, {size // 1000} kB in the page",
            expected=f"at most {SLICES_BYTES // 1000} kB",
            way_out="Show fewer slices, a part of them, or fewer volumes; noise takes most of the room.",
        )
    data = {
        "shape": [slices, rows, columns],
        "limits": [low, high],
        "unit": unit,
        "pixel": pixel_size,
        "panels": panels,
    }
    # Within a script element only "<" could end it, or open a comment.
    packed = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    content = (
        f'<figure class="lowdose-slices" aria-label="{html.escape(text)}">'
        f'<div class="lowdose-slices-panels" style="max-width:{width}px;--wide:{wide};--narrow:{narrow}">'
        f"{''.join(pictures)}</div>"
        f"<figcaption>{_caption(low, high, unit, pixel_size, middle, slices)}</figcaption>"
        f'<script type="application/json" class="lowdose-slices-data">{packed}</script></figure>'
    )
    return Shown("text/html", content, text)


def _caption(low: float, high: float, unit: str, pixel_size: float | None, middle: int, slices: int) -> str:
    """What is black and white, how fine the values are, and which slice stands still."""
    black, white = (f"{value:.4g}".replace("-", "−") for value in (low, high))
    label = html.escape(f" {unit}" if unit else "")
    pixel = f" A pixel is {EngFormatter(unit='m')(pixel_size)} wide." if pixel_size else ""
    return (
        f"Black is {black}{label} and below, white {white}{label} and above; between them the values "
        f"are kept in {STEPS} steps.{pixel}"
        f'<span class="lowdose-slices-fixed"> Shown is slice {middle} of 0 to {slices - 1}.</span>'
    )


def _pictures(greys: npt.NDArray[np.uint8]) -> Sequence[str]:
    """Slices as data URIs, without loss."""
    uris = []  # the slowest of WebP's methods would save another hundredth in a hundred times the time
    for grey in greys:
        buffer = io.BytesIO()
        Image.fromarray(grey).convert("RGB").save(buffer, "webp", lossless=True, quality=100, method=4)
        uris.append("data:image/webp;base64," + as_base64(buffer))
    return uris
