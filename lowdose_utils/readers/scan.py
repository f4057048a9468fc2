"""A tomographic scan: projections and what is needed to reconstruct them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from lowdose_utils.errors import LowdoseError
from lowdose_utils.readers.stack import Source, Stack

VALUES = ("counts", "transmission", "line_integral", "intensity")


@dataclass(frozen=True, eq=False)
class Scan:
    """Projections with their angles and fields; large arrays may still lie in the file.

    Parameters
    ----------
    projections : array-like (angle, row, column)
        Anything with shape, dtype and indexing: an array, an HDF5 dataset, a memory map.
    angles : array (angle,)
        Radians.
    flats, darks : array-like (n, row, column), optional
        Fields without sample, and without beam.
    axis : float, optional
        Detector column of the rotation axis, in pixels; pixel centres are whole numbers.
    pixel_size : float, optional
        Metres, at the sample.
    energy : float, optional
        keV.
    provenance : dict
        Where the scan comes from: ``file``, ``format``, ``notes``, and ``values``: what the numbers are,
        one of counts, transmission, line_integral, intensity.

    Raises
    ------
    LowdoseError
        If the parts do not fit together.
    """

    projections: Source
    angles: npt.NDArray[np.float64]
    flats: Source | None = None
    darks: Source | None = None
    axis: float | None = None
    pixel_size: float | None = None
    energy: float | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    closers: tuple[Callable[[], None], ...] = ()

    def __post_init__(self) -> None:
        shape = tuple(self.projections.shape)
        if len(shape) != 3 or 0 in shape:
            _refuse("projections", f"shape {shape}", "(angle, row, column), none empty", "Check the file.")
        if self.projections.dtype.kind not in "uif":
            _refuse("projections", self.projections.dtype, "real numbers", "Take a part of the complex data.")
        angles = np.asarray(self.angles, dtype=np.float64)
        if angles.shape != shape[:1]:
            _refuse(
                "angles",
                f"shape {angles.shape}",
                f"({shape[0]},), one for each projection",
                f"Give angles= in radians; if the {shape[0]} frames are not the angles, give order=.",
            )
        if not np.isfinite(angles).all():
            bad = int((~np.isfinite(angles)).sum())
            _refuse("angles", f"{bad} of {len(angles)} not finite", "numbers", "Give angles= in radians.")
        object.__setattr__(self, "angles", angles)
        for name, frames in (("flats", self.flats), ("darks", self.darks)):
            if frames is not None and (frames.shape[1:] != shape[1:] or 0 in frames.shape):
                expected = f"(n, {shape[1]}, {shape[2]}), as the projections"
                _refuse(name, f"shape {tuple(frames.shape)}", expected, f"Give {name}= that fit, or None.")
        if self.axis is not None and not -0.5 <= self.axis <= shape[2] - 0.5:
            _refuse("axis", self.axis, f"a column of 0 to {shape[2] - 1}", "Give axis= in pixels, or None.")
        for name, number, unit in (("pixel_size", self.pixel_size, "m"), ("energy", self.energy, "keV")):
            if number is not None and not 0 < number < np.inf:
                _refuse(name, number, f"a positive number of {unit}", f"Give {name}= in {unit}, or None.")
        object.__setattr__(self, "provenance", {"values": "intensity", **self.provenance})
        if self.provenance["values"] not in VALUES:
            _refuse("values", repr(self.provenance["values"]), "one of " + ", ".join(VALUES), "Give values=.")

    def __repr__(self) -> str:
        angles, rows, columns = self.projections.shape
        span = f"{np.rad2deg(self.angles.min()):.1f} to {np.rad2deg(self.angles.max()):.1f} deg"
        name = self.provenance.get("file", "scan")
        return f"Scan({name}: {angles} angles {span}, {rows} rows, {columns} columns, axis {self.axis})"

    def __enter__(self) -> Scan:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; what was read stays, what was not can no longer be."""
        for close in self.closers:
            close()

    def rows(self, start: int, stop: int) -> Scan:
        """Read detector rows `start` up to, not including, `stop` into memory as float32, fields too.

        Raises
        ------
        LowdoseError
            If the scan has no such rows.
        """
        count = self.projections.shape[1]
        if not 0 <= start < stop <= count:
            way_out = f"The scan has {count} rows, counted from 0."
            _refuse("rows", f"{start} to {stop}", f"0 <= start < stop <= {count}", way_out)

        def read(frames: Source | None) -> npt.NDArray[np.float32] | None:
            return None if frames is None else np.asarray(frames[:, start:stop], dtype=np.float32)

        projections = read(self.projections)
        assert projections is not None
        return replace(
            self,
            projections=projections,
            flats=read(self.flats),
            darks=read(self.darks),
            provenance=self._noted(f"rows {start} to {stop - 1} of {count}"),
            closers=(),
        )

    def select(self, angles: slice | npt.ArrayLike) -> Scan:
        """Keep some of the projections (slice, indices or boolean mask over angles); nothing is read.

        Closing the file stays with this scan.
        """
        try:
            kept = np.atleast_1d(
                np.arange(len(self.angles))[angles if isinstance(angles, slice) else np.asarray(angles)]
            )
        except IndexError as error:
            way_out = "Give a slice, whole numbers or a boolean for each projection."
            raise LowdoseError(
                "selected angles",
                found=error,
                expected=f"indices into {len(self.angles)} projections",
                way_out=way_out,
            ) from error
        projections = self.projections
        if not isinstance(projections, np.ndarray):
            projections = (projections if isinstance(projections, Stack) else Stack(projections)).select(kept)
        else:
            projections = projections[kept]
        note = f"{len(kept)} of {len(self.angles)} projections"
        return replace(
            self,
            projections=projections,
            angles=self.angles[kept],
            provenance=self._noted(note),
            closers=(),
        )

    def sinograms(self, rows: int | slice = slice(None)) -> npt.NDArray[np.float32]:
        """Read sinograms ``(slice, angle, column)``, float32, of one detector row or a slice of them."""
        wanted = rows if isinstance(rows, slice) else slice(rows, rows + 1 or None)
        block = np.asarray(self.projections[:, wanted], dtype=np.float32)
        if block.shape[1] == 0:
            way_out = f"The scan has {self.projections.shape[1]} rows, counted from 0."
            _refuse("rows", rows, "at least one row of the detector", way_out)
        return np.ascontiguousarray(block.transpose(1, 0, 2))

    def _noted(self, note: str) -> dict[str, Any]:
        return {**self.provenance, "notes": [*self.provenance.get("notes", []), note]}


def _refuse(thing: str, found: object, expected: object, way_out: str) -> None:
    raise LowdoseError(thing, found=found, expected=expected, way_out=way_out)
