"""Finding where overlapping tiles lie."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage, optimize, sparse
from scipy.spatial.transform import Rotation
from skimage.registration import phase_cross_correlation

from lowdose_utils.errors import LowdoseError
from lowdose_utils.mosaic.tiles import Floats, Placement, Tile, checked, corners_of, drawn

LEAST_LIKENESS = 0.3  # correlation of two blocks below which their shift is not believed
ROUNDS = 8
SETTLED = 0.01  # voxels: rounds end when no corner of a tile moves more
UPSAMPLE = 20  # parts of a voxel to which a block's shift is found


class Match(NamedTuple):
    """One block seen in two tiles: its place in each, (z, y, x) in voxels, and how alike they are, 0 to 1."""

    first: int
    second: int
    place: Floats
    partner: Floats
    likeness: float


class Registered(NamedTuple):
    """Placements found, the blocks that they rest on, and what these leave, in voxels of the finest tile."""

    placements: tuple[Placement, ...]
    matches: tuple[Match, ...]
    left_over: Floats


def register(
    tiles: Sequence[Tile], placements: Sequence[Placement], *, block: int = 24, only_shift: bool = False
) -> Registered:
    """Find where tiles lie from what their overlaps show.

    Blocks of each overlap are drawn from both tiles on one grid, smoothed to the coarser tile's resolution
    and tapered; the peak of their cross-correlation (`skimage.registration.phase_cross_correlation`) is how
    far the second lies off. All tiles but the first are then moved, turned and scaled together so that all
    blocks meet best (least squares, outliers counting little), and the blocks are drawn anew: what the taper
    and the interpolation hide of a shift goes away with the rounds.

    Parameters
    ----------
    tiles : sequence of arrays (z, y, x)
        Grey values that mean the same in all: density, or attenuation.
    placements : sequence of Placement
        Where they lie by the stage; errors up to a quarter of a block can be found. The first stays.
    block : int
        Edge of a block in voxels of the finer of two tiles, but never less than 8 of the coarser.
    only_shift : bool
        Leave scale and turn as they are.

    Raises
    ------
    LowdoseError
        If numbers or shapes do not fit, or a tile has no believable block in common with the others.
    """
    volumes = checked(tiles, placements)
    if block < 8:
        raise LowdoseError("block", found=block, expected="8 voxels or more", way_out="Take 24.")
    splines = [ndimage.spline_filter(volume, order=3, output=np.float32) for volume in volumes]
    shapes = [volume.shape for volume in volumes]
    current = list(placements)
    finest = min(placement.scale for placement in placements)
    for _ in range(ROUNDS):
        matches = _matches(splines, current, block)
        _all_joined(len(volumes), matches)
        moved = _solved(current, shapes, matches, finest, only_shift)
        change = max(
            np.abs(new.to_sample(corners, shape) - old.to_sample(corners, shape)).max()
            for new, old, shape in zip(moved, current, shapes, strict=True)
            for corners in [corners_of(shape)]
        )
        current = moved
        if change < SETTLED * finest:
            break
    left = np.array([np.linalg.norm(_apart(match, current, shapes)) / finest for match in matches])
    return Registered(tuple(current), tuple(matches), left)


def _matches(splines: Sequence[Tile], placements: Sequence[Placement], block: int) -> list[Match]:
    """Blocks that two tiles share, where each has them."""
    found = []
    for i, j in itertools.combinations(range(len(splines)), 2):
        step = max(placements[i].scale, placements[j].scale)
        edge = max(8, round(block * min(placements[i].scale, placements[j].scale) / step))
        taper = np.hanning(edge + 2)[1:-1]
        taper = taper[:, None, None] * taper[:, None] * taper
        within = np.stack(np.meshgrid(*[np.arange(edge) - (edge - 1) / 2] * 3, indexing="ij"), axis=-1)
        blurs = [max(0.7, 0.5 * step / placements[k].scale) * placements[k].scale / step for k in (i, j)]
        low, high = _overlap(splines, placements, (i, j))
        # As many as fit when each covers half of the next, spread evenly; a turned box has less room.
        low, high = low + (edge / 2 + 1) * step, high - (edge / 2 + 1) * step
        if (low > high).any():
            continue
        counts = np.ceil((high - low) / (step * edge / 2)).astype(int) + 1
        spans = [np.linspace(*ends) for ends in zip(low, high, counts, strict=True)]
        for centre in itertools.product(*spans):
            points = np.array(centre) + within * step
            places = [placements[k].to_voxels(points, splines[k].shape) for k in (i, j)]
            if any(_outside(place, splines[k].shape) for place, k in zip(places, (i, j), strict=True)):
                continue
            seen = [
                ndimage.gaussian_filter(drawn(splines[k], place), blur)
                for place, k, blur in zip(places, (i, j), blurs, strict=True)
            ]
            one, other = ((values - values.mean()) * taper for values in seen)
            if not one.any() or not other.any():
                continue
            shift = phase_cross_correlation(other, one, upsample_factor=UPSAMPLE, normalization=None)[0]
            moved = ndimage.shift(other, -shift, order=1)
            likeness = float(np.corrcoef(one.ravel(), moved.ravel())[0, 1])
            if likeness < LEAST_LIKENESS or np.abs(shift).max() > edge / 3:
                continue
            middle = points.reshape(-1, 3).mean(0)
            place = placements[i].to_voxels(middle, splines[i].shape)
            partner = placements[j].to_voxels(middle + shift * step, splines[j].shape)
            found.append(Match(i, j, place, partner, likeness))
    return found


def _overlap(
    splines: Sequence[Tile], placements: Sequence[Placement], pair: tuple[int, int]
) -> tuple[Floats, Floats]:
    """The box, along the sample's axes, that two tiles' boxes have in common."""
    boxes = [placements[k].to_sample(corners_of(splines[k].shape), splines[k].shape) for k in pair]
    return np.max([box.min(0) for box in boxes], axis=0), np.min([box.max(0) for box in boxes], axis=0)


def _outside(places: Floats, shape: Sequence[int]) -> bool:
    return bool((places < 0).any() or (places > np.array(shape) - 1).any())


def _all_joined(count: int, matches: Sequence[Match]) -> None:
    """Refuse tiles that nothing ties to the first."""
    ends = np.array([(match.first, match.second) for match in matches], dtype=int).reshape(-1, 2)
    graph = sparse.coo_array((np.ones(len(ends)), ends.T), shape=(count, count))
    _, group = sparse.csgraph.connected_components(graph, directed=False)
    if loose := [k for k in range(count) if group[k] != group[0]]:
        raise LowdoseError(
            "tiles",
            found=f"no block of tile {', '.join(map(str, loose))} is like one of the others",
            expected="overlaps of a block at least, with structure in them",
            way_out="Give better placements, a larger overlap, or a smaller block.",
        )


def _apart(match: Match, placements: Sequence[Placement], shapes: Sequence[Sequence[int]]) -> Floats:
    i, j = match.first, match.second
    return placements[i].to_sample(match.place, shapes[i]) - placements[j].to_sample(match.partner, shapes[j])


def _solved(
    current: Sequence[Placement],
    shapes: Sequence[Sequence[int]],
    matches: Sequence[Match],
    finest: float,
    only_shift: bool,
) -> list[Placement]:
    """Placements in which all blocks meet best; the first stays."""
    if len(current) == 1:
        return list(current)
    sizes = [np.linalg.norm(shape) / 2 * place.scale for place, shape in zip(current, shapes, strict=True)]
    free = 3 if only_shift else 7

    def placed(values: Floats) -> list[Placement]:
        """Each tile moved by (z, y, x) in finest voxels, then turned and scaled by as much at its corners."""
        moved = [current[0]]
        steps = values.reshape(-1, free) * finest
        for before, size, step in zip(current[1:], sizes[1:], steps, strict=True):
            turn, scale = before.turn, before.scale
            if not only_shift:
                turn = (Rotation.from_rotvec(step[3:6] / size) * Rotation.from_rotvec(turn)).as_rotvec()
                scale *= float(np.exp(step[6] / size))
            moved.append(Placement(before.offset + step[:3], scale, turn))
        return moved

    weights = np.array([match.likeness for match in matches])[:, None]

    def misfit(values: Floats) -> Floats:
        moved = placed(values)
        apart = np.array([_apart(match, moved, shapes) for match in matches])
        result: Floats = (weights * apart / finest).ravel()
        return result

    start = np.zeros(free * (len(current) - 1))
    solution = optimize.least_squares(misfit, start, loss="soft_l1", f_scale=0.5)
    return placed(solution.x)
