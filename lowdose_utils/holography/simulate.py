"""Holograms of a phase: propagation, magnification, blur, motion, photon counts.

Nothing of the reconstruction is used here. The wave lives on a finer grid, each distance has its own pixels,
over whose area the intensity is averaged, the sample moves between exposures, and the source and the
detector blur. `Camera.crime` switches all of that off: then the simulation is the reconstruction's own model
(the inverse crime), which flatters every method that uses it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from lowdose_utils.device import resolve_device
from lowdose_utils.errors import LowdoseError
from lowdose_utils.gridding import even_fast
from lowdose_utils.holography.camera import Camera, pixel_weights, positions
from lowdose_utils.holography.optics import Optics
from lowdose_utils.optics import fringe_reach

Floats = npt.NDArray[np.float32]


class Holograms(NamedTuple):
    """Flat-corrected exposures, and where the sample was.

    Attributes
    ----------
    images : array of float32, shape (distance, angle, row, column)
        Intensity over that of the open beam, each distance on its own pixels.
    shifts : array, shape (distance, angle, 2)
        (row, column) of the sample off its place, in pixels of the first distance. The truth: no step of a
        reconstruction may look at it.
    """

    images: Floats
    shifts: npt.NDArray[np.float64]


def expose(
    phase: npt.ArrayLike,
    optics: Optics,
    camera: Camera,
    *,
    finer: int = 2,
    delta_beta: float = 9.0,
    which: Sequence[int] | None = None,
    of: int | None = None,
    rng: int = 0,
    chunk: int = 4,
    device: str | torch.device = "auto",
) -> Holograms:
    """Holograms of a sample of one ratio of delta to beta at all distances.

    Parameters
    ----------
    phase : array of shape (angle, y, x)
        Radians, 0 or less, zero around the sample, on pixels of ``optics.voxel_size / finer``
        (`matter.projected_phase`).
    optics : Optics
    camera : Camera
    finer : int
        See `phase`.
    delta_beta : float
        delta / beta: the wave is ``exp((i + 1 / delta_beta) phase)``.
    which : sequence of int, optional
        Numbers of these angles in the whole scan, for simulating it in parts; 0, 1, ... by default.
    of : int, optional
        How many angles the whole scan has.
    rng : int
        Seed; an exposure has the same motion and noise whichever part it is simulated in.
    chunk : int
        Angles that are propagated together.
    device : str or torch.device
        Where to propagate; counts are drawn on the CPU.

    Raises
    ------
    LowdoseError
        If shapes or numbers do not fit, or the field is too small for the sample and its fringes (it says
        how many pixels are needed).
    """
    given = np.asarray(phase, np.float32)
    place = resolve_device(device)
    if given.ndim != 3 or not given.size or not np.isfinite(given).all() or not delta_beta > 0 or finer < 1:
        raise LowdoseError(
            "phase, finer, delta_beta",
            found=f"shape {given.shape}, {finer}, {delta_beta}",
            expected="(angle, y, x), finite; from 1; above 0",
            way_out="See matter.projected_phase.",
        )
    numbers = list(range(len(given))) if which is None else [int(one) for one in which]
    whole = max(numbers) + 1 if of is None else of
    if len(numbers) != len(given) or not 0 <= min(numbers) <= max(numbers) < whole:
        raise LowdoseError(
            "which, of",
            found=f"{len(numbers)} numbers of {whole} angles for {len(given)} images",
            expected="one number for each image, below the number of angles",
            way_out="Leave both out for a whole scan.",
        )
    crime = not optics.magnified and finer == 1  # the reconstruction's own periodic grid
    if not crime:
        optics.check_field(camera.columns, _extent(given) / finer, camera.wander)
    distances = len(optics.pixel_sizes)
    shifts = positions(camera, distances, whole, rng)[:, numbers]
    fine = optics.voxel_size / finer
    field = camera.columns * max(optics.pixel_sizes) / fine
    spread = max(fringe_reach(distance, optics.wavelength, fine) for distance in optics.effective_distances)
    # As wide as the field; and what the finest detail throws out of it must not come back in from behind.
    inner = (camera.columns * optics.voxel_size / fine + max(given.shape[1:])) / 2
    period = even_fast(max(field, inner + spread, *given.shape[1:]))
    if crime:
        period = camera.columns
    transfers = [_transfer(period, fine, d, optics.wavelength, place) for d in optics.effective_distances]
    weights = [
        pixel_weights(camera.columns, pixel / fine, period, camera.blur(optics, j) / fine, place)
        for j, pixel in enumerate(optics.pixel_sizes)
    ]
    fields = [_within(weight) for weight in weights]
    weights = [weight[:, field].contiguous() for weight, field in zip(weights, fields, strict=True)]
    frequency = torch.fft.fftfreq(period, dtype=torch.float64)
    images = np.empty((distances, len(given), camera.columns, camera.columns), np.float32)
    top, left = ((period - side) // 2 for side in given.shape[1:])
    # Both grids have their middle between pixels or on one: half a fine pixel where they differ.
    off = torch.tensor([(period - side) / 2 - (period - side) // 2 for side in given.shape[1:]])
    for first in range(0, len(given), chunk):
        part = torch.from_numpy(given[first : first + chunk]).to(place)
        scattered = torch.zeros((len(part), period, period), dtype=torch.complex64, device=place)
        wave = torch.polar(torch.exp(part / delta_beta), part) - 1
        scattered[:, top : top + part.shape[1], left : left + part.shape[2]] = wave
        spectra = torch.fft.fft2(scattered)
        for j in range(distances):
            moved = finer * torch.from_numpy(shifts[j, first : first + chunk]) + off
            turns = -2 * math.pi * moved[..., None] * frequency
            ramp = torch.polar(torch.ones_like(turns), turns).to(place, torch.complex64)
            steps = transfers[j] * ramp
            seen = torch.fft.ifft2(spectra * steps[:, 0, :, None] * steps[:, 1, None, :])
            seen = seen[:, fields[j], fields[j]]
            # |1 + s|^2 - 1: small numbers stay exact in single precision.
            change = (2 + seen.real) * seen.real + seen.imag**2
            mean = 1 + weights[j] @ change @ weights[j].T
            images[j, first : first + chunk] = mean.clamp_min(0).cpu().numpy()
    _count(images, camera, numbers, rng)
    return Holograms(images, shifts)


def _extent(phase: Floats) -> float:
    """Width of the smallest square around the middle that holds all that is not zero, in fine pixels."""
    least = 0.02 * float(np.abs(phase).max())
    found = 0.0
    for axis in (1, 2):
        there = np.flatnonzero((np.abs(phase) > least).any(axis=(0, 3 - axis)))
        if there.size:
            middle = (phase.shape[axis] - 1) / 2
            found = max(found, 2 * float(np.abs(there - middle).max()) + 1)
    return found


def _within(weights: torch.Tensor) -> slice:
    """The fine pixels that any detector pixel sees."""
    there = weights.abs().amax(0).nonzero()
    return slice(int(there.min()), int(there.max()) + 1)


def _transfer(
    period: int, pixel: float, distance: float, wavelength: float, place: torch.device
) -> torch.Tensor:
    """One dimension of the Fresnel propagator, as in `phase.fresnel`."""
    phase = -math.pi * wavelength * distance * torch.fft.fftfreq(period, pixel, dtype=torch.float64) ** 2
    return torch.polar(torch.ones_like(phase), phase).to(place, torch.complex64)


def _count(images: Floats, camera: Camera, numbers: Sequence[int], rng: int) -> None:
    """Replace intensities by counts over those of the flat fields, in place."""
    if not math.isfinite(camera.photons):
        return
    for j, scan in enumerate(images):
        flat: float | npt.NDArray[np.float64] = 1.0
        if camera.flats:
            beam = np.full(scan.shape[1:], camera.flats * camera.photons)
            flat = np.random.default_rng([rng, 1, j]).poisson(beam) / beam
        for number, image in zip(numbers, scan, strict=True):
            counts = np.random.default_rng([rng, 2, j, number]).poisson(camera.photons * image.astype(float))
            image[:] = counts / (camera.photons * np.maximum(flat, 1e-6))
