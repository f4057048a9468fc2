"""Frames that stay in their file until they are indexed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lowdose_utils.errors import LowdoseError

AXES = ("angle", "row", "column")


class Source(Protocol):
    """What a format offers: an HDF5 dataset, a memory map, an array or the pages of a TIFF."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __getitem__(self, key: Any, /) -> Any: ...


@contextmanager
def reading(path: str | Path, expected: str) -> Iterator[None]:
    """Turn whatever a library raises on a damaged file into one error that names the file.

    The block should hold the library's call alone: damaged bytes make libraries raise almost anything.
    """
    try:
        yield
    except LowdoseError:
        raise
    except Exception as error:
        raise LowdoseError(
            str(path),
            found=f"{type(error).__name__}: {error}",
            expected=expected,
            way_out="Ask for fewer rows at a time."
            if isinstance(error, MemoryError)
            else "If the file is damaged, cut short or already closed, copy, fetch or open it again.",
        ) from error


class Stack:
    """Frames ``(angle, row, column)`` of a source, read, ordered and scaled when they are indexed.

    Indexing takes for each axis an integer, slice, index array or boolean mask, each axis on its own as in
    h5py, and reads only the frames and rows that are needed.

    Parameters
    ----------
    source : Source
        The array in the file.
    order : sequence of str
        Names of the source's axes: angle, row, column in some order; row may be absent (one detector row).
    lead : tuple of int
        Index into axes before those (the time step of a series of scans).
    frames : integer array, optional
        The frames that belong to the stack, in order; default all.
    offset, scale : float
        A value becomes ``(value + offset) / scale``, in float32, unless they are 0 and 1.
    background : array (row,), optional
        Then subtracted from each row.
    name : str
        The file, for messages.
    """

    ndim = 3

    def __init__(
        self,
        source: Source,
        *,
        order: Sequence[str] = AXES,
        lead: tuple[int, ...] = (),
        frames: npt.NDArray[np.intp] | None = None,
        offset: float = 0.0,
        scale: float = 1.0,
        background: npt.NDArray[np.float32] | None = None,
        name: str = "array",
    ) -> None:
        size = dict(zip(order, source.shape[len(lead) :], strict=True))
        self._source, self._order, self._lead, self._name = source, tuple(order), lead, name
        self._offset, self._scale, self._background = offset, scale, background
        self.frames = np.arange(size["angle"]) if frames is None else frames
        self.shape = (len(self.frames), size.get("row", 1), size["column"])
        plain = offset == 0 and scale == 1 and background is None
        self.dtype = source.dtype if plain else np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        keys = list(key) if isinstance(key, tuple) else [key]
        if dots := [at for at, part in enumerate(keys) if part is Ellipsis]:
            keys[dots[0] : dots[0] + 1] = [slice(None)] * (4 - len(keys))
        keys += [slice(None)] * (3 - len(keys))
        if len(keys) > 3:
            raise IndexError(f"{len(keys)} indices for the 3 axes of {self._name}")
        frames, rows = self.frames[keys[0]], np.arange(self.shape[1])[keys[1]]
        first, last = (rows.min(), rows.max() + 1) if rows.size else (0, 0)
        block = self._read(np.atleast_1d(frames), int(first), int(last))[:, rows - first]
        return (block if np.ndim(frames) else block[0])[..., keys[2]]

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return self[:].astype(dtype or self.dtype, copy=False)

    def select(self, frames: slice | npt.ArrayLike) -> Stack:
        """The stack of some of the frames only; nothing is read."""
        index = frames if isinstance(frames, slice) else np.asarray(frames)
        return self._changed(frames=self.frames[index])

    def without_background(self, columns: int) -> Stack:
        """Subtract from each row the median, over all frames, of its outer `columns` columns on both sides.

        One number for each row: one for each frame would bring its own noise into that projection's sum. The
        outer columns of all frames are read here.
        """
        edges = np.concatenate([self[:, :, :columns], self[:, :, -columns:]], axis=2)
        return self._changed(background=np.median(edges, axis=(0, 2)).astype(np.float32))

    def _changed(self, **changes: Any) -> Stack:
        same = {
            "order": self._order,
            "lead": self._lead,
            "frames": self.frames,
            "offset": self._offset,
            "scale": self._scale,
            "background": self._background,
            "name": self._name,
        }
        return Stack(self._source, **{**same, **changes})

    def _read(self, frames: npt.NDArray[np.intp], start: int, stop: int) -> npt.NDArray[Any]:
        out = np.empty((len(frames), stop - start, self.shape[2]), self.dtype)
        if out.size:
            for at, run in _runs(frames):
                with reading(self._name, f"frames {run.start} to {run.stop - 1}, rows {start} to {stop - 1}"):
                    out[at] = self._part(run, slice(start, stop))
        return out

    def _part(self, frames: slice, rows: slice) -> npt.NDArray[Any]:
        wanted = {"angle": frames, "row": rows, "column": slice(None)}
        block = np.asarray(self._source[self._lead + tuple(wanted[axis] for axis in self._order)])
        block = block.transpose([self._order.index(axis) for axis in AXES if axis in self._order])
        block = block if block.ndim == 3 else block[:, np.newaxis]
        if self._offset != 0 or self._scale != 1:
            block = (block.astype(np.float32) + np.float32(self._offset)) / np.float32(self._scale)
        return block if self._background is None else block - self._background[rows, np.newaxis]


