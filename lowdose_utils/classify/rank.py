"""Mean, variance, minimum, maximum and median over a disc around each pixel, as ImageJ's rank filters."""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import median_filter
from skimage.filters import rank as skimage_rank

from lowdose_utils.classify.smooth import Image


def disc_widths(radius: float) -> list[int]:
    """Half-widths of ImageJ's disc for rank filters, for rows 0, 1, 2 ... from its centre.

    The disc is ``dx² + dy² <= int(r²) + 1``, so radius 1 is the full 3 x 3 square.
    """
    radius = 1.75 if 1.5 <= radius < 1.75 else 2.85 if 2.5 <= radius < 2.85 else radius
    square = int(radius * radius) + 1
    return [isqrt(square - dy * dy) for dy in range(isqrt(square) + 1)]


def rank_reach(radius: float) -> int:
    """Pixels from a rank filter's centre to its disc's border."""
    return len(disc_widths(radius)) - 1


def footprint(widths: list[int]) -> npt.NDArray[np.uint8]:
    """The disc with these half-widths as a square of zeros and ones."""
    reach = len(widths) - 1
    x = np.abs(np.arange(-reach, reach + 1))
    return np.array([x <= widths[abs(dy)] for dy in range(-reach, reach + 1)], np.uint8)


def disc_sums(values: npt.NDArray[np.float64], widths: list[int]) -> npt.NDArray[np.float64]:
    """Sums over the disc around each pixel, with the edge pixel repeated outside."""
    reach = len(widths) - 1
    rows, columns = values.shape
    padded = np.pad(values, ((reach, reach), (reach + 1, reach)), mode="edge")
    padded[:, 0] = 0  # the running sum before the first pixel
    running = np.cumsum(padded, axis=1)
    total = np.zeros_like(values)
    for dy in range(-reach, reach + 1):
        right, left = reach + 1 + widths[abs(dy)], reach - widths[abs(dy)]
        line = running[reach + dy : reach + dy + rows]
        total += line[:, right : right + columns]
        total -= line[:, left : left + columns]
    return total


def mean(image: Image, radius: float) -> Iterator[Image]:
    """``Mean``: average over the disc."""
    widths = disc_widths(radius)
    yield (disc_sums(image.astype(np.float64), widths) / footprint(widths).sum()).astype(np.float32)


def variance(image: Image, radius: float) -> Iterator[Image]:
    """``Variance``: population variance over the disc."""
    widths = disc_widths(radius)
    count = footprint(widths).sum()
    centred = image - image.mean(dtype=np.float64)  # keeps the difference of the two sums accurate
    average, square = (disc_sums(values, widths) / count for values in (centred, centred**2))
    yield np.maximum(square - average**2, 0).astype(np.float32)


def minimum(image: Image, radius: float) -> Iterator[Image]:
    """``Minimum`` over the disc."""
    yield np.asarray(
        cv2.erode(image, footprint(disc_widths(radius)), borderType=cv2.BORDER_REPLICATE), np.float32
    )


def maximum(image: Image, radius: float) -> Iterator[Image]:
    """``Maximum`` over the disc."""
    yield np.asarray(
        cv2.dilate(image, footprint(disc_widths(radius)), borderType=cv2.BORDER_REPLICATE), np.float32
    )


def median(image: Image, radius: float) -> Iterator[Image]:
    """``Median`` over the disc; images of whole grey levels 0 to 255 take the fast way by histograms."""
    disc = footprint(disc_widths(radius))
    levels = image.astype(np.uint8) if image.min() >= 0 and image.max() <= 255 else None
    if levels is None or not np.array_equal(levels, image):
        yield median_filter(image, footprint=disc, mode="nearest")
        return
    reach = len(disc) // 2
    result = skimage_rank.median(np.pad(levels, reach, mode="edge"), disc)
    yield result[reach : reach + len(image), reach : reach + image.shape[1]].astype(np.float32)
