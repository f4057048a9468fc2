"""Space shared out among neurons: each point to the neurite nearest to it, and how far the border is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import numpy.typing as npt

from lowdose_utils.phantoms.neurite_trees import Neuron

Floats = npt.NDArray[np.floating]

COARSE, GROUP, BLOCK = 64, 32, 4  # voxels along the edge of the boxes in which candidates are weeded out
FAR = 1e4  # um
BATCH = 32  # blocks worked on together
FLAT = 0.05  # least slope of f_2 - f_1 believed, where two lines lie in one direction
SWELL = 0.35  # um: a neurite of this radius or more swells at the common speed, thinner ones more slowly


class Territory:
    """Cylinders with round ends along all centre lines: f = s (distance from the line - radius) is theirs.

    Each piece of a line has the radius of its later node.

    The speed at which neurites swell into what is left between them goes as 1 / s, s = max(1, SWELL /
    radius), so that thin ones stay thin. A point belongs to the neuron of least f; the distance to the
    border with the neuron of second least f is ``(f_2 - f_1) / |grad(f_2 - f_1)|``, to first order.

    Parameters
    ----------
    neurons : sequence of Neuron
    bodies : sequence of (int, array (3,), float)
        Balls of cell bodies: number of the neuron (from 1), centre and radius in um.
    """

    def __init__(self, neurons: Sequence[Neuron], bodies: Sequence[tuple[int, Floats, float]] = ()) -> None:
        tails, ways, radii, owners = [], [], [], []
        for number, neuron in enumerate(neurons, 1):
            before = np.maximum(neuron.parents, 0)
            keep = neuron.parents >= 0 if len(neuron.parents) > 1 else np.array([True])
            tails.append(neuron.nodes[before][keep])
            ways.append((neuron.nodes - neuron.nodes[before])[keep])
            radii.append(neuron.radii[keep])
            owners.append(np.full(keep.sum(), number))
            for owner, centre, radius in bodies:
                if owner == number:
                    tails.append(np.asarray(centre)[None])
                    ways.append(np.zeros((1, 3)))
                    radii.append(np.array([radius]))
                    owners.append(np.array([number]))
        # The last one is far away and nobody's: it fills up lists that are too short.
        self.tails = np.concatenate([*tails, np.full((1, 3), FAR)])
        self.ways = np.concatenate([*ways, np.zeros((1, 3))])
        self.radii = np.concatenate([*radii, [1.0]])
        self.owners = np.concatenate([*owners, [0]]).astype(np.int32)  # else in ascending order
        self.speeds = np.maximum(1, SWELL / self.radii)

    def fill(
        self, z: Floats, y: Floats, x: Floats, surface: Callable[[Floats], Floats], reach: float
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Number of the neuron at each point of a grid, and the distance to the next one's territory in um.

        Exact for any grid: a block leaves out only those cylinders that cannot be first or second in it,
        since f changes by at most s per um.

        Parameters
        ----------
        z, y, x : array
            Coordinates in um, evenly spaced.
        surface : function of points (..., 3)
            Signed distance from the tissue's surface; what is wholly outside is left at 0.
        reach : float
            Distances above this many um need not be right; they may be infinite.

        Returns
        -------
        labels : int32 array (z, y, x)
        distances : float32 array (z, y, x)
        """
        shape = (len(z), len(y), len(x))
        labels, wall = np.zeros(shape, np.int32), np.full(shape, np.inf, np.float32)
        voxel = float(x[1] - x[0])
        everything = np.arange(len(self.owners) - 1)
        for coarse in _boxes([(0, n) for n in shape], COARSE):
            middle, half = _ball(coarse, (z, y, x))
            if surface(middle) > half + voxel:
                continue
            near = everything[self._possible(middle[None], everything, half)[0]]
            for group in _boxes(coarse, GROUP):
                middle, half = _ball(group, (z, y, x))
                if surface(middle) > half + voxel:
                    continue
                chosen = near[self._possible(middle[None], near, half)[0]]
                # Whole blocks even at the edge of the grid; what hangs over is cut off afterwards.
                sides = [np.arange(a, b, BLOCK) for a, b in group]
                corners = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 3)
                first = np.array([z[0], y[0], x[0]])
                centres = first + (corners + (BLOCK - 1) / 2) * voxel
                half = np.sqrt(3) * (BLOCK - 1) / 2 * voxel
                centres, corners = (a[surface(centres) <= half + voxel] for a in (centres, corners))
                found = self._share(centres, chosen, voxel, half, reach)
                for (a, b, c), winners, distances in zip(corners, *found, strict=True):
                    here = np.s_[a : a + BLOCK, b : b + BLOCK, c : c + BLOCK]
                    inner = tuple(slice(n) for n in labels[here].shape)
                    labels[here], wall[here] = winners[inner], distances[inner]
        return labels, wall

    def _possible(self, centres: Floats, chosen: npt.NDArray[np.int64], half: float) -> npt.NDArray[np.bool_]:
        """Which of the chosen cylinders can be first or second within `half` of each centre."""
        middle = centres.mean(0)
        value, _ = self._value(centres - middle, self.tails[chosen] - middle, self.ways[chosen], chosen)
        change = self.speeds[chosen] * half
        first = np.flatnonzero(np.diff(self.owners[chosen], prepend=-1))
        least = np.minimum.reduceat(value + change, first, axis=1)
        if len(first) < 2:
            return np.ones(value.shape, bool)
        bound = np.partition(least, 1, axis=1)[:, 1]
        found: npt.NDArray[np.bool_] = value - change <= bound[:, None]
        return found

    def _share(
        self, centres: Floats, chosen: npt.NDArray[np.int64], voxel: float, half: float, reach: float
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Winners and distances in blocks: two arrays (centres, BLOCK, BLOCK, BLOCK)."""
        edge = (np.arange(BLOCK) - (BLOCK - 1) / 2) * voxel
        grid = (
            np.stack(np.meshgrid(edge, edge, edge, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.float32)
        )
        winners = np.empty((len(centres), len(grid)), np.int32)
        distances = np.full(winners.shape, np.inf, np.float32)
        possible = self._possible(centres, chosen, half) if len(centres) else np.empty((0, len(chosen)), bool)
        counts = possible.sum(1)
        order = np.argsort(counts)
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            picked = np.full((len(batch), counts[batch[-1]]), len(self.owners) - 1)
            picked[np.arange(picked.shape[1]) < counts[batch, None]] = np.broadcast_to(
                chosen, possible[batch].shape
            )[possible[batch]]
            tails = (self.tails[picked] - centres[batch, None]).astype(np.float32)
            ways, speeds = self.ways[picked].astype(np.float32), self.speeds[picked].astype(np.float32)
            owners = self.owners[picked]
            value, place = self._value(grid, tails, ways, picked)
            first = value.argmin(-1)
            winner = np.take_along_axis(owners, first, 1)
            winners[batch] = winner
            best = np.take_along_axis(value, first[..., None], -1)[..., 0]
            np.copyto(value, np.inf, where=owners[:, None] == winner[..., None])
            second = value.argmin(-1)
            margin = np.take_along_axis(value, second[..., None], -1)[..., 0] - best
            steepest = sum(np.take_along_axis(speeds, k, 1) for k in (first, second))
            block, point = np.nonzero(margin < reach * steepest)
            slope = np.zeros((len(block), 3), np.float32)
            for sign, index in ((1, second[block, point]), (-1, first[block, point])):
                away = (
                    grid[point] - tails[block, index] - place[block, point, index, None] * ways[block, index]
                )
                length = np.maximum(np.linalg.norm(away, axis=1), 1e-6)
                slope += sign * (speeds[block, index] / length)[:, None] * away
            steep = np.maximum(np.linalg.norm(slope, axis=1), FLAT)
            distances[batch[block], point] = margin[block, point] / steep
        blocks = (len(centres), BLOCK, BLOCK, BLOCK)
        return winners.reshape(blocks), distances.reshape(blocks)

    def _value(
        self, points: Floats, tails: Floats, ways: Floats, chosen: npt.NDArray[np.int64]
    ) -> tuple[Floats, Floats]:
        """f (..., points, cylinders), and the place along each cylinder nearest to each point, 0 to 1."""
        squares = np.maximum((ways * ways).sum(-1), 1e-12)[..., None, :]
        turned = np.swapaxes(ways, -1, -2), np.swapaxes(tails, -1, -2)
        along = points @ turned[0] - (ways * tails).sum(-1)[..., None, :]
        place = np.clip(along / squares, 0, 1)
        away = (
            (tails * tails).sum(-1)[..., None, :]
            + (points * points).sum(-1)[:, None]
            - 2 * (points @ turned[1])
        )
        away += place * (place * squares - 2 * along)
        np.sqrt(np.maximum(away, 0, out=away), out=away)
        away -= self.radii[chosen].astype(away.dtype)[..., None, :]
        away *= self.speeds[chosen].astype(away.dtype)[..., None, :]
        return away, place


def _boxes(box: Sequence[tuple[int, int]], size: int) -> list[tuple[tuple[int, int], ...]]:
    """A box (first, one after the last of each axis) in pieces of at most `size`."""
    return list(product(*([(k, min(k + size, b)) for k in range(a, b, size)] for a, b in box)))


def _ball(
    box: tuple[tuple[int, int], ...], grids: tuple[Floats, ...]
) -> tuple[npt.NDArray[np.float64], float]:
    """Middle of a box of voxels, and the radius of the ball around their middles."""
    ends = np.array([[g[a], g[b - 1]] for g, (a, b) in zip(grids, box, strict=True)])
    return ends.mean(1), float(np.linalg.norm(np.ptp(ends, axis=1))) / 2
