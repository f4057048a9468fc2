"""Mean, variance, minimum and maximum over a ball around each voxel of a volume.

A ball is worked on as the discs that it has on each slice. As in `solid_filters`, functions take a part of a
volume and the box of it that is wanted, and repeat the outermost voxels where the part ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isqrt
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from lowdose_utils.classify.rank import disc_sums, footprint
from lowdose_utils.classify.smooth import Image
from lowdose_utils.classify.solid_filters import Box, Reach

Ball: TypeAlias = tuple[tuple[int, ...], ...]


def ball(radius: float, aspect: float) -> Ball:
    """Half-widths of the ball's rows, for slices 0, 1, ... and rows 0, 1, ... from its centre.

    The ball is ``(aspect dz)² + dy² + dx² <= radius²``, in pixels.
    """
    discs = []
    for dz in range(int(radius / aspect) + 1):
        square = int(max(radius * radius - (aspect * dz) ** 2, 0) + 1e-9)
        discs.append(tuple(isqrt(square - dy * dy) for dy in range(isqrt(square) + 1)))
    return tuple(discs)


def ball_reaches(ball: Ball) -> Reach:
    """Voxels from the ball's centre to its border along each axis."""
    return len(ball) - 1, len(ball[0]) - 1, len(ball[0]) - 1


def _gather(
    block: npt.NDArray[Any],
    inner: Box,
    ball: Ball,
    disc: Callable[[npt.NDArray[Any], tuple[int, ...]], npt.NDArray[Any]],
    join: np.ufunc,
) -> npt.NDArray[Any]:
    """Join what `disc` makes of the slices that a ball crosses; each disc on each slice is made once."""
    wanted = np.arange(inner[0].start, inner[0].stop)
    result: npt.NDArray[Any] = np.stack([disc(block[z], ball[0])[inner[1:]] for z in wanted])
    for dz, widths in enumerate(ball[1:], 1):
        sides = [np.clip(wanted + shift, 0, len(block) - 1) for shift in (-dz, dz)]
        for z in np.unique(sides):
            plane = disc(block[z], widths)[inner[1:]]
            for side in sides:
                for k in np.flatnonzero(side == z):
                    join(result[k], plane, out=result[k])
    return result


def _average(values: npt.NDArray[np.float64], inner: Box, ball: Ball) -> npt.NDArray[np.float64]:
    def sums_over(plane: npt.NDArray[Any], widths: tuple[int, ...]) -> npt.NDArray[Any]:
        # A pixel alone is taken as it is: running sums would leave their rounding as its variance.
        return plane if widths == (0,) else disc_sums(plane, list(widths))

    sums = _gather(values, inner, ball, sums_over, np.add)
    discs = [footprint(list(widths)).sum(dtype=int) for widths in ball]
    result: npt.NDArray[np.float64] = sums / (2 * sum(discs) - discs[0])
    return result


def mean(block: Image, inner: Box, ball: Ball) -> Iterator[Image]:
    """``Mean_3D``: average over the ball."""
    yield _average(block.astype(np.float64), inner, ball).astype(np.float32)


def variance(block: Image, inner: Box, ball: Ball) -> Iterator[Image]:
    """``Variance_3D``: population variance over the ball."""
    centred = block - block.mean(dtype=np.float64)  # keeps the difference of the two averages accurate
    variance = _average(centred**2, inner, ball) - _average(centred, inner, ball) ** 2
    yield np.maximum(variance, 0).astype(np.float32)


def minimum(block: Image, inner: Box, ball: Ball) -> Iterator[Image]:
    """``Minimum_3D`` over the ball."""
    yield _gather(block, inner, ball, _with(cv2.erode), np.minimum)


def maximum(block: Image, inner: Box, ball: Ball) -> Iterator[Image]:
    """``Maximum_3D`` over the ball."""
    yield _gather(block, inner, ball, _with(cv2.dilate), np.maximum)


def _with(function: Callable[..., Any]) -> Callable[[npt.NDArray[Any], tuple[int, ...]], npt.NDArray[Any]]:
    def disc(plane: npt.NDArray[Any], widths: tuple[int, ...]) -> npt.NDArray[Any]:
        return np.asarray(function(plane, footprint(list(widths)), borderType=cv2.BORDER_REPLICATE))

    return disc
