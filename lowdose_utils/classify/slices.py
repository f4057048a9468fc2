"""Slices and their feature stacks, one by one, as a classifier learns from them and is applied to them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lowdose_utils.classify.features import compute, names
from lowdose_utils.classify.smooth import Image
from lowdose_utils.classify.solid import Selection
from lowdose_utils.errors import LowdoseError


def check_channels(shape: tuple[int, ...], features: Selection) -> None:
    """Refuse a feature stack that has not as many channels as the selection.

    Raises
    ------
    LowdoseError
        If so.
    """
    wanted = names(features)
    if not shape or shape[0] != len(wanted):
        raise LowdoseError(
            "feature stack",
            found=f"shape {shape}",
            expected=f"{len(wanted)} channels in front, {wanted[0]} to {wanted[-1]}",
            way_out="Compute it with the selection that the classifier uses: compute(image, features).",
        )


def slices_of(given: Any, computed: bool, kept: range | None = None) -> Iterator[Any]:
    """Images (row, column), or feature stacks (channel, row, column), one by one; files are read so."""
    given = given if hasattr(given, "shape") else np.asarray(given)
    if len(np.shape(given)) == (3 if computed else 2):
        yield given
    else:
        for z in range(np.shape(given)[1 if computed else 0]) if kept is None else kept:
            yield given[:, z] if computed else given[z]


@contextmanager
def feature_stack(
    image: Any,
    features: Selection,
    computed: bool,
    device: str | torch.device,
    tile: int | None,
    workers: int | None,
) -> Iterator[Image]:
    """The feature stack (channel, row, column), in memory or, with tiles, in a temporary file."""
    if computed:
        yield np.asarray(image)
    elif tile is None:
        yield compute(image, features, device=device, workers=workers)
    else:
        shape = (len(names(features)), *np.shape(image))
        free, size = shutil.disk_usage(tempfile.gettempdir()).free, 4 * int(np.prod(shape))
        if size > free:  # a memory map on a full disk would end the process
            raise LowdoseError(
                f"room on disk in {tempfile.gettempdir()}",
                found=f"{free / 1e9:.1f} GB",
                expected=f"{size / 1e9:.1f} GB for the feature stack",
                way_out="Set the environment variable TMPDIR to a folder with room.",
            )
        with tempfile.TemporaryFile() as file:
            out: Image = np.memmap(file, np.float32, "w+", shape=shape)
            yield compute(image, features, device=device, tile=tile, workers=workers, out=out)


def finite(pixels: npt.NDArray[Any]) -> Image:
    """Pixels (pixel, channel) as contiguous float32; trees would take NaN for a missing value."""
    block = np.ascontiguousarray(pixels, np.float32)
    if not np.isfinite(block).all():
        raise LowdoseError(
            "feature stack",
            found=f"{np.count_nonzero(~np.isfinite(block))} values that are NaN or infinite",
            expected="finite values",
            way_out="Compute it anew from a finite image.",
        )
    return block
