"""Bringing the distances of a scan onto one grid and over each other, and its angles onto one axis."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch

from lowdose_utils.device import Array, ArrayT, as_tensor, like, resolve_device
from lowdose_utils.errors import LowdoseError
from lowdose_utils.holography.model import Model, transfers_of
from lowdose_utils.holography.optics import Optics
from lowdose_utils.project import Projector, check_angles
from lowdose_utils.reconstruct import fbp

Floats = npt.NDArray[np.float64]
WIDEST = 24.0  # pixels: wider structure than this tells little about a shift, and much about the beam


def rescale(images: ArrayT, optics: Optics, *, device: str | torch.device = "auto") -> ArrayT:
    """Interpolate the images of each distance to the finest pixels, those of the first.

    By the band-limited interpolation that sampling permits, one matrix along each axis. Middles coincide;
    what a coarser image shows beyond the finest one's field is left out.

    Parameters
    ----------
    images : array of shape (distance, angle, row, column)
        Intensity over that of the open beam, each distance on its own pixels.
    optics : Optics
    device : str or torch.device

    Returns
    -------
    array of float32, shape (distance, angle, row, column)
        In the kind of `images`.

    Raises
    ------
    LowdoseError
        If there are not as many distances as the optics has.
    """
    place, given = resolve_device(device), as_tensor(images)
    if given.ndim != 4 or len(given) != len(optics.pixel_sizes):
        raise LowdoseError(
            "images",
            found=f"shape {tuple(given.shape)}",
            expected=f"({len(optics.pixel_sizes)}, angle, row, column)",
            way_out="Distances come first; a single angle is images[:, None].",
        )
    result = torch.empty(given.shape, dtype=torch.float32)
    for j, pixel in enumerate(optics.pixel_sizes):
        part, ratio = given[j].to(place, torch.float32), optics.voxel_size / pixel
        if ratio != 1:
            rows, columns = (_interpolation(side, ratio).to(place) for side in part.shape[1:])
            part = 1 + rows @ (part - 1) @ columns.T
        result[j] = part.cpu()
    return like(result, images)


def _interpolation(side: int, ratio: float) -> torch.Tensor:
    """Values at every `ratio`-th part of a pixel about the middle, from samples of a periodic image."""
    samples = torch.arange(side, dtype=torch.float64)
    middle = (side - 1) / 2
    away = (samples[:, None] - middle) * ratio + middle - samples
    near = torch.remainder(away + side / 2, side) - side / 2
    # Dirichlet's kernel; of an even length with half of the highest frequency on either side.
    turn = math.pi * near / side
    kernel = torch.sin(math.pi * near) / (side * torch.sin(turn))
    if side % 2 == 0:
        kernel = kernel * torch.cos(turn)
    kernel[near.abs() < 1e-9] = 1.0
    return kernel.float()


def register(images: Array, model: Model, *, reach: float = 16.0, softness: float = 0.2) -> Floats:
    """Shift of each distance against the first, at each angle, to a small part of a pixel.

    Fringes of different distances differ, and where one contrast is inverted they even anticorrelate. So they
    are correlated as the phases that each would give alone: spectra times their transfers, over the sum of
    their squares plus a constant. The peak is found on the grid, then by Newton's method on the correlation,
    which is known everywhere by its Fourier series.

    Parameters
    ----------
    images : array of shape (distance, angle, row, column)
        On the grid of the first distance (`rescale`).
    model : Model
    reach : float
        Largest shift to look for, in pixels.
    softness : float
        The constant: frequencies whose transfers are below its root count little.

    Returns
    -------
    array of shape (distance, angle, 2)
        Where the sample lies against the first distance, (row, column) in pixels; zeros for that.

    Raises
    ------
    LowdoseError
        If shapes do not fit the model or values are not finite.
    """
    rows, columns = model.shape
    transfer = transfers_of(model, weighted=False)
    wide = 1 - torch.exp(-((model.y**2 + model.x**2) * WIDEST**2))
    far = [(torch.fft.fftfreq(n, 1 / n).abs() > reach).to(model.device) for n in (rows, columns)]
    outside = far[0][:, None] | far[1]
    found = np.zeros((len(model), model.checked(images).shape[1], 2))
    for part, spectra in model.in_parts(images):
        for j in range(1, len(model)):
            weight = wide * transfer[0] * transfer[j] / (transfer[0] ** 2 + transfer[j] ** 2 + softness)
            cross = spectra[j] * spectra[0].conj() * weight
            correlation = torch.fft.irfft2(cross, s=model.shape).masked_fill(outside, -math.inf)
            peak = correlation.flatten(1).argmax(1)
            places = torch.stack([peak // columns, peak % columns], 1).double()
            sides = torch.tensor([rows, columns], device=places.device)
            shift = torch.where(places > sides / 2, places - sides, places)
            found[j, part] = _peak(cross, model, shift).cpu().numpy()
    return found


def _peak(cross: torch.Tensor, model: Model, shift: torch.Tensor, steps: int = 4) -> torch.Tensor:
    """The maximum of the correlations with spectra `cross`, by Newton steps from a place beside it."""
    y, x = model.y[:, 0].double(), model.x[0].double()
    for _ in range(steps):
        terms = model.moved(cross, -shift) * model.count
        down, across = terms.sum(-1), terms.sum(-2)  # the correlation is the real part of the sum of all
        slope = -2 * math.pi * torch.stack([(down.imag * y).sum(-1), (across.imag * x).sum(-1)], -1)
        both = ((terms.real * model.x).sum(-1) * y).sum(-1)
        curve = torch.stack(
            [(down.real * y**2).sum(-1), both, both, (across.real * x**2).sum(-1)], -1
        ).reshape(-1, 2, 2)
        curve = -((2 * math.pi) ** 2) * curve
        tiny = 1e-9 * curve.abs().amax((1, 2)).clamp_min(1e-30)
        move = torch.linalg.solve(
            curve - tiny[:, None, None] * torch.eye(2, device=curve.device), slope[..., None]
        )
        shift = shift - move[..., 0].clamp(-0.5, 0.5)
    return shift


def align_angles(
    phases: npt.NDArray[np.float32],
    angles: npt.ArrayLike,
    *,
    rounds: int = 2,
    device: str | torch.device = "auto",
) -> Floats:
    """Shifts of all projections against a common axis in the middle of the images, from themselves alone.

    First by what a rotation leaves as it is: the centre of mass stays in its row, and its column goes as
    ``a cos(angle) + b sin(angle)`` (Helgason and Ludwig's first condition). That needs the whole sample in
    view. Noise in the low frequencies limits it; so each projection is then compared with the projection of
    the volume that all make, and moved by the least squares of the difference, `rounds` times.

    Parameters
    ----------
    phases : array of shape (angle, row, column)
        Radians, 0 around the sample.
    angles : array of shape (angle,)
        Radians.
    rounds : int
        Comparisons with the volume; 0 leaves it at the centres of mass.
    device : str or torch.device

    Returns
    -------
    array of shape (angle, 2)
        Where each projection lies, (row, column) in pixels.

    Raises
    ------
    LowdoseError
        If shapes do not fit, there are fewer than three angles, or a projection has no mass.
    """
    theta = check_angles(angles)
    stack = torch.from_numpy(np.asarray(phases, np.float32))
    mass = -stack.sum((1, 2), dtype=torch.float64).numpy() if stack.ndim == 3 else np.zeros(1)
    if stack.ndim != 3 or len(stack) != len(theta) or len(theta) < 3 or not (mass > 0).all():
        raise LowdoseError(
            "phases",
            found=f"shape {tuple(stack.shape)} at {len(theta)} angles, least mass {mass.min():g}",
            expected="(angle, row, column), three or more, each with a sample: a negative phase",
            way_out="Retrieve the phase first; see retrieve and refine.",
        )
    rows, columns = stack.shape[1:]
    y, x = (np.arange(n) - (n - 1) / 2 for n in (rows, columns))
    down = -(stack.sum(2, dtype=torch.float64).numpy() @ y) / mass
    across = -(stack.sum(1, dtype=torch.float64).numpy() @ x) / mass
    turning = np.stack([np.cos(theta), np.sin(theta)], 1)
    across -= turning @ np.linalg.lstsq(turning, across, rcond=None)[0]
    found = np.stack([down - down.mean(), across], 1)
    if not rounds:
        return found
    place = resolve_device(device)
    projector = Projector(theta, columns, device=place)
    fy, fx = torch.fft.fftfreq(rows)[:, None], torch.fft.rfftfreq(columns)[None]
    wide = 1 - torch.exp(-((fy**2 + fx**2) * WIDEST**2))
    for _ in range(rounds):
        sinograms = move(stack, -found).swapaxes(0, 1).contiguous()
        volume = fbp(sinograms, theta, filter="hann", device=place)
        modelled = torch.fft.rfft2(projector.forward(volume).swapaxes(0, 1))
        rest = torch.fft.rfft2(sinograms.swapaxes(0, 1)) - modelled
        slopes = [modelled * axis for axis in (fy, fx)]
        normal = np.array([[_inner(a, b, wide).real.numpy() for b in slopes] for a in slopes])
        right = np.array([_inner(a, rest, wide).imag.numpy() for a in slopes])
        normal = np.moveaxis(normal, 2, 0)
        normal += 1e-9 * np.trace(normal, axis1=1, axis2=2)[:, None, None] * np.eye(2)
        found -= np.linalg.solve(normal, right.T[..., None])[..., 0] / (2 * np.pi)
    found[:, 0] -= found[:, 0].mean()
    return found


def _inner(first: torch.Tensor, second: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return (first.conj() * second * weight).sum((1, 2)).to(torch.complex128)


def move(images: ArrayT, shifts: npt.ArrayLike) -> ArrayT:
    """Images (angle, row, column), taken as periodic, moved by (angle, 2) pixels."""
    given = as_tensor(images)
    rows, columns = given.shape[1:]
    turns = -2 * math.pi * torch.from_numpy(np.asarray(shifts, np.float64))
    down = turns[:, :1] * torch.fft.fftfreq(rows, dtype=torch.float64)
    across = turns[:, 1:] * torch.fft.rfftfreq(columns, dtype=torch.float64)
    ramps = [torch.polar(torch.ones_like(turn), turn).to(given.device) for turn in (down, across)]
    result = torch.empty(given.shape, dtype=torch.float32, device=given.device)
    for number, image in enumerate(given.float()):
        ramp = (ramps[0][number][:, None] * ramps[1][number]).to(torch.complex64)
        result[number] = torch.fft.irfft2(torch.fft.rfft2(image) * ramp, s=(rows, columns))
    return like(result, images)
