"""Tiles drawn as one volume, and what their seams show."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lowdose_utils.mosaic.tiles import Placement, Tile, as_coarse, checked, drawn


class Seam(NamedTuple):
    """Two tiles where they overlap: mean difference, noise of one voxel, correlation, and how many voxels."""

    first: int
    second: int
    step: float
    noise: float
    correlation: float
    voxels: int


def blend(
    tiles: Sequence[Tile],
    placements: Sequence[Placement],
    voxel_um: float,
    shape: Sequence[int],
    offset: npt.ArrayLike = (0.0, 0.0, 0.0),
) -> npt.NDArray[np.float32]:
    """Draw all tiles on one grid, each fading out towards its faces.

    A tile's weight is its distance in um to the nearest of its faces, times (finest voxel / its voxel)**4, so
    that a finer scan rules wherever it reaches.

    Parameters
    ----------
    tiles, placements
        As `register` takes and finds them.
    voxel_um, shape, offset
        The grid: edge of a voxel and middle in um, (z, y, x).

    Returns
    -------
    float32 array of `shape`
        NaN where no tile reaches.
    """
    volumes = checked(tiles, placements)
    whole = Placement.at(offset, voxel_um)
    finest = min(placement.scale for placement in placements)
    splines = [ndimage.spline_filter(volume, order=3, output=np.float32) for volume in volumes]
    result = np.full(tuple(shape), np.nan, np.float32)
    plane = np.stack(np.meshgrid(*(np.arange(n) for n in shape[1:]), indexing="ij"), axis=-1)
    for z in range(shape[0]):  # a slice at a time, to spare memory
        voxels = np.concatenate([np.full((*plane.shape[:2], 1), z), plane], axis=-1)
        points = whole.to_sample(voxels, shape)
        total, weights = np.zeros(plane.shape[:2]), np.zeros(plane.shape[:2])
        for spline, placement in zip(splines, placements, strict=True):
            places = placement.to_voxels(points, spline.shape)
            inside = np.minimum(places, np.array(spline.shape) - 1 - places).min(-1) + 0.5
            weight = np.maximum(inside, 0) * placement.scale * (finest / placement.scale) ** 4
            reached = weight > 0
            if reached.any():
                total[reached] += weight[reached] * drawn(spline, places[reached])
                weights[reached] += weight[reached]
        np.divide(total, weights, out=result[z], where=weights > 0, casting="unsafe")
    return result


def seams(tiles: Sequence[Tile], placements: Sequence[Placement], *, above: float = -np.inf) -> list[Seam]:
    """Compare each two tiles where they overlap, on the coarser one's grid.

    Parameters
    ----------
    tiles, placements
        As `register` takes and finds them.
    above : float
        Voxels count whose mean over both is greater: leaves out what is not sample.
    """
    volumes = checked(tiles, placements)
    splines = [ndimage.spline_filter(volume, order=3, output=np.float32) for volume in volumes]
    found = []
    for i, j in itertools.combinations(range(len(volumes)), 2):
        one, other = (i, j) if placements[i].scale >= placements[j].scale else (j, i)
        grid = np.stack(np.meshgrid(*map(np.arange, volumes[one].shape), indexing="ij"), -1).reshape(-1, 3)
        partner = placements[other].to_voxels(
            placements[one].to_sample(grid, volumes[one].shape), volumes[other].shape
        )
        both = ((partner >= 0) & (partner <= np.array(volumes[other].shape) - 1)).all(-1)
        if not both.any():
            continue
        ratio = placements[one].scale / placements[other].scale
        first = volumes[one].reshape(-1)[both]
        second = drawn(as_coarse(splines[other], ratio), partner[both])
        sample = (first + second) / 2 > above
        if np.count_nonzero(sample) < 8:
            continue
        first, second = first[sample], second[sample]
        sign = 1 if one == i else -1
        found.append(
            Seam(
                i,
                j,
                float(sign * (second - first).mean()),
                float((second - first).std() / np.sqrt(2)),
                float(np.corrcoef(first, second)[0, 1]),
                len(first),
            )
        )
    return found


def levels(seams: Sequence[Seam], count: int) -> npt.NDArray[np.float64]:
    """What to add to each tile's values so that the steps between them have the least squares.

    Parameters
    ----------
    seams : sequence of Seam
        What `seams` finds.
    count : int
        How many tiles there are. The first keeps its values, and so does a tile without a seam.
    """
    rows = np.zeros((len(seams), count))
    for row, seam in zip(rows, seams, strict=True):
        row[seam.first], row[seam.second] = -1, 1
    weights = np.sqrt([seam.voxels for seam in seams])
    found = np.zeros(count)
    steps = -weights * np.array([seam.step for seam in seams])
    found[1:] = np.linalg.lstsq(weights[:, None] * rows[:, 1:], steps, rcond=None)[0]
    return found
