"""Spheres in a cube: the synthetic phantom of the projection-enhancing network.

After Yang et al., "Low-dose x-ray tomography through a deep convolutional neural network", Sci. Rep. 8,
2575 (2018): in a volume of 512 x 512 x 512 voxels a cube of value 0.3 and in it 1000 spheres of value 1,
4 to 20 voxels in diameter, none touching another. The paper does not state the cube's side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lowdose_utils.errors import LowdoseError
from lowdose_utils.phantoms.integrals import Floats, covered, square, under_sphere
from lowdose_utils.project import check_angles

Whole = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Spheres:
    """A cube around the middle of a volume, with spheres wholly inside that do not overlap.

    Lengths are in voxels and positions count from the volume's centre. x grows with the column, y upwards
    (against the row), z with the slice, which is the detector's row: as in `project.Projector`, the ray at
    detector coordinate t has ``x cos(angle) + y sin(angle) = t``.

    Attributes
    ----------
    size : int
        Side of the volume.
    side : float
        Side of the cube.
    centres : array of shape (sphere, 3)
        Centres (z, y, x), y up.
    diameters : array of shape (sphere,)
        Of the spheres.
    background, value : float
        Of the cube and of the spheres; outside is 0.
    """

    size: int
    side: float
    centres: Floats
    diameters: Floats
    background: float = 0.3
    value: float = 1.0

    def volume(self, slices: slice = slice(None), *, supersample: int = 3) -> npt.NDArray[np.float32]:
        """Volume (z, y, x) of which each voxel is the mean over its volume.

        Exact for the cube; for the spheres exact along z and the mean of ``supersample`` by ``supersample``
        lines across. `slices` picks slices.

        Raises
        ------
        LowdoseError
            If `slices` picks none, or `supersample` is less than 1.
        """
        if supersample < 1:
            raise LowdoseError("supersample", found=supersample, expected="at least 1", way_out="Try 3.")
        chosen = self._chosen("slices", slices)
        cover = covered(np.arange(self.size) - (self.size - 1) / 2, self.side / 2).astype(np.float32)
        plane = np.float32(self.background) * cover[:, None] * cover
        result: npt.NDArray[np.float32] = cover[chosen, None, None] * plane
        within = (np.arange(supersample) + 0.5) / supersample - 0.5
        for i, box, (dz, dy, dx) in self._boxes(chosen):
            y, x = ((offset[:, None] + within).ravel() for offset in (dy, dx))
            half = np.sqrt(np.maximum(self.diameters[i] ** 2 / 4 - y[:, None] ** 2 - x**2, 0))
            share = covered(dz[:, None, None], half)
            share = share.reshape(len(dz), len(dy), supersample, len(dx), supersample).mean(axis=(2, 4))
            result[box] += (self.value - self.background) * share
        return result

    def labels(self, slices: slice = slice(None)) -> npt.NDArray[np.integer]:
        """What is at each voxel's centre, (z, y, x): 0 outside, 1 the cube, ``i + 2`` sphere `i`.

        Raises
        ------
        LowdoseError
            If `slices` picks none.
        """
        chosen = self._chosen("slices", slices)
        inside = np.abs(np.arange(self.size) - (self.size - 1) / 2) <= self.side / 2
        kind = np.uint16 if len(self.diameters) < 2**16 - 2 else np.int32
        result: npt.NDArray[np.integer] = (inside[chosen, None, None] & inside[:, None] & inside).astype(kind)
        for i, box, (dz, dy, dx) in self._boxes(chosen):
            squared = dz[:, None, None] ** 2 + dy[:, None] ** 2 + dx**2
            result[box][squared <= self.diameters[i] ** 2 / 4] = i + 2
        return result

    def projections(
        self,
        angles: npt.ArrayLike,
        rows: slice = slice(None),
        *,
        columns: int | None = None,
        axis: float | None = None,
    ) -> npt.NDArray[np.float32]:
        """Projections (angle, row, column), exact means over the area of each detector pixel.

        Line integrals in units of value times voxels. `angles` are in radians; `rows` picks detector rows, of
        which row k sees slice k; `columns` are the detector's (`size`) and `axis` is that of the rotation
        axis (the middle).

        Raises
        ------
        LowdoseError
            If `angles` is no vector of finite numbers, `rows` picks none, or `columns` or `axis` makes no
            sense.
        """
        theta = check_angles(angles)
        blocks = self.projection_blocks(theta, rows=rows, columns=columns, axis=axis)
        height, width = len(range(self.size)[rows]), self.size if columns is None else columns
        result = np.empty((len(theta), height, width), dtype=np.float32)
        for part, block in blocks:
            result[part] = block
        return result

    def projection_blocks(
        self,
        angles: npt.ArrayLike,
        *,
        block: int = 16,
        rows: slice = slice(None),
        columns: int | None = None,
        axis: float | None = None,
    ) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
        """`projections` of `block` angles at a time, each with its place among `angles`.

        All of a large phantom's projections need not be in memory at once.
        """
        theta = check_angles(angles)
        chosen = self._chosen("rows", rows)
        columns = self.size if columns is None else columns
        axis = (columns - 1) / 2 if axis is None else axis
        if block < 1 or columns < 1 or not np.isfinite(axis):
            raise LowdoseError(
                "block, columns, axis",
                found=(block, columns, axis),
                expected="at least 1, at least 1 and a finite number",
                way_out="Count angles and detector columns.",
            )
        # The checks above are made at the call, not at the first block.
        parts = (slice(first, min(first + block, len(theta))) for first in range(0, len(theta), block))
        return ((part, self._project(theta[part], chosen, columns, axis)) for part in parts)

    def _project(self, theta: Floats, chosen: Whole, columns: int, axis: float) -> npt.NDArray[np.float32]:
        height = self.background * covered(chosen - (self.size - 1) / 2, self.side / 2)
        # One more column on either side takes what falls beside the detector.
        cube = square(np.arange(-1, columns + 1) - axis, theta, self.side)
        result: npt.NDArray[np.float64] = height[:, None] * cube[:, None]
        _, y, x = self.centres.T
        middles = np.outer(np.cos(theta), x) + np.outer(np.sin(theta), y) + axis
        which = np.arange(len(theta))[:, None, None]
        for place, r, middle in zip(self._places()[:, 0], self.diameters / 2, middles.T, strict=True):
            near = _near(chosen, place, r)
            if near.start == near.stop:
                continue
            picked = chosen[near]
            edges = np.arange(picked.min(), picked.max() + 2) - 0.5 - place
            first = np.floor(middle - r + 0.5).astype(int)[:, None] + np.arange(int(np.ceil(2 * r)) + 2)
            corners = under_sphere(edges[:, None], (first - 0.5 - middle[:, None])[:, None], r)
            stamp = np.diff(np.diff(corners, axis=1)[:, picked - picked.min()], axis=2)
            across = np.clip(first[:, None, :-1] + 1, 0, columns + 1)
            lines = np.arange(near.start, near.stop)[:, None]
            result[which, lines, across] += 2 * (self.value - self.background) * stamp
        return result[..., 1:-1].astype(np.float32)

    def _places(self) -> Floats:
        """Centres (sphere, 3) as fractional indices of the volume."""
        return self.centres * (1.0, -1.0, 1.0) + (self.size - 1) / 2

    def _chosen(self, thing: str, slices: slice) -> Whole:
        chosen = np.arange(self.size)[slices]
        if not chosen.size:
            raise LowdoseError(
                thing, found=slices, expected=f"some of 0 to {self.size - 1}", way_out="Count from 0."
            )
        return chosen

    def _boxes(self, chosen: Whole) -> Iterator[tuple[int, tuple[slice, ...], list[Floats]]]:
        """For each sphere in the `chosen` slices its box, and the way of the voxels' centres to its own."""
        indices = [chosen, np.arange(self.size), np.arange(self.size)]
        for i, (place, r) in enumerate(zip(self._places(), self.diameters / 2, strict=True)):
            box = tuple(_near(index, p, r) for index, p in zip(indices, place, strict=True))
            offsets = [index[s] - p for index, s, p in zip(indices, box, place, strict=True)]
            if all(offset.size for offset in offsets):
                yield i, box, offsets


