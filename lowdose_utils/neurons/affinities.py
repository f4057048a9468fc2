"""Affinities: do a voxel and its neighbour so many voxels away belong to the same cell?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lowdose_utils.errors import LowdoseError

Labels = npt.NDArray[np.integer]
Mask = npt.NDArray[np.bool_]
LEAST_SHARE = 0.05  # a rarer kind of affinity is weighted as if it made up so much


def neighbours(*reaches: int) -> npt.NDArray[np.int64]:
    """Offsets along z, y and x for each reach in turn, backwards.

    Parameters
    ----------
    *reaches : int
        In voxels. The published network answers for 1, 3, 9 and 27; agglomeration uses the first three
        offsets, those to the next voxels, and the others only help training.

    Returns
    -------
    array, shape (3 x reaches, 3)

    Raises
    ------
    LowdoseError
        If the first reach is not 1, or one is no whole number from 1.
    """
    whole = all(isinstance(reach, int | np.integer) and reach >= 1 for reach in reaches)
    if not reaches or not whole or reaches[0] != 1:
        raise LowdoseError(
            "reaches",
            found=reaches,
            expected="1, and then other whole numbers of voxels",
            way_out="Take neighbours(1, 3, 9).",
        )
    return np.concatenate([-reach * np.eye(3, dtype=np.int64) for reach in reaches])


def check_labels(labels: npt.ArrayLike) -> Labels:
    """A volume of whole numbers from 0.

    Raises
    ------
    LowdoseError
        If it is anything else.
    """
    volume = np.asarray(labels)
    whole = volume.dtype.kind in "iu"
    if volume.ndim != 3 or not volume.size or not whole or volume.min() < 0:
        raise LowdoseError(
            "labels",
            found=f"shape {volume.shape} of {volume.dtype}"
            + (f", least {volume.min()}" if whole and volume.size else ""),
            expected="a volume (z, y, x) of whole numbers from 0, which is membrane and outside",
            way_out="Number the cells from 1.",
        )
    return volume


def grow_boundary(labels: npt.ArrayLike, steps: int = 1) -> Labels:
    """Take a layer of voxels off every cell, as many times as `steps` says.

    Where labelled cells touch, the affinity between them would be 0 on one layer of edges only, which a
    network blurs and watershed then overlooks. Voxels with another label among their six neighbours become 0;
    what the volume's faces cut is no boundary.

    Parameters
    ----------
    labels : integer array, shape (z, y, x)
        0 is membrane or outside.

    Raises
    ------
    LowdoseError
        If `labels` is no such volume.
    """
    grown = check_labels(labels).copy()
    for _ in range(steps):
        edge = np.zeros(grown.shape, bool)
        for axis in range(3):
            first, second = _shifted(grown.shape, np.eye(3, dtype=np.int64)[axis])
            differ = grown[first] != grown[second]
            edge[first] |= differ
            edge[second] |= differ
        grown[edge] = 0
    return grown


def affinities(labels: npt.ArrayLike, offsets: npt.ArrayLike) -> tuple[Mask, Mask]:
    """Affinities of labels (Turaga et al., Neural Comput. 22, 511, 2010), and where they are known.

    Parameters
    ----------
    labels : integer array, shape (z, y, x)
        0 has affinity to nothing, not even to itself.
    offsets : integer array, shape (offset, 3)
        The affinity of offset o at voxel v is that of v and v + o.

    Returns
    -------
    affinity, known : arrays of bool, shape (offset, z, y, x)
        `known` is False where v + o is outside the volume.

    Raises
    ------
    LowdoseError
        If `labels` is no such volume.
    """
    volume = check_labels(labels)
    wanted = np.atleast_2d(np.asarray(offsets, np.int64))
    found = np.zeros((len(wanted), *volume.shape), bool)
    known = np.zeros_like(found)
    for channel, offset in enumerate(wanted):
        here, there = _shifted(volume.shape, offset)
        found[channel][here] = (volume[here] == volume[there]) & (volume[here] > 0)
        known[channel][here] = True
    return found, known


def balance_weights(affinity: Mask, known: Mask) -> npt.NDArray[np.float32]:
    """Weights that make zeros and ones of each offset count alike, 0 where nothing is known.

    Parameters
    ----------
    affinity, known : arrays of bool, shape (offset, z, y, x)
        As `affinities` gives them.

    Returns
    -------
    array of float32, shape (offset, z, y, x)
        Half the reciprocal of the share of the voxel's kind, that share being at least 5 %: 1 in the mean
        unless one kind is rarer.
    """
    weights = np.zeros(affinity.shape, np.float32)
    for channel, (ones, there) in enumerate(zip(affinity, known, strict=True)):
        number = np.count_nonzero(there)
        if number:
            share = min(max(np.count_nonzero(ones & there) / number, LEAST_SHARE), 1 - LEAST_SHARE)
            weights[channel] = np.where(ones, 0.5 / share, 0.5 / (1 - share)) * there
    return weights


def _shifted(shape: Sequence[int], offset: npt.NDArray[np.int64]) -> tuple[tuple[slice, ...], ...]:
    """Voxels whose neighbour at `offset` is inside, and these neighbours."""
    here = tuple(
        slice(min(max(-step, 0), n), max(n - max(step, 0), 0))
        for n, step in zip(shape, offset.tolist(), strict=True)
    )
    there = tuple(
        slice(min(max(step, 0), n), max(n - max(-step, 0), 0))
        for n, step in zip(shape, offset.tolist(), strict=True)
    )
    return here, there
