"""Two images over each other with a line to drag between them."""

from __future__ import annotations

import html
import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from lowdose_utils.device import Array
from lowdose_utils.errors import LowdoseError
from lowdose_utils.figures.pictures import grey_limits, plain_image
from lowdose_utils.figures.shown import Shown, as_base64, plain_text

URI_BYTES = 150_000


def _data_uri(image: npt.NDArray[np.float64], limits: tuple[float, float], name: str) -> str:
    grey = np.clip((image - limits[0]) / (limits[1] - limits[0]), 0, 1)
    buffer = io.BytesIO()
    Image.fromarray(np.round(grey * 255).astype(np.uint8)).save(buffer, "png", optimize=True)
    uri = "data:image/png;base64," + as_base64(buffer)
    if len(uri) > URI_BYTES:
        raise LowdoseError(
            name,
            found=f"{image.shape[0]} x {image.shape[1]} pixels, {len(uri) // 1000} kB in the page",
            expected=f"at most {URI_BYTES // 1000} kB",
            way_out="Show a part of the image: about 330 x 330 pixels of noise fit.",
        )
    return uri


def slider(
    before: Array,
    after: Array,
    *,
    names: tuple[str, str],
    alt: tuple[str, str],
    limits: tuple[float, float] | None = None,
    width: int = 480,
) -> Shown:
    """Lay two images over each other with a line to drag between them; side by side where no script runs.

    Parameters
    ----------
    before, after : array (row, column)
        Of one shape, shown on one grey scale, pixel for pixel.
    names : (str, str)
        What is left and right of the line.
    alt : (str, str)
        Text alternatives of the two images.
    limits : (float, float), optional
        Values shown black and white; by default 1 % of all pixels is clipped.
    width : int
        On the page, in CSS pixels, less on a narrow screen.

    Raises
    ------
    LowdoseError
        If shapes differ, an image is not finite, or does not fit into 150 kB.
    """
    first, second = plain_image(before, "before"), plain_image(after, "after")
    if first.shape != second.shape:
        raise LowdoseError(
            "after",
            found=f"shape {second.shape}",
            expected=f"{first.shape}, as before",
            way_out="Crop to one shape.",
        )
    shades = limits or grey_limits([first, second])
    height = round(width * first.shape[0] / first.shape[1])
    pictures = "".join(
        f'<img slot="{slot}" width="{width}" height="{height}" alt="{html.escape(text)}" src="{uri}">'
        for slot, text, uri in (
            ("first", plain_text(alt[0]), _data_uri(first, shades, "before")),
            ("second", plain_text(alt[1]), _data_uri(second, shades, "after")),
        )
    )
    left, right = (html.escape(name) for name in names)
    label = f"{left} and {right}, compared: move the line with the arrow keys"
    caption = f"Left of the line: {left}. Right: {right}. Drag it, or use the arrow keys."
    return Shown(
        "text/html",
        f'<figure class="lowdose-slider"><img-comparison-slider role="group" tabindex="0" '
        f'aria-label="{label}">{pictures}</img-comparison-slider><figcaption>{caption}</figcaption></figure>',
        f"{names[0]}: {alt[0]} {names[1]}: {alt[1]}",
    )
