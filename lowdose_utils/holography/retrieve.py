"""Phase from holograms in one step, for one to four distances: Paganin's filter, and the transfer function.

Both take the sample as one material, with one ratio of delta to beta everywhere, so that the phase is
`delta_beta` times the logarithm of the amplitude. The phase is negative in matter.
"""

from __future__ import annotations

import math

import numpy.typing as npt
import torch

from lowdose_utils.device import ArrayT, like
from lowdose_utils.errors import LowdoseError
from lowdose_utils.holography.model import Model, sum_over, transfers_of

CTF_LIMITS = (1e-5, 0.2)  # of holotomo_slave and nabu
PAGANIN_LIMIT = 1e-4


def ctf(
    images: ArrayT,
    model: Model,
    *,
    limits: tuple[float, float] = CTF_LIMITS,
    shifts: npt.ArrayLike | None = None,
) -> ArrayT:
    """Phase by the contrast transfer function, linear in the phase, from all distances of the model.

    Least squares over the distances for a weak phase: ``phi = mean(s_j I_j) / (mean(2 s_j^2) + alpha)`` in
    the Fourier domain, with ``s = sin chi + cos chi / delta_beta`` (for one distance Yu et al., Opt. Express
    26, 11110, 2018, equation 8; its two-limit alpha: `Model.damping`). A model that is exact multiplies s by
    the instrument's response, and weighs the distances by their photons per area.

    Parameters
    ----------
    images : array of shape (distance, angle, row, column)
        Intensity over that of the open beam, on the grid of the first distance (`align.rescale`).
    model : Model
    limits : (float, float)
        alpha at low and at high frequencies.
    shifts : array of shape (distance, angle, 2), optional
        Where the sample lies (`align.register`), in pixels.

    Returns
    -------
    array of shape (angle, row, column)
        Radians, in the kind of `images`.

    Raises
    ------
    LowdoseError
        If shapes do not fit or values are not finite.
    """
    factors = transfers_of(model)
    strength = 2 * (factors * transfers_of(model, weighted=False)).sum(0)
    divisor = strength + model.weights.sum() * model.damping(*limits)
    found = [
        torch.fft.irfft2(sum_over(spectra, factors) / divisor, s=model.shape).cpu()
        for _, spectra in model.in_parts(images, shifts)
    ]
    return like(torch.cat(found), images)


def paganin(
    images: ArrayT,
    model: Model,
    *,
    limit: float = PAGANIN_LIMIT,
    shifts: npt.ArrayLike | None = None,
) -> ArrayT:
    """Phase by Paganin's filter, from one distance or several.

    ``(delta_beta / 2) log(sum(t_j I_j) / (sum(t_j^2) + alpha))`` in turn in the Fourier domain and out of it,
    with ``t = 1 + pi wavelength D delta_beta f^2``: for one distance the filter of `phase.paganin`, for more
    the least squares of the transport-of-intensity equation. alpha is `limit` times the number of distances.

    Parameters and errors as for `ctf`; delta_beta must be finite.
    """
    if not math.isfinite(model.delta_beta):
        raise LowdoseError(
            "delta_beta", found=model.delta_beta, expected="a finite ratio", way_out="It needs absorption."
        )
    optics = model.optics
    squared = (model.y.double() ** 2 + model.x.double() ** 2) / optics.voxel_size**2
    scale = math.pi * optics.wavelength * model.delta_beta
    terms = torch.stack([(1 + scale * distance * squared).float() for distance in optics.effective_distances])
    terms = terms * model.response
    factors = terms * model.weights
    divisor = (factors * terms).sum(0) + limit * model.weights.sum()
    found = []
    for _, spectra in model.in_parts(images, shifts):
        absorbed = torch.fft.irfft2(sum_over(spectra, factors) / divisor, s=model.shape)
        found.append((model.delta_beta / 2 * torch.log1p(absorbed.clamp_min(-0.999))).cpu())
    return like(torch.cat(found), images)
