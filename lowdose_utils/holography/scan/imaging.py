"""A tissue through the whole microscope: all steps in a row."""

from __future__ import annotations

from typing import Literal, overload

import numpy.typing as npt
import torch

from lowdose_utils.errors import LowdoseError
from lowdose_utils.holography.matter import Tissue, fine_density, image_means, projected_phase
from lowdose_utils.holography.optics import Optics
from lowdose_utils.holography.scan.density import centred, density_of
from lowdose_utils.holography.scan.phases import Floats, Method, camera_for, take_phases
from lowdose_utils.project import check_angles


@overload
def image_tissue(
    tissue: Tissue,
    optics: Optics,
    angles: npt.ArrayLike,
    photons: float,
    *,
    method: Method = ...,
    halves: Literal[False] = ...,
    delta_beta: float = ...,
    columns: int | None = ...,
    crime: bool = ...,
    finer: int = ...,
    rng: int = ...,
    device: str | torch.device = ...,
) -> Floats: ...


@overload
def image_tissue(
    tissue: Tissue,
    optics: Optics,
    angles: npt.ArrayLike,
    photons: float,
    *,
    method: Method = ...,
    halves: Literal[True],
    delta_beta: float = ...,
    columns: int | None = ...,
    crime: bool = ...,
    finer: int = ...,
    rng: int = ...,
    device: str | torch.device = ...,
) -> tuple[Floats, Floats, Floats]: ...


def image_tissue(
    tissue: Tissue,
    optics: Optics,
    angles: npt.ArrayLike,
    photons: float,
    *,
    method: Method = "refine",
    halves: bool = False,
    delta_beta: float = 9.0,
    columns: int | None = None,
    crime: bool = False,
    finer: int = 2,
    rng: int = 0,
    device: str | torch.device = "auto",
) -> Floats | tuple[Floats, Floats, Floats]:
    """What the whole microscope makes of a tissue: drawn, projected, exposed, retrieved, reconstructed.

    Parameters
    ----------
    tissue : Tissue
        Whole in the field of view, on voxels of the first distance's pixel (`phantoms.neurites.tissue`).
    optics : Optics
    angles : array of shape (angle,)
        Radians.
    photons : float
        Counts per detector pixel in the open beam, for each exposure.
    method : {"refine", "ctf", "paganin"}
    halves : bool
        Whether to give the volumes of the odd and of the even angles too.
    delta_beta : float
        Of the sample, and known.
    columns : int, optional
        Detector pixels across; by default as many as the sample and its fringes need.
    crime : bool
        Simulate with the reconstruction's own model: its grid, one magnification, no blur and no motion.
    finer : int
        Fine pixels per pixel in the simulation, without `crime`.
    rng : int
        Seed of motion and noise.
    device : str or torch.device

    Returns
    -------
    array of float32, shape (slices, columns, columns) of the tissue
        Electrons per cubic nanometre. With `halves` three of them: from all, odd and even angles.

    Raises
    ------
    LowdoseError
        If the tissue's voxels are not those of the optics, or the field is too small.
    """
    if abs(tissue.voxel_um * 1e-6 / optics.voxel_size - 1) > 1e-3:
        raise LowdoseError(
            "voxel_um of tissue",
            found=tissue.voxel_um,
            expected=f"{optics.voxel_size * 1e6:g}, the pixel of the first distance",
            way_out="Optics.four(tissue.voxel_um * 1e-6).",
        )
    theta = check_angles(angles)
    camera = camera_for(optics, tissue, photons, columns=columns)
    density = fine_density(tissue, finer=finer)
    fine = projected_phase(density, theta, optics.wavelength, optics.voxel_size / finer, device=device)
    del density
    if crime:
        optics, camera = optics.without_magnification(), camera.crime()
        fine, finer = image_means(fine, finer), 1
    taken = take_phases(
        fine,
        optics,
        camera,
        method=method,
        delta_beta=delta_beta,
        finer=finer,
        rng=rng,
        device=device,
    )
    phase = taken.phase
    if not crime:
        phase, _ = centred(phase, theta, max(tissue.slices, tissue.columns), device=device)
    parts = (slice(None), slice(0, None, 2), slice(1, None, 2)) if halves else (slice(None),)
    whole, *rest = (
        density_of(
            phase,
            theta,
            optics,
            size=tissue.columns,
            slices=tissue.slices,
            part=part,
            device=device,
        )
        for part in parts
    )
    return (whole, rest[0], rest[1]) if halves else whole
