"""Exposed and retrieved: from a projected phase to phase maps, a few angles at a time."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import torch

from lowdose_utils.errors import LowdoseError
from lowdose_utils.gridding import even_fast
from lowdose_utils.holography.align import register, rescale
from lowdose_utils.holography.camera import Camera
from lowdose_utils.holography.matter import Tissue
from lowdose_utils.holography.model import Model
from lowdose_utils.holography.optics import Optics
from lowdose_utils.holography.refine import REFINE_LIMITS, refine
from lowdose_utils.holography.retrieve import ctf, paganin
from lowdose_utils.holography.simulate import expose

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
