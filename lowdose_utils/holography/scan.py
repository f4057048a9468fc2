"""From a drawn tissue to its reconstructed electron density: all steps, a few angles at a time."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args, overload

import numpy as np
import numpy.typing as npt
import torch

from lowdose_utils.errors import LowdoseError
from lowdose_utils.gridding import even_fast
from lowdose_utils.holography.align import align_angles, move, register, rescale
from lowdose_utils.holography.camera import Camera
from lowdose_utils.holography.matter import (
    Tissue,
    fine_density,
    image_means,
    phase_per_density,
    projected_phase,
)
from lowdose_utils.holography.model import Model
from lowdose_utils.holography.optics import Optics
from lowdose_utils.holography.refine import REFINE_LIMITS, refine
from lowdose_utils.holography.retrieve import ctf, paganin
from lowdose_utils.holography.simulate import expose
from lowdose_utils.project import check_angles
from lowdose_utils.reconstruct import fbp

Method = Literal["paganin", "ctf", "refine"]
Floats = npt.NDArray[np.float32]


class Phases(NamedTuple):
    """Retrieved projections.

    Attributes
    ----------
    phase : array of shape (angle, row, column)
        Radians, on the whole field.
    shifts : array of shape (distance, angle, 2)
        Found by registration: of the distances against the first, in pixels.
    true_shifts : array of the same shape
        Simulated, the first distance's own included; for judging only.
    """

    phase: Floats
    shifts: npt.NDArray[np.float64]
    true_shifts: npt.NDArray[np.float64]


def camera_for(optics: Optics, tissue: Tissue, photons: float, *, columns: int | None = None) -> Camera:
    """A camera with so many counts per exposure, and a field for the tissue with its fringes and motion."""
    if columns is None:
        sample = max(tissue.columns, tissue.slices)
        columns = even_fast(optics.needed_columns(sample, Camera(2).wander))
    return Camera(columns, photons)


def take_phases(
    phase: npt.ArrayLike,
    optics: Optics,
    camera: Camera,
    *,
    method: Method = "refine",
    delta_beta: float = 9.0,
    assumed: float | None = None,
    limits: tuple[float, float] = REFINE_LIMITS,
    finer: int = 2,
    chunk: int = 8,
    rng: int = 0,
    device: str | torch.device = "auto",
) -> Phases:
    """Expose a projected phase, and retrieve it from the holograms: both for a few angles at a time.

    Parameters
    ----------
    phase : array of shape (angle, y, x)
        Radians, on pixels smaller by `finer` than those of the first distance (`matter.projected_phase`).
    optics : Optics
    camera : Camera
    method : {"paganin", "ctf", "refine"}
        `refine` knows the instrument's blur and pixels, the others do not: see `Model`.
    delta_beta : float
        Of the sample.
    assumed : float, optional
        Of the retrieval; by default the sample's.
    limits : (float, float)
        Of `refine`; the other methods have their own defaults here.
    finer : int
        1 simulates on the grid of the reconstruction.
    chunk : int
        Angles at a time.
    rng : int
        Seed; the result does not depend on `chunk`.
    device : str or torch.device

    Raises
    ------
    LowdoseError
        If the method is unknown, or what `simulate.expose` refuses.
    """
    if method not in get_args(Method):
        raise LowdoseError(
            "method", found=repr(method), expected=", ".join(get_args(Method)), way_out="refine is the best."
        )
    given = np.asarray(phase, np.float32)
    shape = (camera.columns, camera.columns)
    ratio = delta_beta if assumed is None else assumed
    plain = Model(optics, shape, delta_beta=ratio, device=device)
    exact = Model(
        optics,
        shape,
        delta_beta=ratio,
        exact=True,
        source=camera.source,
        detector_blur=camera.detector_blur,
        device=device,
    )
    count, distances = len(given), len(plain)
    found = np.empty((count, *shape), np.float32)
    shifts, true = np.zeros((distances, count, 2)), np.zeros((distances, count, 2))
    still = camera.offset == camera.jitter == 0  # and known to be: nothing to register
    for first in range(0, count, chunk):
        part = slice(first, min(first + chunk, count))
        taken = expose(
            given[part],
            optics,
            camera,
            finer=finer,
            delta_beta=delta_beta,
            which=range(part.start, part.stop),
            of=count,
            rng=rng,
            device=device,
        )
        images = rescale(torch.from_numpy(taken.images), optics, device=device)
        true[:, part] = taken.shifts
        if not still:
            shifts[:, part] = register(images, plain)
        if method == "refine":
            refined = refine(
                images,
                exact,
                limits=limits,
                shifts=shifts[:, part],
                registrations=0 if still else 2,
            )
            result, shifts[:, part] = refined.phase, refined.shifts
        else:
            result = (ctf if method == "ctf" else paganin)(images, plain, shifts=shifts[:, part])
        found[part] = result.cpu().numpy()
    return Phases(found, shifts, true)


def density_of(
    phase: npt.ArrayLike,
    angles: npt.ArrayLike,
    optics: Optics,
    *,
    size: int | None = None,
    slices: int | None = None,
    part: slice = slice(None),
    device: str | torch.device = "auto",
) -> Floats:
    """Electron density by filtered back-projection of phase maps, in electrons per cubic nanometre.

    Parameters
    ----------
    phase : array of shape (angle, row, column)
        Radians, the axis in the middle (`align.align_angles`).
    angles : array of shape (angle,)
    optics : Optics
    size, slices : int, optional
        Side of the slices and their number, about the middle; all by default.
    part : slice
        Of the angles: ``slice(0, None, 2)`` takes every second one.
    device : str or torch.device

    Returns
    -------
    array of float32, shape (slice, y, x)
    """
    stack, theta = np.asarray(phase, np.float32), check_angles(angles)
    scale = phase_per_density(optics.wavelength, optics.voxel_size)
    inner = central(stack, slices or stack.shape[1], size or stack.shape[2])[part]
    sinograms = np.ascontiguousarray((inner / scale).swapaxes(0, 1))
    return fbp(sinograms, theta[part], device=device)


def central(images: Floats, rows: int, columns: int) -> Floats:
    """The middle of images (..., row, column)."""
    top, left = (images.shape[-2] - rows) // 2, (images.shape[-1] - columns) // 2
    if min(top, left) < 0 or min(rows, columns) < 1:
        raise LowdoseError(
            "rows, columns",
            found=(rows, columns),
            expected=f"from 1 up to {images.shape[-2:]}",
            way_out="No more than there are.",
        )
    return images[..., top : top + rows, left : left + columns]


def centred(
    phase: Floats, angles: npt.ArrayLike, sample: int, *, device: str | torch.device = "auto"
) -> tuple[Floats, npt.NDArray[np.float64]]:
    """Phase maps with the axis in the middle, and the shifts (angle, 2) that were taken back.

    The shifts are found in the middle `sample` rows and columns (`align.align_angles`).
    """
    found = align_angles(central(phase, sample, sample), angles, device=device)
    return move(phase, -found), found


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
