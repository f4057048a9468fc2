"""Sums of uniform ellipses: pixel images and exact projections.

Lengths are in units of half the image's side, x to the right and y up, so that a phantom does not depend
on the number of pixels. Where ellipses overlap, their values add up.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lowdose_utils.errors import LowdoseError
from lowdose_utils.project import check_angles

Floats = npt.NDArray[np.float64]


class Ellipse(NamedTuple):
    """A uniform ellipse.

    `value` is what it adds per pixel, (`x`, `y`) its centre, `a` and `b` its half axes, and `angle` the
    counter-clockwise turn of `a` against the x axis in radians.
    """

    value: float
    x: float
    y: float
    a: float
    b: float
    angle: float = 0.0


def rasterise(ellipses: Iterable[Ellipse], size: int, *, supersample: int = 4) -> Floats:
    """Draw `ellipses` on ``size`` by ``size`` pixels.

    Each pixel holds the mean over ``supersample`` by ``supersample`` points in its area; 1 takes the
    pixel centres.

    Raises
    ------
    LowdoseError
        If `size` or `supersample` is less than 1.
    """
    if size < 1 or supersample < 1:
        raise LowdoseError(
            "size, supersample", found=(size, supersample), expected="at least 1", way_out="Count pixels."
        )
    image = np.zeros((size, size))
    points = (np.arange(size * supersample) + 0.5) / supersample * (2 / size) - 1
    for value, x, y, a, b, angle in ellipses:
        cosine, sine = np.cos(angle), np.sin(angle)
        columns = _span(x, np.hypot(a * cosine, b * sine), size)
        rows = _span(-y, np.hypot(a * sine, b * cosine), size)
        dx = points[columns.start * supersample : columns.stop * supersample][None, :] - x
        dy = -points[rows.start * supersample : rows.stop * supersample][:, None] - y
        along, across = (dx * cosine + dy * sine) / a, (dy * cosine - dx * sine) / b
        inside = along**2 + across**2 <= 1
        height, width = rows.stop - rows.start, columns.stop - columns.start
        share = inside.reshape(height, supersample, width, supersample).mean(axis=(1, 3))
        image[rows, columns] += value * share
    return image


def project_ellipses(
    ellipses: Iterable[Ellipse],
    size: int,
    angles: npt.ArrayLike,
    *,
    columns: int | None = None,
    axis: float | None = None,
    integrate: bool = True,
) -> Floats:
    """Exact projections of `ellipses` drawn on ``size`` by ``size`` pixels.

    Parameters
    ----------
    ellipses : iterable of Ellipse
        The phantom.
    size : int
        Side of the image in pixels; detector columns are as wide as a pixel.
    angles : array of shape (angle,)
        In radians.
    columns, axis : optional
        Detector columns (`size`) and column of the rotation axis (the middle).
    integrate : bool
        True: the mean over each detector column's width. False: the line through its centre.

    Returns
    -------
    array of shape (angle, column)
        Line integrals in units of value times pixels (Kak and Slaney, "Principles of Computerized
        Tomographic Imaging", 1988, equation 3.6).
    """
    theta = check_angles(angles)
    columns = size if columns is None else columns
    axis = (columns - 1) / 2 if axis is None else axis
    result = np.zeros((len(theta), columns))
    which = np.arange(len(theta))[:, None]
    half = size / 2
    for value, x, y, a, b, angle in ellipses:
        reach = half * np.hypot(a * np.cos(theta - angle), b * np.sin(theta - angle))[:, None]
        middle = half * (x * np.cos(theta) + y * np.sin(theta))[:, None] + axis
        first = np.floor(middle - reach)
        index = first.astype(int) + np.arange(int(np.ceil(2 * reach.max())) + 3)
        offset = index - middle
        if integrate:
            line = _half_moon(offset + 0.5, reach) - _half_moon(offset - 0.5, reach)
        else:
            line = np.sqrt(np.maximum(reach**2 - offset**2, 0))
        line *= 2 * value * a * b * half**2 / reach**2
        seen = (index >= 0) & (index < columns)
        result[np.broadcast_to(which, index.shape)[seen], index[seen]] += line[seen]
    return result


def _half_moon(offset: Floats, reach: Floats) -> Floats:
    """Integral of ``sqrt(reach^2 - t^2)`` over t from 0 to `offset`."""
    t = np.clip(offset / reach, -1, 1)
    area: Floats = reach**2 / 2 * (t * np.sqrt(1 - t**2) + np.arcsin(t))
    return area


def _span(centre: float, reach: float, size: int) -> slice:
    """Pixels that the interval from ``centre - reach`` to ``centre + reach`` touches."""
    first = int(np.floor((centre - reach + 1) * size / 2))
    last = int(np.ceil((centre + reach + 1) * size / 2))
    return slice(min(max(first, 0), size), min(max(last, 0), size))