def spheres(
    size: int = 512,
    count: int | None = None,
    *,
    diameters: tuple[float, float] = (4.0, 20.0),
    side: float | None = None,
    rng: np.random.Generator | int | None = None,
) -> Spheres:
    """Place spheres at random in the cube, diameters uniform, none overlapping another or leaving it.

    Parameters
    ----------
    size : int
        Side of the volume in voxels.
    count : int, optional
        How many spheres; the paper's 1000 in 512 x 512 x 512 voxels at the same density by default.
    diameters : (smallest, largest)
        In voxels.
    side : float, optional
        Of the cube in voxels. ``0.6 * size`` by default: it fits the field of view at all angles.
    rng : Generator or int, optional
        Source of randomness.

    Raises
    ------
    LowdoseError
        If the cube leaves the field of view or is too small for a sphere, the sizes make no sense, or so
        many spheres find no room.
    """
    side = 0.6 * size if side is None else side
    count = round(1000 * (size / 512) ** 3) if count is None else count
    if not 0 < side * np.sqrt(2) <= size:
        raise LowdoseError(
            "side",
            found=side,
            expected=f"above 0, and at most {size / np.sqrt(2):.1f} (size / sqrt(2))",
            way_out="The cube's diagonal must stay in the field of view: make it smaller, or `size` larger.",
        )
    if not 0 < diameters[0] <= diameters[1] <= side or count < 0:
        raise LowdoseError(
            "diameters, count",
            found=(diameters, count),
            expected=f"0 < smallest <= largest <= {side:g} (the cube's side), and a count not negative",
            way_out="Diameters are in voxels: make them smaller, or `size` larger.",
        )
    rng = np.random.default_rng(rng)
    drawn = rng.uniform(*diameters, count)
    centres = np.full((count, 3), np.inf)  # far from everything until placed
    # The largest first: the small ones still find room between them.
    for placed, i in enumerate(np.argsort(-drawn)):
        for _ in range(1000):
            centre = rng.uniform(-1, 1, 3) * (side - drawn[i]) / 2
            if (np.linalg.norm(centres - centre, axis=1) >= (drawn + drawn[i]) / 2).all():
                centres[i] = centre
                break
        else:
            raise LowdoseError(
                "count",
                found=f"room for {placed}",
                expected=count,
                way_out="Ask for fewer or smaller spheres, or a larger `side`.",
            )
    return Spheres(size, side, centres, drawn)


def _near(index: Whole, place: float, r: float) -> slice:
    """The run of evenly spaced indices whose voxels a sphere of radius `r` at `place` may touch."""
    near = np.flatnonzero(np.abs(index - place) < r + 0.5)
    return slice(int(near[0]), int(near[-1]) + 1) if near.size else slice(0, 0)
