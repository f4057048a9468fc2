"""Finding where overlapping tiles lie."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse
from scipy.spatial.transform import Rotation

from lowdose_utils.errors import LowdoseError
from lowdose_utils.mosaic.tiles import Floats, Placement, Tile, as_coarse, checked, corners_of, drawn

LEAST_LIKENESS = 0.3  # correlation of two tiles in their overlap below which they do not show the same
LEAST_WIDTH = 6  # voxels of the coarser tile that an overlap must have along each axis
WIDER = 4.0  # times the smoothing: wider structure tells of drifts of grey more than of a shift
LEAST_SMOOTHING = 0.7  # voxels of the coarser tile: what is finer, one grid cannot show as the other does
ROUNDS = 12  # at each smoothing
SETTLED = 0.01  # voxels: rounds end when no corner of a tile moves more
POSE = 7  # numbers by which a tile is moved: three of a shift, three of a turn, one of the scale


class Overlap(NamedTuple):
    """Two tiles in what they share.

    `likeness` is their correlation there, smoothed as for the last rounds; `apart` the shift (z, y, x) in
    voxels of the coarser one that would still bring the second closer to the first; `voxels` how many were
    compared.
    """

    first: int
    second: int
    likeness: float
    apart: Floats
    voxels: int


class Registered(NamedTuple):
    """Placements found, and how well the tiles agree in them, overlap by overlap."""

    placements: tuple[Placement, ...]
    overlaps: tuple[Overlap, ...]


class _Compared(NamedTuple):
    """Two tiles drawn on one grid: places in um (point, 3), mean slope there per um, difference of values."""

    pair: tuple[int, int]
    points: Floats
    slope: Floats
    difference: Floats
    likeness: float


def register(
    tiles: Sequence[Tile],
    placements: Sequence[Placement],
    *,
    reach: float = 4.0,
    finest: float = 1.0,
    only_shift: bool = False,
) -> Registered:
    """Find where tiles lie from what their overlaps show.

    All overlaps are drawn from both tiles, smoothed, and freed of what is four times as wide; all tiles but
    the first are then shifted, turned and scaled together so that the differences, to first order in these
    moves, have the least squares: the method of Lucas and Kanade (IJCAI 1981) over all overlaps at once, with
    the mean of both tiles' slopes. Repeated until nothing moves, with ever less smoothing: what is smooth
    shows the way from afar, what is fine the exact place.

    Parameters
    ----------
    tiles : sequence of arrays (z, y, x)
        Grey values that mean the same in all, but for a constant: density, or attenuation.
    placements : sequence of Placement
        Where they lie by the stage. The first stays.
    reach : float
        Standard deviation of the first Gaussian in voxels of the finest tile: errors of the stage up to about
        that are found.
    finest : float
        Of the last Gaussian: about where the noise takes over. Coarser tiles are smoothed by 0.7 of their own
        voxels at least.
    only_shift : bool
        Leave scale and turn as they are.

    Raises
    ------
    LowdoseError
        If numbers or shapes do not fit, or a tile shares nothing with the others that is alike.
    """
    volumes = checked(tiles, placements)
    if not 0 < finest <= reach < np.inf:
        raise LowdoseError(
            "reach, finest",
            found=(reach, finest),
            expected="voxels, the first not less than the second, above 0",
            way_out="4 and 1; more where there is much noise.",
        )
    splines = [ndimage.spline_filter(volume, order=3, output=np.float32) for volume in volumes]
    shapes = [volume.shape for volume in volumes]
    unit = min(placement.scale for placement in placements)
    free = np.arange(POSE) < (3 if only_shift else POSE)
    current = list(placements)
    smoothings = [reach]
    while smoothings[-1] > finest:
        smoothings.append(max(smoothings[-1] / 2, finest))
    for smoothing in smoothings:
        for _ in range(ROUNDS):
            compared = _compared(splines, current, smoothing * unit)
            _all_joined(len(volumes), compared, least=-1.0)
            moved = _moved(current, shapes, compared, free)
            change = max(
                float(np.abs(new.to_sample(corners, shape) - old.to_sample(corners, shape)).max())
                for new, old, shape in zip(moved, current, shapes, strict=True)
                for corners in [corners_of(shape)]
            )
            current = moved
            if change < SETTLED * unit:
                break
    compared = _compared(splines, current, finest * unit)
    _all_joined(len(volumes), compared, least=LEAST_LIKENESS)
    return Registered(tuple(current), tuple(_judged(one, current) for one in compared))


def _compared(splines: Sequence[Tile], placements: Sequence[Placement], width_um: float) -> list[_Compared]:
    """Each two tiles that overlap, on the grid of the coarser one's voxels along the sample's axes."""
    found = []
    coarser = functools.cache(lambda k, ratio: as_coarse(splines[k], ratio))
    for pair in itertools.combinations(range(len(splines)), 2):
        step = max(placements[k].scale for k in pair)
        smoothing = max(width_um / step, LEAST_SMOOTHING)
        boxes = [placements[k].to_sample(corners_of(splines[k].shape), splines[k].shape) for k in pair]
        low = np.max([box.min(0) for box in boxes], axis=0)
        high = np.min([box.max(0) for box in boxes], axis=0)
        counts = np.floor((high - low) / step).astype(int) + 1
        if (counts < LEAST_WIDTH).any():
            continue
        axes = [np.arange(n) * step + start for n, start in zip(counts, low, strict=True)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        inside = np.ones(points.shape[:3])
        values = []
        for k in pair:
            places = placements[k].to_voxels(points, splines[k].shape)
            inside[((places < 0) | (places > np.array(splines[k].shape) - 1)).any(-1)] = 0
            ratio = step / placements[k].scale
            values.append(drawn(splines[k] if ratio < 1.2 else coarser(k, ratio), places))
        # Smoothed within what both show: nothing leaks in from where one of them has no values.
        share = ndimage.gaussian_filter(inside, smoothing)
        counted = inside * share > 0.2
        wide = ndimage.gaussian_filter(inside, WIDER * smoothing)
        one, other = (
            ndimage.gaussian_filter(value * inside, smoothing) / np.maximum(share, 0.2)
            - ndimage.gaussian_filter(value * inside, WIDER * smoothing) / np.maximum(wide, 0.05)
            for value in values
        )
        if np.count_nonzero(counted) < LEAST_WIDTH**3:
            continue
        slope = np.stack(np.gradient((one + other) / 2, step), axis=-1)[counted]
        one, other = one[counted] - one[counted].mean(), other[counted] - other[counted].mean()
        spread = float(np.sqrt((one**2).mean() * (other**2).mean()))
        likeness = float((one * other).mean()) / spread if spread > 0 else 0.0
        found.append(_Compared(pair, points[counted], slope, one - other, likeness))
    return found


def _all_joined(count: int, compared: Sequence[_Compared], least: float) -> None:
    """Refuse tiles that nothing ties to the first."""
    ends = np.array([one.pair for one in compared if one.likeness > least], dtype=int).reshape(-1, 2)
    graph = sparse.coo_array((np.ones(len(ends)), ends.T), shape=(count, count))
    _, group = sparse.csgraph.connected_components(graph, directed=False)
    if loose := [k for k in range(count) if group[k] != group[0]]:
        raise LowdoseError(
            "tiles",
            found=f"tile {', '.join(map(str, loose))} shares nothing that is alike with the first and its "
            "neighbours",
            expected=f"overlaps of {LEAST_WIDTH} voxels or more along each axis, correlated by "
            f"{LEAST_LIKENESS:g} or more",
            way_out="Give better placements or more overlap; a greater `reach` if the stage is far off, a "
            "greater `finest` if there is much noise.",
        )


def _moved(
    current: Sequence[Placement],
    shapes: Sequence[Sequence[int]],
    compared: Sequence[_Compared],
    free: npt.NDArray[np.bool_],
) -> list[Placement]:
    """All tiles but the first moved by the least squares of all differences."""
    unknowns = POSE * len(current)
    matrix, vector = np.zeros((unknowns, unknowns)), np.zeros(unknowns)
    for one in compared:
        rows = np.zeros((len(one.points), unknowns))
        for k, sign in zip(one.pair, (1, -1), strict=True):
            away = one.points - current[k].offset
            # A tile moved by u shows at p what it showed at p - u: its values change by - slope . u.
            rows[:, POSE * k : POSE * k + 3] = sign * one.slope
            rows[:, POSE * k + 3 : POSE * k + 6] = sign * np.cross(away, one.slope)
            rows[:, POSE * k + 6] = sign * (away * one.slope).sum(-1)
        rows -= rows.mean(0)  # a constant between two tiles is no difference
        matrix += rows.T @ rows
        vector += rows.T @ one.difference
    chosen = np.tile(free, len(current))
    chosen[:POSE] = False
    solution = np.zeros(unknowns)
    if chosen.any():
        # Turns and scales act on um: brought to one scale with the shifts for the sake of the numbers.
        lever = 1 / (np.linalg.norm(shapes[0]) * current[0].scale)
        scales = np.tile([1.0] * 3 + [lever] * 4, len(current))[chosen]
        part = matrix[np.ix_(chosen, chosen)] * scales * scales[:, None]
        solution[chosen] = scales * np.linalg.lstsq(part, scales * vector[chosen], rcond=1e-9)[0]
    moved = [current[0]]
    for placement, move in zip(current[1:], solution.reshape(-1, POSE)[1:], strict=True):
        turn = (Rotation.from_rotvec(move[3:6]) * Rotation.from_rotvec(placement.turn)).as_rotvec()
        moved.append(Placement(placement.offset + move[:3], placement.scale * float(np.exp(move[6])), turn))
    return moved


def _judged(one: _Compared, placements: Sequence[Placement]) -> Overlap:
    """What is left between two tiles, as a shift of the second, by the least squares of their difference."""
    slope = one.slope - one.slope.mean(0)
    shift = np.linalg.lstsq(slope, -one.difference, rcond=None)[0]
    step = max(placements[k].scale for k in one.pair)
    return Overlap(*one.pair, one.likeness, shift / step, len(one.points))
