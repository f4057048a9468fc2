"""Propagation-based phase contrast: the Fresnel propagator, in-line images, and Paganin's filter.

Lengths are in metres, energies in keV. A wave behind an object of refractive index ``1 - delta + i beta``
is ``exp(-absorption + i phase)`` with ``absorption = (2 pi / wavelength) beta T``, which is half the line
integral of the attenuation, and ``phase = -(2 pi / wavelength) delta T``: matter makes the phase
**negative**. The beam is parallel; for a cone beam from a source at z1 with the detector at z2 behind the
object, use the distance ``z1 z2 / (z1 + z2)`` and the pixel size in the object (Fresnel scaling theorem,
Paganin, "Coherent X-Ray Optics", 2006, section 4.4).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from lowdose_utils.device import ArrayT, like, resolve_device, to_tensor
from lowdose_utils.errors import LowdoseError
from lowdose_utils.optics import (
    Padding,
    check_optics,
    check_padding,
    fringe_reach,
    in_parts,
    padded_images,
    positive,
    wavelength_of,
)
from lowdose_utils.project import check_stack

__all__ = ["Padding", "fresnel", "fringe_reach", "paganin", "phase_contrast", "wavelength_of"]


def fresnel(
    wave: torch.Tensor,
    distance: float | Sequence[float] | torch.Tensor,
    wavelength: float,
    pixel_size: float,
    *,
    padding: Padding = 0,
) -> torch.Tensor:
    """Propagate waves through free space in the paraxial approximation.

    Multiplies spectra by ``exp(-i pi wavelength distance f^2)``, f in cycles per metre (Paganin, "Coherent
    X-Ray Optics", 2006, equation 1.28, less the factor ``exp(2 pi i distance / wavelength)``, which all
    points share). Its modulus is 1: no energy is lost, and going back undoes it exactly. Differentiable.

    Parameters
    ----------
    wave : tensor of shape (..., y, x)
        Complex amplitude at 0 (a real one will do), on any device.
    distance : float, or sequence or tensor of float
        Metres; negative goes back. Several are broadcast against the dimensions before y and x: four
        distances and a wave (image, 1, y, x) give (image, 4, y, x).
    wavelength, pixel_size : float
        Metres.
    padding : int or "auto"
        Pixels on each side by which the wave is continued with its border's values. 0 takes it as periodic:
        what leaves on one side comes back on the other. ``"auto"`` takes `fringe_reach`.

    Returns
    -------
    tensor of shape (..., y, x)
        Complex amplitude at `distance`: complex128 for a wave in double precision, else complex64.

    Raises
    ------
    LowdoseError
        If the wave has no two dimensions, or a distance, wavelength, pixel size or padding makes no sense.
    """
    check_optics(wavelength, pixel_size)
    if wave.ndim < 2 or wave.numel() == 0:
        raise LowdoseError(
            "shape of wave", found=tuple(wave.shape), expected="(..., y, x)", way_out="Give an image."
        )
    # Phases of thousands of turns need double precision, which not every device has.
    z = torch.as_tensor(distance, dtype=torch.float64, device="cpu")
    if not z.numel() or not torch.isfinite(z).all():
        raise LowdoseError(
            "distance", found=distance, expected="finite numbers", way_out="Give it in metres."
        )
    if padding == "auto":
        padding = math.ceil(fringe_reach(float(z.abs().max()), wavelength, pixel_size))
    if wave.dtype in (torch.float16, torch.bfloat16):  # for which there is no complex type in the FFT
        wave = wave.float()
    padded, inside = padded_images(wave, check_padding(padding), "edge")
    double = wave.dtype in (torch.float64, torch.complex128)
    factors = []
    for side in padded.shape[-2:]:
        phase = -math.pi * wavelength * z[..., None] * torch.fft.fftfreq(side, pixel_size, dtype=z.dtype) ** 2
        factor = torch.polar(torch.ones_like(phase), phase)
        factors.append(factor.to(wave.device, torch.complex128 if double else torch.complex64))
    transfer = factors[0][..., :, None] * factors[1][..., None, :]
    result: torch.Tensor = torch.fft.ifft2(torch.fft.fft2(padded) * transfer)[inside]
    return result


def phase_contrast(
    line_integrals: ArrayT,
    *,
    distance: float,
    wavelength: float,
    pixel_size: float,
    delta_beta: float | None = None,
    phase: ArrayT | None = None,
    padding: Padding = "auto",
    device: str | torch.device = "auto",
) -> ArrayT:
    """In-line images of an object: what a detector at `distance` sees of a wave behind it.

    Monochromatic, fully coherent, thin object (the projection approximation), and the intensity at the
    pixels' centres rather than its mean over their area: project on a finer grid than the detector's and
    average afterwards. The grid must resolve the phase: less than half a turn from pixel to pixel.

    Parameters
    ----------
    line_integrals : array of shape (image, y, x)
        Line integrals of the attenuation (no unit).
    distance, wavelength, pixel_size : float
        Metres.
    delta_beta : float, optional
        delta / beta of the one material of the object: the phase is ``-delta_beta / 2`` times the line
        integrals.
    phase : array of shape (image, y, x), optional
        The phase in radians (negative in matter), for several materials. Either this or `delta_beta`.
    padding : int or "auto"
        As for `fresnel`.
    device : str or torch.device
        Where to work.

    Returns
    -------
    array of shape (image, y, x)
        Intensity, 1 in the open beam. In the kind of `line_integrals`.

    Raises
    ------
    LowdoseError
        If shapes or values do not fit, or not exactly one of `delta_beta` and `phase` is given.
    """
    check_optics(wavelength, pixel_size)
    if (delta_beta is None) == (phase is None):
        raise LowdoseError(
            "delta_beta, phase",
            found="both" if phase is not None else "neither",
            expected="exactly one",
            way_out="Give delta_beta for one material, the phase for several.",
        )
    given = check_stack("line_integrals", line_integrals, (None, None))
    if phase is not None and len(check_stack("phase", phase, (given.shape[1], given.shape[2]))) != len(given):
        raise LowdoseError(
            "images of phase", found=len(phase), expected=len(given), way_out="Give one for each image."
        )
    ratio = float(delta_beta or 0)
    if delta_beta is not None:
        positive("delta_beta", ratio, "Some 1000 for light elements in hard X-rays.")
    place = resolve_device(device)
    result = []
    for part in in_parts(given, place):
        half = to_tensor(line_integrals[part], place) / 2
        turn = -half * ratio if phase is None else to_tensor(phase[part], place)
        wave = torch.polar(torch.exp(-half), turn.to(half.dtype))
        seen = fresnel(wave, distance, wavelength, pixel_size, padding=padding)
        result.append((seen.real**2 + seen.imag**2).to(given.device))
    return like(torch.cat(result), line_integrals)


def paganin(
    images: ArrayT,
    *,
    distance: float,
    wavelength: float,
    pixel_size: float,
    delta_beta: float,
    padding: Padding = "auto",
    device: str | torch.device = "auto",
) -> ArrayT:
    """Undo propagation for an object of one material, from one distance.

    The filter in the logarithm of Paganin et al., "Simultaneous phase and amplitude extraction from a
    single defocused image of a homogeneous object", J. Microsc. 206, 33 (2002), equation 10, for a
    parallel beam: spectra are divided by ``1 + pi wavelength distance delta_beta f^2``. It follows from the
    transport-of-intensity equation, so it holds for ``wavelength distance f^2`` well below 1.

    Parameters
    ----------
    images : array of shape (angle, row, column)
        Transmission at `distance`: flat- and dark-corrected, **before** the logarithm.
    distance, wavelength, pixel_size : float
        Metres.
    delta_beta : float
        delta / beta of the material. ``beta = wavelength mu / (4 pi)`` for an attenuation mu. Larger values
        blur more: the filter halves the frequency ``1 / sqrt(pi wavelength distance delta_beta)``.
    padding : int or "auto"
        Pixels on each side by which images are continued, mirrored. 0 takes them as periodic. ``"auto"``
        takes eight times the length over which the filter's response falls by e, or all of the mirror image.
    device : str or torch.device
        Where to work.

    Returns
    -------
    array of shape (angle, row, column)
        The transmission ``exp(-mu T)`` in the object's plane, not its thickness: ``correct.minus_log``
        gives the line integrals mu T, and those divided by mu the thickness T. In the kind of `images`.

    Raises
    ------
    LowdoseError
        If shape or values do not fit, or a parameter makes no sense.
    """
    check_optics(wavelength, pixel_size)
    positive("delta_beta", delta_beta, "Some 1000 for light elements in hard X-rays.")
    if not 0 <= distance < math.inf:
        raise LowdoseError("distance", found=distance, expected="from 0 up", way_out="Give it in metres.")
    given = check_stack("images", images, (None, None))
    strength = wavelength * distance * delta_beta / math.pi
    if padding == "auto":
        padding = min(math.ceil(8 * math.sqrt(strength) / 2 / pixel_size), max(given.shape[1:]))
    pad, place = check_padding(padding), resolve_device(device)
    result = []
    for part in in_parts(given, place):
        padded, inside = padded_images(to_tensor(images[part], place), pad, "symmetric")
        height, width = padded.shape[-2:]
        # float64 on the CPU: not every device has it.
        rows = torch.fft.fftfreq(height, pixel_size, dtype=torch.float64) ** 2
        columns = torch.fft.rfftfreq(width, pixel_size, dtype=torch.float64) ** 2
        divisor = 1 + math.pi**2 * strength * (rows[:, None] + columns)
        spectra = torch.fft.rfft2(padded) / divisor.to(place, padded.dtype)
        result.append(torch.fft.irfft2(spectra, s=(height, width))[inside].to(given.device))
    return like(torch.cat(result), images)
