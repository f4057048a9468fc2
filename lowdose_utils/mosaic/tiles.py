"""Where a tile lies in the sample, and its values there."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial.transform import Rotation

from lowdose_utils.errors import LowdoseError

Floats = npt.NDArray[np.float64]
Tile = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Placement:
    """Where a tile's grid lies in the sample.

    Attributes
    ----------
    offset : array (3,)
        Of the tile's middle, (z, y, x) in um.
    scale : float
        Edge of a voxel in um.
    turn : array (3,)
        Rotation vector (z, y, x) about the tile's middle, radians; about z it takes y towards x.
    """

    offset: Floats
    scale: float
    turn: Floats

    @classmethod
    def at(cls, offset: npt.ArrayLike, scale: float, turn: npt.ArrayLike = (0.0, 0.0, 0.0)) -> Placement:
        """From sequences of numbers."""
        return cls(np.asarray(offset, dtype=np.float64), float(scale), np.asarray(turn, dtype=np.float64))

    @property
    def matrix(self) -> Floats:
        """From voxels to um, (3, 3)."""
        found: Floats = self.scale * Rotation.from_rotvec(self.turn).as_matrix()
        return found

    def to_sample(self, voxels: npt.ArrayLike, shape: Sequence[int]) -> Floats:
        """Voxel coordinates (..., 3) in a tile of that shape as points in the sample, um."""
        middle = (np.asarray(shape) - 1) / 2
        found: Floats = (np.asarray(voxels, dtype=np.float64) - middle) @ self.matrix.T + self.offset
        return found

    def to_voxels(self, points: npt.ArrayLike, shape: Sequence[int]) -> Floats:
        """Points (..., 3) in the sample, um, as voxel coordinates in a tile of that shape."""
        away = np.asarray(points, dtype=np.float64) - self.offset
        found: Floats = away @ np.linalg.inv(self.matrix).T + (np.asarray(shape) - 1) / 2
        return found


def placement_error(
    found: Placement, true: Placement, shape: Sequence[int], reference: tuple[Placement, Placement]
) -> float:
    """How far a tile's corners lie from their true places, the greatest of eight, in its own voxels.

    `reference` is the found and the true placement of the tile that was held: found places are judged as
    seen from there, since nothing in the scans tells where the whole lies.
    """
    corners = corners_of(shape)
    held, held_true = reference
    seen = held.to_voxels(found.to_sample(corners, shape), shape)
    expected = held_true.to_voxels(true.to_sample(corners, shape), shape)
    away = np.linalg.norm(seen - expected, axis=-1).max() * held_true.scale / true.scale
    return float(away)


def checked(tiles: Sequence[Tile], placements: Sequence[Placement]) -> list[npt.NDArray[np.float32]]:
    """Tiles in single precision.

    Raises
    ------
    LowdoseError
        If one is no finite volume, or there are not as many placements.
    """
    volumes = [np.asarray(tile, dtype=np.float32) for tile in tiles]
    good = len(volumes) == len(placements) >= 1 and all(
        volume.ndim == 3 and min(volume.shape) >= 2 and np.isfinite(volume).all() for volume in volumes
    )
    if not good or not all(0 < placement.scale < np.inf for placement in placements):
        raise LowdoseError(
            "tiles, placements",
            found=f"shapes {[volume.shape for volume in volumes]} and {len(placements)} placements",
            expected="finite (z, y, x) volumes, and for each a placement with a positive scale",
            way_out="Placement.at(offset_um, voxel_um) for each.",
        )
    return volumes


def corners_of(shape: Sequence[int]) -> Floats:
    """The eight corner voxels of a tile, (8, 3)."""
    return np.array(list(itertools.product(*((0, n - 1) for n in shape))), dtype=np.float64)


def drawn(spline: Tile, places: Floats) -> Floats:
    """Values of a filtered spline at voxel coordinates (..., 3)."""
    flat = places.reshape(-1, 3).T
    values = ndimage.map_coordinates(spline, flat, order=3, prefilter=False, mode="mirror")
    return np.asarray(values, dtype=np.float64).reshape(places.shape[:-1])


def as_coarse(spline: Tile, ratio: float) -> Tile:
    """A filtered spline as voxels larger by `ratio` would average it; itself where they hardly are."""
    if ratio < 1.2:
        return spline
    # A voxel of `ratio` smaller ones has the variance of a Gaussian of this standard deviation.
    return np.asarray(ndimage.gaussian_filter(spline, np.sqrt((ratio**2 - 1) / 12)))
