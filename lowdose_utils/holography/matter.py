"""Electron density and the phase that it gives to X-rays."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from lowdose_utils.errors import LowdoseError
from lowdose_utils.project import Projector

ELECTRON_RADIUS = 2.8179403e-15  # metres, of the classical electron
PER_NM3 = 1e27  # electrons per cubic nanometre in 1/m^3

Floats = npt.NDArray[np.float32]


class Drawn(Protocol):
    """A tissue put on a grid: `density` (z, y, x) in electrons per cubic nanometre."""

    @property
    def density(self) -> Floats: ...


class Tissue(Protocol):
    """What can be drawn on voxels of any fineness."""

    @property
    def columns(self) -> int: ...

    @property
    def slices(self) -> int: ...

    @property
    def voxel_um(self) -> float: ...

    def draw(self, part: slice = ..., *, finer: int = ...) -> Drawn: ...


def phase_per_density(wavelength: float, voxel_size: float) -> float:
    """Phase in radians of one voxel with one electron per cubic nanometre.

    ``phase = -(2 pi / wavelength) delta T`` and ``delta = r_e wavelength^2 n / (2 pi)``, away from absorption
    edges, make ``-r_e wavelength n T``: negative, as everywhere in the package.
    """
    return -ELECTRON_RADIUS * wavelength * PER_NM3 * voxel_size


def refractive_decrement(wavelength: float) -> float:
    """delta of one electron per cubic nanometre, away from absorption edges."""
    return ELECTRON_RADIUS * PER_NM3 * wavelength**2 / (2 * math.pi)


def fine_density(tissue: Tissue, *, finer: int = 2, slab: int = 16) -> Floats:
    """Density (z, y, x) of a tissue on voxels smaller by `finer`, drawn a few slices at a time.

    Raises
    ------
    LowdoseError
        If `finer` or `slab` is no whole number from 1 up.
    """
    if min(finer, slab) < 1 or int(finer) != finer or int(slab) != slab:
        raise LowdoseError(
            "finer, slab", found=(finer, slab), expected="whole numbers from 1", way_out="Take 2 and 16."
        )
    found = np.empty(tuple(finer * n for n in (tissue.slices, tissue.columns, tissue.columns)), np.float32)
    for first in range(0, tissue.slices, slab):
        last = min(first + slab, tissue.slices)
        found[finer * first : finer * last] = tissue.draw(slice(first, last), finer=finer).density
    return found


def projected_phase(
    density: npt.NDArray[np.floating],
    angles: npt.ArrayLike,
    wavelength: float,
    voxel_size: float,
    *,
    device: str | torch.device = "auto",
) -> Floats:
    """Phase behind a volume of electrons at each angle.

    Parameters
    ----------
    density : array of shape (z, y, x)
        Electrons per cubic nanometre. For a simulation draw it finer than the reconstruction's voxels
        (`fine_density`): a wave on their grid could not hold what is smaller, and would make everything after
        it too easy.
    angles : array of shape (angle,)
        Radians.
    wavelength, voxel_size : float
        Metres.
    device : str or torch.device
        Where to project.

    Returns
    -------
    array of float32, shape (angle, z, x)
        Radians, 0 or less.
    """
    volume = np.asarray(density, np.float32)
    lines = Projector(angles, volume.shape[-1], device=device).forward(volume)
    # Above zero is only what gridding leaves of nothing beside an edge.
    scale = phase_per_density(wavelength, voxel_size)
    return np.asarray(np.minimum(scale * lines.swapaxes(0, 1), 0), np.float32)


def image_means(images: Floats, finer: int) -> Floats:
    """Means over `finer` times `finer` pixels of images (..., y, x)."""
    rows, columns = (length // finer for length in images.shape[-2:])
    blocks = images.reshape(*images.shape[:-2], rows, finer, columns, finer)
    return np.asarray(blocks.mean((-3, -1)), np.float32)


def volume_means(volume: Floats, finer: int) -> Floats:
    """Means over cubes of `finer` voxels' edge of a volume (z, y, x)."""
    planes = image_means(volume, finer)
    return np.asarray(planes.reshape(-1, finer, *planes.shape[1:]).mean(1), np.float32)
