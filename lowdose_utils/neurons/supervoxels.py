"""Supervoxels: many small pieces, none of which should reach into two cells."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.segmentation import expand_labels, watershed

from lowdose_utils.errors import LowdoseError

Floats = npt.NDArray[np.floating]


def check_affinities(affinities: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Affinities to the three next voxels, as float32.

    Raises
    ------
    LowdoseError
        If they have another shape, or values outside 0 to 1.
    """
    found = np.asarray(affinities, np.float32)
    proper = found.ndim == 4 and len(found) >= 3 and found.size > 0
    if not proper or not (found.min() >= 0 and found.max() <= 1):
        raise LowdoseError(
            "affinities",
            found=f"shape {found.shape}" + (f", {found.min():g} to {found.max():g}" if found.size else ""),
            expected="(3, z, y, x) or more channels, 0 to 1",
            way_out="Take them from neurons.predict.",
        )
    return found[:3]


def supervoxels(
    affinities: npt.ArrayLike, *, threshold: float = 0.5, distance: int = 5, smooth: float = 0.0
) -> npt.NDArray[np.uint64]:
    """Watershed of the distance from the membranes, seeded where it is greatest.

    As the laboratory of Kuan et al. did it (funlib, after Funke et al., IEEE TPAMI 41, 1669, 2019): the mean
    of the three affinities above a threshold is inside; seeds are the places that are furthest from the
    outside within so many voxels.

    Parameters
    ----------
    affinities : array, shape (3 or more, z, y, x)
        To the next voxels along z, y and x first.
    threshold : float
        Of the mean affinity.
    distance : int
        Edge in voxels of the cube within which a seed is the furthest.
    smooth : float
        Standard deviation in voxels of a Gaussian over the distance, against seeds that a rough membrane
        makes.

    Returns
    -------
    array of uint64, shape (z, y, x)
        Numbered from 1; 0 is outside.

    Raises
    ------
    LowdoseError
        If `affinities` are none, the threshold is not between 0 and 1, or `distance` is below 1.
    """
    found = check_affinities(affinities)
    if not 0 < threshold < 1 or distance < 1 or smooth < 0:
        raise LowdoseError(
            "threshold, distance, smooth",
            found=(threshold, distance, smooth),
            expected="between 0 and 1, at least 1, at least 0",
            way_out="Leave them at their defaults.",
        )
    mean = found.mean(0)
    inside = mean > threshold
    if inside.all():  # no membrane anywhere: one piece, and no distance from it
        return np.ones(inside.shape, np.uint64)
    away = ndimage.distance_transform_edt(inside).astype(np.float32)
    if smooth:
        away = ndimage.gaussian_filter(away, smooth) * inside
    seeds, _ = ndimage.label((ndimage.maximum_filter(away, distance) == away) & inside, np.ones((3, 3, 3)))
    found_pieces: npt.NDArray[np.uint64] = watershed(-away, seeds, mask=inside).astype(np.uint64)
    return found_pieces


def filled(fragments: npt.NDArray[np.integer], reach: float = 4.0) -> npt.NDArray[np.uint64]:
    """Give membranes, and cells too thin to be inside, to the nearest supervoxel.

    For after agglomeration: pieces that a membrane parts must not touch before.

    Parameters
    ----------
    fragments : integer array, shape (z, y, x)
        0 is what is given away.
    reach : float
        Voxels further than this from all supervoxels stay 0.
    """
    grown: npt.NDArray[np.uint64] = expand_labels(fragments.astype(np.int64), reach).astype(np.uint64)
    return grown
