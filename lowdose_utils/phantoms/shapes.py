"""Shapes on a grid of voxels: where these are, how far from a surface, and which share of each is inside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.interpolate import BSpline

from lowdose_utils.errors import LowdoseError

Floats = npt.NDArray[np.floating]
Box = tuple[slice, slice, slice]

SPLINE_STD = np.sqrt(151 / 315)  # of a cubic spline with independent unit coefficients, in one dimension


def voxel_centres(
    part: slice, finer: int, *, slices: int, columns: int, voxel: float
) -> tuple[Floats, Floats, Floats]:
    """Coordinates z, y, x from the volume's middle, of consecutive slices on voxels smaller by `finer`.

    Parameters
    ----------
    part : slice
        Of the whole volume's slices.
    finer : int
        Into how many a voxel is divided along each axis.
    slices, columns : int
        Height, and width in both directions, of the whole volume in voxels.
    voxel : float
        Edge of a voxel before it is divided; the coordinates are in its unit.

    Raises
    ------
    LowdoseError
        If `part` picks no slices or leaves some out, or `finer` is less than 1.
    """
    chosen = range(slices)[part]
    if not chosen or chosen.step != 1 or finer < 1 or int(finer) != finer:
        raise LowdoseError(
            "part, finer",
            found=(part, finer),
            expected=f"consecutive slices out of 0 to {slices - 1}, and a whole number from 1",
            way_out="Count from 0.",
        )

    def along(first: int, last: int, whole: int) -> Floats:
        centres: Floats = ((np.arange(first * finer, last * finer) + 0.5) / finer - whole / 2) * voxel
        return centres

    across = along(0, columns, columns)
    return along(chosen.start, chosen.stop, slices), across, across


def share(distance: Floats, voxel: float) -> Floats:
    """Share of a voxel inside a surface at a signed distance, negative inside."""
    found: Floats = np.clip(0.5 - distance / voxel, 0, 1)
    return found


def slab(distance: Floats, half: float, voxel: float) -> Floats:
    """Share of a voxel nearer than `half` to a surface at a distance."""
    found: Floats = share(distance - half, voxel) - share(distance + half, voxel)
    return found


def texture(
    grids: Sequence[Floats], extent: Sequence[float], grain: float, seed: Sequence[int]
) -> Iterator[Floats]:
    """Blobs of mean 0 and standard deviation 1, a plane after the other: a spline of random values.

    Parameters
    ----------
    grids : three arrays
        Coordinates z, y, x in um from the volume's middle.
    extent : three floats
        Edges of the whole volume in um; a place has the same value whatever part is asked for.
    grain : float
        Distance of the random values in um.
    seed : sequence of int
    """
    weights, counts = [], []
    for grid, whole in zip(grids, extent, strict=True):
        knots = np.arange(-3, int(np.ceil(whole / grain)) + 4)
        weights.append(BSpline.design_matrix((grid + whole / 2) / grain, knots, 3).toarray())
        counts.append(len(knots) - 4)
    values = np.random.default_rng(seed).standard_normal(counts, np.float32)
    along, down, across = (w.astype(np.float32) for w in weights)
    for row in along:
        yield down @ np.tensordot(row, values, 1) @ across.T / np.float32(SPLINE_STD**3)


def sausage(line: Floats, radius: float, grids: Sequence[Floats], margin: float) -> tuple[Box, Floats]:
    """The box of a tube with round ends, and the signed distance from its surface there."""
    box = _box(line.min(0) - radius - margin, line.max(0) + radius + margin, grids)
    points = _points(box, grids)
    away = np.full(points.shape[:3], np.inf)
    for a, b in pairwise(line):
        place = np.clip((points - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)[..., None]
        away = np.minimum(away, np.linalg.norm(points - a - place * (b - a), axis=-1))
    return box, away - radius


def ellipsoid(centre: Floats, radii: Floats, grids: Sequence[Floats], margin: float) -> tuple[Box, Floats]:
    """The box of an ellipsoid, and the signed distance from its surface there, to first order."""
    box = _box(centre - radii - margin, centre + radii + margin, grids)
    scaled = (_points(box, grids) - centre) / radii
    level = np.linalg.norm(scaled, axis=-1)
    slope = np.linalg.norm(scaled / radii, axis=-1) / np.maximum(level, 1e-9)
    return box, (level - 1) / np.maximum(slope, 1e-9)


def _box(low: Floats, high: Floats, grids: Sequence[Floats]) -> Box:
    found = [slice(*map(int, np.searchsorted(g, (a, b)))) for g, a, b in zip(grids, low, high, strict=True)]
    return found[0], found[1], found[2]


def _points(box: Box, grids: Sequence[Floats]) -> npt.NDArray[np.float64]:
    return np.stack(np.meshgrid(*(g[s] for g, s in zip(grids, box, strict=True)), indexing="ij"), axis=-1)
