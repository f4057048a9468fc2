"""A short film on the page, lossless, which stands still for readers who asked for less motion."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from lowdose_utils.device import Array
from lowdose_utils.errors import LowdoseError
from lowdose_utils.figures.pictures import grey_limits, plain_image
from lowdose_utils.figures.shown import Shown, as_base64, plain_text

FILM_BYTES = 400_000
GREYS = 32  # levels: noise does not compress, and the eye tells no more of them in motion
GAP = 2  # white pixels between panels


def film(
    frames: Sequence[Sequence[Array]],
    *,
    names: Sequence[str],
    alt: str,
    limits: tuple[float, float] | None = None,
    milliseconds: int = 500,
    width: int = 600,
) -> Shown:
    """Show images side by side as they change, over and over.

    The film is an animated WebP without loss but that of grey levels (32 are shown). Where the reader's
    system asks for less motion, the last frame is shown instead, still.

    Parameters
    ----------
    frames : sequence of sequences of arrays (row, column)
        For each moment the panels from left to right, all of one shape and on one grey scale.
    names : sequence of str
        One for each panel.
    alt : str
        What is shown, and what happens in it.
    limits : (float, float), optional
        Values shown black and white; by default 1 % of all pixels is clipped.
    milliseconds : int
        Time of a frame; the last stays three times as long.
    width : int
        On the page, in CSS pixels, less on a narrow screen.

    Returns
    -------
    Shown
        Html.

    Raises
    ------
    LowdoseError
        If there are fewer than two frames, panels and names differ in number, shapes differ, an image is not
        finite, or the film does not fit into 400 kB.
    """
    if len(frames) < 2 or not names or any(len(panels) != len(names) for panels in frames):
        raise LowdoseError(
            "frames",
            found=f"{len(frames)}, with {sorted({len(panels) for panels in frames})} panels",
            expected=f"two frames at least, of {len(names)} panels: one for each name",
            way_out="Of a single moment show figures.images.",
        )
    plain = [
        [
            plain_image(panel, f"panel {name!r} of frame {number}")
            for panel, name in zip(panels, names, strict=True)
        ]
        for number, panels in enumerate(frames)
    ]
    shapes = {panel.shape for panels in plain for panel in panels}
    if len(shapes) > 1:
        raise LowdoseError(
            "frames", found=f"shapes {sorted(shapes)}", expected="one shape", way_out="Crop to one shape."
        )
    low, high = limits or grey_limits([panel for panels in plain for panel in panels])
    pictures = [_side_by_side([(panel - low) / (high - low) for panel in panels]) for panels in plain]
    times = [milliseconds] * (len(pictures) - 1) + [3 * milliseconds]
    buffer, still = io.BytesIO(), io.BytesIO()
    options = {"lossless": True, "quality": 100, "method": 6}
    pictures[0].save(
        buffer, "webp", save_all=True, append_images=pictures[1:], duration=times, loop=0, **options
    )
    pictures[-1].save(still, "webp", **options)
    moving, resting = (f"data:image/webp;base64,{as_base64(part)}" for part in (buffer, still))
    if len(moving) + len(resting) > FILM_BYTES:
        raise LowdoseError(
            "frames",
            found=f"{len(pictures)} of {pictures[0].width} x {pictures[0].height} pixels, "
            f"{(len(moving) + len(resting)) // 1000} kB in the page",
            expected=f"at most {FILM_BYTES // 1000} kB",
            way_out="Show fewer frames, or a part of the images.",
        )
    text = plain_text(alt)
    height = round(width * pictures[0].height / pictures[0].width)
    caption = "From left to right: " + ", ".join(html.escape(name) for name in names) + "."
    return Shown(
        "text/html",
        '<figure class="lowdose-film"><picture>'
        f'<source media="(prefers-reduced-motion: reduce)" srcset="{resting}" type="image/webp">'
        f'<img width="{width}" height="{height}" '
        'style="max-width:100%;height:auto;image-rendering:pixelated" '
        f'alt="{html.escape(text)}" src="{moving}"></picture><figcaption>{caption}</figcaption></figure>',
        text,
    )


def _side_by_side(panels: Sequence[npt.NDArray[np.float64]]) -> Image.Image:
    """Panels with values from 0 to 1, a white line between them."""
    line = np.ones((len(panels[0]), GAP))
    parts = [part for panel in panels for part in (line, panel)][1:]
    levels = np.round(np.clip(np.concatenate(parts, axis=1), 0, 1) * (GREYS - 1)) / (GREYS - 1)
    return Image.fromarray(np.round(levels * 255).astype(np.uint8)).convert("RGB")
