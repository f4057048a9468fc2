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


def projected_phase(
    tissue: Tissue,
    angles: npt.ArrayLike,
    wavelength: float,
    *,
    finer: int = 2,
    slab: int = 16,
    device: str | torch.device = "auto",
) -> Floats:
    """Phase behind a tissue at each angle, on pixels smaller than the voxels by `finer`.

    The tissue is drawn and projected a few slices at a time, on voxels finer by as much: a wave on the grid
    of the reconstruction could not hold what is smaller, and would make everything after it too easy.

    Parameters
    ----------
    tissue : Tissue
        For instance from `phantoms.neurites.tissue`.
    angles : array of shape (angle,)
        Radians.
    wavelength : float
        Metres.
    finer : int
        How many fine voxels fit into a voxel's edge.
    slab : int
        Slices of the tissue that are drawn together.
    device : str or torch.device
        Where to project.

    Returns
    -------
    array of float32, shape (angle, finer * slices, finer * columns)
        Radians, 0 or less.

    Raises
    ------
    LowdoseError
        If `finer` or `slab` is no whole number from 1 up, or the angles make no sense.
    """
    if min(finer, slab) < 1 or int(finer) != finer or int(slab) != slab:
        raise LowdoseError(
            "finer, slab", found=(finer, slab), expected="whole numbers from 1", way_out="Take 2 and 16."
        )
    theta = np.asarray(angles, np.float64)
    projector = Projector(theta, finer * tissue.columns, device=device)
    scale = phase_per_density(wavelength, tissue.voxel_um * 1e-6 / finer)
    phase = np.empty((theta.size, finer * tissue.slices, finer * tissue.columns), np.float32)
    for first in range(0, tissue.slices, slab):
        last = min(first + slab, tissue.slices)
        lines = projector.forward(np.asarray(tissue.draw(slice(first, last), finer=finer).density))
        # Next to nothing outside of the sample is what gridding leaves of nothing.
        part = np.minimum(scale * lines.swapaxes(0, 1), 0)
        phase[:, finer * first : finer * last] = part
    return phase


def image_means(images: Floats, finer: int) -> Floats:
    """Means over `finer` times `finer` pixels of images (..., y, x)."""
    rows, columns = (length // finer for length in images.shape[-2:])
    blocks = images.reshape(*images.shape[:-2], rows, finer, columns, finer)
    return np.asarray(blocks.mean((-3, -1)), np.float32)


def volume_means(volume: Floats, finer: int) -> Floats:
    """Means over cubes of `finer` voxels' edge of a volume (z, y, x)."""
    planes = image_means(volume, finer)
    return np.asarray(planes.reshape(-1, finer, *planes.shape[1:]).mean(1), np.float32)
