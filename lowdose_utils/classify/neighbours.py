"""The image moved: each pixel's neighbours at a distance as features."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lowdose_utils.classify.smooth import Image


def neighbours(image: Image, step: int) -> Iterator[Image]:
    """``Neighbors``: the pixel at (row + dy, column + dx), for dx, then dy, in -s, 0, s but both 0.

    s is `step` pixels; the image is mirrored without repeating the edge pixel.
    """
    padded = np.pad(image, step, mode="reflect")
    rows, columns = image.shape
    for dx in (0, step, 2 * step):
        for dy in (0, step, 2 * step):
            if (dx, dy) != (step, step):
                yield padded[dy : dy + rows, dx : dx + columns]
