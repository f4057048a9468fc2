"""Pieces of a labelled volume, bent, turned, mirrored and lit in other ways, for training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lowdose_utils.neurons.affinities import Labels

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Augmentation:
    """How much a piece is changed; the defaults are those of the published network, where it gives them.

    Attributes
    ----------
    bent : float
        Share of the pieces that are turned by a random angle about a random axis, and bent. The others keep
        their voxels, so that the network also sees noise that no interpolation has smoothed.
    control : int
        Voxels between the points of the grid that is bent.
    jitter : float
        Standard deviation in voxels by which these points move.
    mirror : bool
        Mirror and exchange axes at random.
    scale, shift : float
        The grey values are multiplied by up to 1 ± scale and moved by up to ± shift.
    noise : float
        Standard deviation of the noise that is added.
    """

    bent: float = 0.5
    control: int = 10
    jitter: float = 2.0
    mirror: bool = True
    scale: float = 0.1
    shift: float = 0.1
    noise: float = 0.1


def draw(
    raw: Floats,
    labels: Labels,
    size: int,
    augmentation: Augmentation,
    rng: np.random.Generator,
    *,
    margin: int = 0,
) -> tuple[Floats, Labels]:
    """Draw a piece of a volume at random, and change it.

    Parameters
    ----------
    raw : array of float32, shape (channel, z, y, x)
        Grey values, and what is computed from them: it has to turn with them as they do.
    labels : integer array, shape (z, y, x)
    size : int
        Edge of the labels' piece in voxels, at most that of the volume without the margin.
    margin : int
        By so much the piece of `raw` is larger on each side.
    rng : Generator

    Returns
    -------
    raw, labels : arrays of edge size + 2 margin, with the channels, and size
        What a bent piece needs from beyond the volume is mirrored there, labels as well.
    """
    whole = size + 2 * margin
    start = [int(rng.integers(n - whole + 1)) for n in labels.shape]
    if rng.random() < augmentation.bent:
        places = _bent(start, whole, augmentation, rng)
        piece = np.stack([ndimage.map_coordinates(one, places, order=1, mode="mirror") for one in raw])
        inner = places[:, margin : margin + size, margin : margin + size, margin : margin + size]
        named = ndimage.map_coordinates(labels, inner, order=0, mode="mirror")
    else:
        z, y, x = start
        piece = raw[:, z : z + whole, y : y + whole, x : x + whole]
        z, y, x = (first + margin for first in start)
        named = labels[z : z + size, y : y + size, x : x + size]
    if augmentation.mirror:
        axes = rng.permutation(3)
        flips = tuple(slice(None, None, int(step)) for step in rng.choice((-1, 1), 3))
        piece = piece.transpose(0, *(1 + axes))[:, *flips]
        named = named.transpose(axes)[flips]
    return intensity(piece, augmentation, rng), np.ascontiguousarray(named)


def intensity(raw: Floats, augmentation: Augmentation, rng: np.random.Generator) -> Floats:
    """Change contrast and brightness, and add noise."""
    scale = 1 + augmentation.scale * rng.uniform(-1, 1)
    shift = augmentation.shift * rng.uniform(-1, 1)
    changed = raw * np.float32(scale) + np.float32(shift)
    if augmentation.noise:
        changed += np.float32(augmentation.noise) * rng.standard_normal(raw.shape, np.float32)
    return np.ascontiguousarray(changed, np.float32)


def _bent(
    start: list[int], size: int, augmentation: Augmentation, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Where the voxels of a turned and bent cube come from, shape (3, size, size, size)."""
    along = np.arange(size, dtype=np.float32) - (size - 1) / 2
    angle = rng.uniform(-np.pi / 4, np.pi / 4)  # what is beyond, exchanged axes give
    first, second, _ = rng.permutation(3).tolist()
    turn = np.eye(3)
    turn[[first, second], [first, second]] = np.cos(angle)
    turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
    points = size // augmentation.control + 2
    moves = augmentation.jitter * rng.standard_normal((3, points, points, points))
    spline = _spline(size, points)
    places = np.empty((3, size, size, size), np.float32)
    for axis in range(3):
        bend = np.einsum("zi,yj,xk,ijk->zyx", spline, spline, spline, moves[axis], optimize=True)
        rigid = (
            turn[axis, 0] * along[:, None, None]
            + turn[axis, 1] * along[:, None]
            + turn[axis, 2] * along
            + start[axis]
            + (size - 1) / 2
        )
        places[axis] = rigid + bend
    return places


def _spline(size: int, points: int) -> npt.NDArray[np.float64]:
    """Weights (voxel, point) of cubic interpolation between evenly spaced points."""
    at = np.linspace(0, points - 1, size)
    return np.stack(
        [ndimage.map_coordinates(unit, at[None], order=3, mode="nearest") for unit in np.eye(points)], axis=1
    )
