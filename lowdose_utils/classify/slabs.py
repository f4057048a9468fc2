"""Computing three-dimensional features part by part, each with a margin as wide as they look."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from lowdose_utils.classify.smooth import Image
from lowdose_utils.classify.solid import SolidFeatures, SolidStep, solid_steps
from lowdose_utils.classify.solid_filters import Box, Reach, window
from lowdose_utils.errors import LowdoseError

VOXELS = 2**21  # that a slab has about; 8 slices of 512 x 512


def solid_reach(features: SolidFeatures) -> Reach:
    """Voxels that the selection looks at around one, to each side along slices, rows and columns."""
    z, y, x = (max(reach) for reach in zip(*(step.reach for step in solid_steps(features)), strict=True))
    return z, y, x


def boxes(region: Box, tile: int | None = None) -> Iterator[Box]:
    """Parts of a region: slabs of whole slices, as many as `VOXELS` allows, or cubes of side `tile`."""
    sizes = [side.stop - side.start for side in region]
    steps = [tile] * 3 if tile else [max(1, VOXELS // (sizes[1] * sizes[2])), sizes[1], sizes[2]]
    cuts = [
        [slice(at, min(at + step, side.stop)) for at in range(side.start, side.stop, step)]
        for side, step in zip(region, steps, strict=True)
    ]
    yield from product(cuts[0], cuts[1], cuts[2])


def whole(shape: tuple[int, ...]) -> Box:
    """The box that is all of a volume."""
    z, y, x = (slice(0, size) for size in shape)
    return z, y, x


def solid_stack(
    source: Any, features: SolidFeatures, box: Box, *, workers: int | None = None, out: Image | None = None
) -> Image:
    """Features on a box of a volume, of which only the box and a margin are read.

    Parameters
    ----------
    source : array (slice, row, column)
        Grey values; anything that slices index, as a dataset of an HDF5 file.
    features : SolidFeatures
    box : three slices
        Where; starts and stops inside the volume.
    workers : int, optional
        Threads; the machine's processors if not given. The result does not depend on them.
    out : float32 array of the result's shape, optional
        Where to write.

    Returns
    -------
    float32 array (channel, slice, row, column)

    Raises
    ------
    LowdoseError
        If a value in the box or its margin is not finite.
    """
    grown, inner = window(box, solid_reach(features), np.shape(source))
    block = finite_image(np.asarray(source[grown]).astype(np.float32))
    todo = solid_steps(features)
    shape = (sum(len(step.names) for step in todo), *(side.stop - side.start for side in box))
    result = np.empty(shape, np.float32) if out is None else out

    def run(step: SolidStep, target: Image) -> None:
        near, core = window(inner, step.reach, block.shape)
        for channel, values in zip(target, step.compute(block[near], core), strict=True):
            channel[:] = values

    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        first, done = 0, []
        for step in todo:
            done.append(pool.submit(run, step, result[first : first + len(step.names)]))
            first += len(step.names)
        for each in done:
            each.result()
    return result


def compute_solid(
    volume: Any, features: SolidFeatures, tile: int | None, workers: int | None, out: Image
) -> None:
    """Fill `out`, float32 (channel, slice, row, column), with a volume's features, part by part."""
    for box in boxes(whole(np.shape(volume)), tile):
        solid_stack(volume, features, box, workers=workers, out=out[(slice(None), *box)])


def finite_image(image: npt.NDArray[np.float32]) -> Image:
    """The image, if all of it is finite.

    Raises
    ------
    LowdoseError
        If not.
    """
    if not np.isfinite(image).all():
        raise LowdoseError(
            "image",
            found=f"{np.count_nonzero(~np.isfinite(image))} values that are NaN or infinite",
            expected="finite float32 grey values",
            way_out="Replace them first, for instance by correct.repair_bad_pixels.",
        )
    return image
