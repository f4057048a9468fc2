"""The sections' reconstructions, wherever they lie, read a block at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from lowdose_utils.errors import LowdoseError
from lowdose_utils.readers.stack import Source

Floats: TypeAlias = npt.NDArray[np.float32]
Window: TypeAlias = tuple[slice, slice]
Sections: TypeAlias = Source | Sequence[Source]
WHOLE: Window = (slice(None), slice(None))


class Volumes:
    """Volumes of one shape; arrays, memory maps, HDF5 or Zarr datasets, of which only blocks are read.

    Parameters
    ----------
    sections : sequence of arrays, or one array
        Volumes (z, y, x), or (channel, z, y, x) for spectral data, one for each section or time step; or one
        array of all, with the section as first axis.
    least : int
        How many there must be.

    Attributes
    ----------
    number, channels, slices : int
    shape : tuple of int
        (y, x).

    Raises
    ------
    LowdoseError
        If there are too few, their shapes differ, or an axis is missing or empty.
    """

    def __init__(self, sections: Sections, least: int = 2) -> None:
        self._given: Source | list[Source] = list(sections) if isinstance(sections, Sequence) else sections
        if isinstance(self._given, list):
            shapes = {tuple(getattr(one, "shape", ())) for one in self._given}
            self.number = len(self._given)
        else:
            shapes, self.number = {tuple(self._given.shape[1:])}, self._given.shape[0]
        shape = min(shapes, default=())
        if self.number < least or len(shapes) != 1 or len(shape) not in (3, 4) or 0 in shape:
            raise LowdoseError(
                "sections",
                found=f"{self.number} volumes of shape {', '.join(map(str, sorted(shapes)))}",
                expected=f"{least} at least, of one shape (z, y, x) or (channel, z, y, x)",
                way_out="Reconstruct each section of the scan by itself: reconstruct_sections.",
            )
        self.spectral = len(shape) == 4
        self.channels = shape[0] if self.spectral else 1
        self.slices, self.shape = shape[-3], (shape[-2], shape[-1])

    def block(self, section: int, z: int, context: int = 0, window: Window = WHOLE) -> Floats:
        """Slice `z` with `context` slices on either side, as (slice x channel, y, x).

        Beyond the first and last slice these are repeated.

        Raises
        ------
        LowdoseError
            If values are NaN, infinite or complex.
        """
        first, last = max(z - context, 0), min(z + context, self.slices - 1)
        lead = (slice(None),) if self.spectral else ()
        key = (*lead, slice(first, last + 1), *window)
        given = self._given
        read = given[section][key] if isinstance(given, list) else given[(section, *key)]
        thing = f"slices {first} to {last} of section {section}"
        found = single(thing, read)
        if bad := found.size - int(np.isfinite(found).sum()):
            raise LowdoseError(
                thing,
                found=f"{bad} values that are NaN or infinite",
                expected="finite values",
                way_out="Repair the projections first (correct.repair_bad_pixels) and reconstruct again.",
            )
        by_slice = found.swapaxes(0, 1) if self.spectral else found[:, None]
        places = np.clip(np.arange(z - context, z + context + 1), 0, self.slices - 1) - first
        chosen: Floats = by_slice[places].reshape(-1, *found.shape[-2:])
        return chosen

    def blocks(self, z: int, context: int = 0) -> Floats:
        """Slice `z` of all sections, (section, slice x channel, y, x)."""
        return np.stack([self.block(section, z, context) for section in range(self.number)])

    def mean(self, sections: Sequence[int], z: int, context: int = 0, window: Window = WHOLE) -> Floats:
        """Mean of the blocks of some sections."""
        total = self.block(sections[0], z, context, window)
        for section in sections[1:]:
            total = total + self.block(section, z, context, window)
        return total / np.float32(len(sections))

    def check_context(self, context: int) -> None:
        """Refuse a context that is larger than the volume.

        Raises
        ------
        LowdoseError
            If it is, or negative.
        """
        if context < 0 or 2 * context + 1 > self.slices:
            raise LowdoseError(
                "context",
                found=f"{context} slices on either side of one",
                expected=f"0 to {(self.slices - 1) // 2} in a volume of {self.slices} slices",
                way_out="Take fewer; 0 is a 2-D network.",
            )


def single(thing: str, read: Any) -> Floats:
    """What was read, in single precision and native byte order.

    Raises
    ------
    LowdoseError
        If it is complex: only the real parts would be left.
    """
    if np.iscomplexobj(read):
        raise LowdoseError(
            thing, found="complex numbers", expected="real ones", way_out="Take real part or modulus."
        )
    return np.asarray(read, dtype=np.float32)


def room(shape: tuple[int, ...], out: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float32]:
    """`out`, or an array of this shape for a result.

    Raises
    ------
    LowdoseError
        If `out` has another shape, or holds whole numbers: values would be cut off without a word.
    """
    if out is None:
        return np.empty(shape, np.float32)
    if tuple(out.shape) != shape or np.dtype(out.dtype).kind != "f":
        raise LowdoseError(
            "out",
            found=f"shape {tuple(out.shape)} of {out.dtype}",
            expected=f"{shape} of float32",
            way_out="Or leave it out.",
        )
    return out


def result_for(volumes: Volumes, out: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float32]:
    """`out`, or an array for a result of the shape of one volume: see `room`."""
    lead = (volumes.channels,) if volumes.spectral else ()
    return room((*lead, volumes.slices, *volumes.shape), out)


def fill(result: npt.NDArray[np.float32], images: Iterable[Floats], context: int) -> None:
    """Set the slices of a volume to (channel, y, x) each, `context` slices after they came.

    Thus `result` may be the volume that is being read: what is overwritten is no longer needed.
    """
    waiting: deque[Floats] = deque()
    done = 0
    for image in images:
        waiting.append(image)
        if len(waiting) > context:
            _put(result, done, waiting.popleft())
            done += 1
    for z, image in enumerate(waiting, start=done):
        _put(result, z, image)


def _put(result: npt.NDArray[np.float32], z: int, images: Floats) -> None:
    if len(result.shape) == 4:
        result[:, z] = images
    else:
        result[z] = images[0]
