"""Computing a feature stack: names, checks, tiles, threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from lowdose_utils.classify.selection import PAPER, FeatureSet
from lowdose_utils.classify.slabs import compute_solid, finite_image
from lowdose_utils.classify.smooth import Image
from lowdose_utils.classify.solid import Selection, SolidFeatures, check_volume, solid_steps
from lowdose_utils.classify.stack import Step, steps
from lowdose_utils.device import resolve_device
from lowdose_utils.errors import LowdoseError


def names(features: Selection = PAPER) -> list[str]:
    """The channels' names in order, as Trainable Weka Segmentation 4 writes them; with "3D" in those of
    `SolidFeatures`."""
    if isinstance(features, SolidFeatures):
        return [name for solid in solid_steps(features) for name in solid.names]
    return [name for step in steps(features, torch.device("cpu")) for name in step.names]


def compute(
    image: npt.ArrayLike,
    features: Selection = PAPER,
    *,
    device: str | torch.device = "auto",
    tile: int | None = None,
    workers: int | None = None,
    out: Image | None = None,
) -> Image:
    """Compute the feature stack of an image, or of each slice of a stack, or that of a volume.

    Parameters
    ----------
    image : array (row, column) or (slice, row, column)
        Grey values. The plugin works on 0..255, and ``compat="weka"`` asks for that; otherwise any scale
        does.
    features : FeatureSet or SolidFeatures
        Which channels; `names` tells their order. A `FeatureSet` takes each slice as an image of its own,
        `SolidFeatures` the slices as one volume.
    device : {"auto", "cpu", "cuda", "mps"} or torch.device
        Where diffusion, bilateral, Kuwahara, Gabor and entropy are computed; the others, and all of
        `SolidFeatures`, always use the CPU.
    tile : int, optional
        Side of square tiles in pixels, each computed with a margin as wide as its feature looks, to bound the
        memory beyond the result's. The numbers are the same but for float32 rounding. Gabor (normalised over
        the image), diffusion (a step as its fastest pixel allows) and Lipschitz (cones) are computed whole;
        entropy, bilateral and Kuwahara take lowest and highest value from the whole image. `SolidFeatures`
        are computed in cubes of this side; without it in slabs of some two million voxels.
    workers : int, optional
        Threads; the machine's processors if not given. The result does not depend on them.
    out : float32 array of the result's shape, optional
        Where to write, channel after channel: a numpy memmap for stacks larger than memory.

    Returns
    -------
    float32 array (channel, row, column) or (channel, slice, row, column)

    Raises
    ------
    LowdoseError
        If the image is not 2-D or 3-D (for `SolidFeatures`, not 3-D), smaller than 3 x 3, or not finite; if
        it is not within 0..255 for ``compat="weka"``; if `tile`, `workers`, `out` or `device` do not fit.
    """
    for thing, value in (("tile", tile), ("workers", workers)):
        if value is not None and value < 1:
            raise LowdoseError(thing, found=value, expected="1 or more, or None", way_out="Leave it out.")
    if isinstance(features, SolidFeatures):
        check_volume(np.shape(image))
        result = _result((len(names(features)), *np.shape(image)), out)
        compute_solid(np.asarray(image), features, tile, workers, result)
        return result
    volume = _checked(image, features)
    todo = steps(features, resolve_device(device))
    result = _result((sum(len(step.names) for step in todo), *np.shape(image)), out)
    stack = result.reshape(len(result), *volume.shape) if volume.ndim != np.ndim(image) else result
    with _pool(workers or os.cpu_count() or 1) as pool:
        done = [pool.submit(task.run) for task in sorted(_tasks(volume, todo, stack, tile), key=Task.order)]
        for each in done:
            each.result()
    return result


def _result(shape: tuple[int, ...], out: Image | None) -> Image:
    """Where to write: `out`, if it fits."""
    result = np.empty(shape, np.float32) if out is None else out
    if result.shape != shape or result.dtype != np.float32:
        raise LowdoseError(
            "out",
            found=f"{result.dtype} {result.shape}",
            expected=f"float32 {shape}",
            way_out="Make it with len(names(features)) channels in front of the image's shape.",
        )
    return result


class Task(NamedTuple):
    """One step on one tile of one slice; `source` is the slice, `target` the step's channels of the
    result."""

    step: Step
    source: Image
    target: Image
    box: tuple[slice, slice]
    statistics: dict[str, float]

    def order(self) -> float:
        """Sorts the longest first."""
        return -self.step.cost

    def run(self) -> None:
        """Compute the channels on the box and its margin, and keep the box."""
        reach = max(self.source.shape) if self.step.reach is None else self.step.reach
        grown = tuple(slice(max(side.start - reach, 0), side.stop + reach) for side in self.box)
        inner = tuple(
            slice(side.start - wide.start, side.stop - wide.start)
            for side, wide in zip(self.box, grown, strict=True)
        )
        crop = np.ascontiguousarray(self.source[grown])
        given = {need: self.statistics[need] for need in self.step.needs}
        for target, channel in zip(self.target, self.step.compute(crop, **given), strict=True):
            target[self.box] = channel[inner]


def _tasks(volume: Image, todo: list[Step], stack: Image, tile: int | None) -> Iterator[Task]:
    rows, columns = volume.shape[1:]
    whole = (slice(0, rows), slice(0, columns))
    side = tile or max(rows, columns)
    boxes = [
        (slice(y, min(y + side, rows)), slice(x, min(x + side, columns)))
        for y, x in product(range(0, rows, side), range(0, columns, side))
    ]
    for z, image in enumerate(volume):
        statistics = {"low": float(image.min()), "high": float(image.max())}
        first = 0
        for step in todo:
            target = stack[first : first + len(step.names), z]
            first += len(step.names)
            for box in [whole] if step.reach is None else boxes:
                yield Task(step, image, target, box, statistics)


@contextmanager
def _pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that each compute with one core; torch's own threads are restored afterwards."""
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


def _checked(image: npt.ArrayLike, features: FeatureSet) -> Image:
    """The image as a float32 volume (slice, row, column)."""
    values = np.asarray(image)
    if values.ndim not in (2, 3) or min(values.shape[-2:]) < 3 or 0 in values.shape:
        raise LowdoseError(
            "image",
            found=f"shape {values.shape}",
            expected="(row, column) or (slice, row, column), at least 3 x 3 pixels",
            way_out="Give one grey image, or a stack of them with the slices first.",
        )
    volume = finite_image(values.astype(np.float32).reshape(-1, *values.shape[-2:]))
    low, high = float(volume.min()), float(volume.max())
    fractions = high <= 1 and not np.array_equal(volume, np.trunc(volume))
    if features.compat == "weka" and (low < 0 or high > 255 or fractions):
        raise LowdoseError(
            "image",
            found=f"values from {low:g} to {high:g}",
            expected="grey values from 0 to 255, as the plugin does",
            way_out="Rescale the image to 0..255, or use compat=None, which takes any scale.",
        )
    return volume
