"""Joining supervoxels to cells, the surest pairs first."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import waterz

from lowdose_utils.errors import LowdoseError
from lowdose_utils.neurons.supervoxels import check_affinities

#: Only what waterz brings ready made: another form would be compiled, which needs C++ and boost.
SCORINGS = {"mean": "OneMinus<MeanAffinity<RegionGraphType, ScoreValue>>"} | {
    f"quantile {q}": f"OneMinus<HistogramQuantileAffinity<RegionGraphType, {q}, ScoreValue, 256, false>>"
    for q in range(10, 100, 5)
}


class Agglomeration(NamedTuple):
    """Segmentations at several thresholds, as what becomes of each supervoxel.

    Attributes
    ----------
    fragments : array of uint64, shape (z, y, x)
        Supervoxels, numbered from 1.
    thresholds : tuple of float
        Rising. Supervoxels are joined whose score, 1 less their boundary's affinity, is below.
    lookups : tuple of arrays of uint64
        For each threshold the segment of each supervoxel; that of number 0 is 0.
    """

    fragments: npt.NDArray[np.uint64]
    thresholds: tuple[float, ...]
    lookups: tuple[npt.NDArray[np.uint64], ...]

    def segments(self, threshold: float) -> npt.NDArray[np.uint64]:
        """The volume at one of the thresholds.

        Raises
        ------
        LowdoseError
            If it is none of them.
        """
        if threshold not in self.thresholds:
            raise LowdoseError(
                "threshold",
                found=threshold,
                expected="one of " + ", ".join(map(str, self.thresholds)),
                way_out="Agglomerate to it.",
            )
        found: npt.NDArray[np.uint64] = self.lookups[self.thresholds.index(threshold)][self.fragments]
        return found


def agglomerate(
    affinities: npt.ArrayLike,
    fragments: npt.NDArray[np.integer],
    thresholds: Sequence[float],
    *,
    scoring: str = "quantile 50",
) -> Agglomeration:
    """Join supervoxels in the order of their boundaries' scores (Funke et al., IEEE TPAMI 41, 1669, 2019).

    Parameters
    ----------
    affinities : array, shape (3 or more, z, y, x)
        To the next voxels along z, y and x first, 0 to 1.
    fragments : integer array, shape (z, y, x)
        0 is outside.
    thresholds : sequence of float
        0 to 1.
    scoring : str
        How a boundary's affinities become its score: "mean", or "quantile 50" (or 10 to 95 in steps of 5).

    Raises
    ------
    LowdoseError
        If shapes or numbers do not fit, or the scoring is another.
    """
    given = check_affinities(affinities)
    wanted = tuple(sorted({float(value) for value in thresholds}))
    pieces = np.asarray(fragments)
    if pieces.shape != given.shape[1:] or not wanted or wanted[0] < 0 or wanted[-1] > 1:
        raise LowdoseError(
            "fragments, thresholds",
            found=(pieces.shape, wanted),
            expected=f"shape {given.shape[1:]}, and thresholds from 0 to 1",
            way_out="Make the fragments from the same affinities with neurons.supervoxels.",
        )
    if scoring not in SCORINGS:
        raise LowdoseError(
            "scoring",
            found=repr(scoring),
            expected="mean, or quantile 10, 15 to 95",
            way_out="quantile 50 is that of the published segmentation.",
        )
    pieces = pieces.astype(np.uint64)
    if not pieces.any():  # nothing to join
        return Agglomeration(pieces, wanted, (np.zeros(1, np.uint64),) * len(wanted))
    numbers, first = np.unique(pieces, return_index=True)
    lookups = []
    with _quiet():
        states = waterz.agglomerate(
            np.ascontiguousarray(given),
            list(wanted),
            fragments=pieces.copy(),  # waterz joins in place, also in what it has yielded
            scoring_function=SCORINGS[scoring],
        )
        for segments in states:
            lookup = np.zeros(int(numbers[-1]) + 1, np.uint64)
            lookup[numbers] = segments.ravel()[first]
            lookups.append(lookup)
    return Agglomeration(pieces, wanted, tuple(lookups))


@contextmanager
def _quiet() -> Iterator[None]:
    """Send away what waterz prints, from Python and from C++."""
    sys.stdout.flush()
    kept = os.dup(1)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        shown, sys.stdout = sys.stdout, nowhere
        try:
            yield
        finally:
            sys.stdout = shown
            os.dup2(kept, 1)
            os.close(kept)