def _runs(frames: npt.NDArray[np.intp]) -> Iterator[tuple[slice, slice]]:
    """Cut frame numbers into as few slices as can be: (where they go, which they are)."""
    steps = np.diff(frames)
    if len(steps) and (steps > 0).all() and (steps == steps[0]).all():
        yield slice(0, len(frames)), slice(int(frames[0]), int(frames[-1]) + 1, int(steps[0]))
        return
    cuts = [0, *(np.flatnonzero(steps != 1) + 1).tolist(), len(frames)]
    for start, stop in itertools.pairwise(cuts):
        yield slice(start, stop), slice(int(frames[start]), int(frames[stop - 1]) + 1)


@dataclass(frozen=True)
class Options:
    """How to read a file, as `read` was told."""

    key: str | None = None
    angles_key: str | None = None
    order: tuple[str, ...] | None = None
    step: int | None = None
    offset: float = 0.0
    scale: float = 1.0

    def stack(
        self,
        source: Source,
        path: Path,
        *,
        lead: tuple[int, ...] = (),
        frames: npt.NDArray[np.intp] | None = None,
    ) -> Stack:
        """Check shape and type of a source and make it a stack."""
        shape = source.shape[len(lead) :]
        order = self.order or (AXES if len(shape) == 3 else ("angle", "column"))
        if len(shape) not in (2, 3) or 0 in shape:
            raise LowdoseError(
                f"projections in {path}",
                found=f"an array of shape {tuple(source.shape)}",
                expected="(angle, row, column) or (angle, column), none empty",
                way_out="Name the right array with key=, or the time step with step=.",
            )
        if source.dtype.kind not in "uif":
            raise LowdoseError(
                f"projections in {path}",
                found=f"values of type {source.dtype}",
                expected="integers or real floating-point numbers",
                way_out="Name the right array with key=.",
            )
        if len(order) != len(shape) or set(order) != set(AXES if len(shape) == 3 else ("angle", "column")):
            raise LowdoseError(
                f"order of the axes in {path}",
                found=order,
                expected=", ".join(AXES if len(shape) == 3 else ("angle", "column")) + ", each once",
                way_out='Give order=, such as order=("angle", "row", "column").',
            )
        return Stack(
            source,
            order=order,
            lead=lead,
            frames=frames,
            offset=self.offset,
            scale=self.scale,
            name=str(path),
        )

    def plain(self) -> Options:
        """The same, for flat and dark fields: no key, and frames first."""
        return replace(self, key=None, angles_key=None)


@dataclass
class Content:
    """What a format found in a file; None where the file does not say. Radians, metres, keV."""

    projections: Stack
    format: str
    angles: npt.NDArray[np.float64] | None = None
    flats: Stack | None = None
    darks: Stack | None = None
    pixel_size: float | None = None
    energy: float | None = None
    values: str = "intensity"
    notes: list[str] = field(default_factory=list)
    close: Callable[[], None] | None = None
