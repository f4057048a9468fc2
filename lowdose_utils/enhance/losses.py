"""What training makes small."""

from __future__ import annotations

import math

import numpy as np
import torch

from lowdose_utils.errors import LowdoseError
from lowdose_utils.training import Loss

TINY = 1e-12  # keeps logarithms and their gradients finite where output and target are equal


def inverse_psnr(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The loss of Yang et al. 2018, 1 / PSNR in 1/dB, for images in [0, 1].

    ``10 log10(1 + 1 / MSE)`` stands for ``10 log10(1 / MSE)``: the same where the error is small, but
    positive also for the large errors of an untrained network.

    Raises
    ------
    LowdoseError
        If the shapes differ.
    """
    return math.log(10) / 10 / torch.log1p(1 / ((_error(output, target) ** 2).mean() + TINY))


def psnr_of_each(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Minus the mean PSNR of the images, in dB (range 1).

    An image counts by the logarithm of its error, so that every noise level asks for the same relative
    improvement; a mean squared error is that of the noisiest.

    Raises
    ------
    LowdoseError
        If the shapes differ.
    """
    errors = (_error(output, target) ** 2).flatten(1).mean(1)
    return 10 * torch.log10(errors + TINY).mean()


def through_reconstruction(response: torch.Tensor, least: float = 0.25) -> Loss:
    """`psnr_of_each` of the error as the reconstruction filter lets it pass.

    Parameters
    ----------
    response : tensor of shape (frequency,)
        The reconstruction filter from 0 to half a cycle per column, at any even spacing.
    least : float
        What every frequency counts at least, the mean being 1: the filter takes out the mean of a
        projection, and without this the network's answer would drift.

    Raises
    ------
    LowdoseError
        If the response is no vector of finite numbers, is 0 everywhere, or `least` is not from 0 to 1; in
        use, if shapes differ.
    """
    if response.ndim != 1 or len(response) < 2 or not torch.isfinite(response).all() or not response.any():
        raise LowdoseError(
            "response",
            found=f"shape {tuple(response.shape)}, sum {response.sum():g}",
            expected="a vector of two or more finite numbers, not all of them 0",
            way_out="Take reconstruct.fbp.filter_response.",
        )
    if not 0 <= least <= 1:
        raise LowdoseError("least", found=least, expected="0 to 1", way_out="Leave it out.")
    frequencies, heights = np.linspace(0, 0.5, len(response)), response.detach().abs().cpu().numpy()

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        error = _error(output, target)
        columns = error.shape[-1]
        spectrum = torch.fft.rfft(error, dim=-1, norm="ortho")
        curve = np.interp(np.fft.rfftfreq(columns), frequencies, heights)
        share = np.full(len(curve), 2 / columns)  # rfft keeps one of two conjugate columns,
        share[0] = 1 / columns
        if columns % 2 == 0:
            share[-1] = 1 / columns  # but the highest frequency of an even number of columns is alone
        weight = share * (least + (1 - least) * curve / (share * curve).sum())
        power = (spectrum.real**2 + spectrum.imag**2) * torch.from_numpy(weight).to(error)
        errors = power.flatten(1).sum(1) * columns / error[0].numel()
        return 10 * torch.log10(errors + TINY).mean()

    return loss


def _error(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The difference of two equally shaped tensors."""
    if output.shape != target.shape:
        raise LowdoseError(
            "network output",
            found=f"shape {tuple(output.shape)}",
            expected=f"the target's shape {tuple(target.shape)}",
            way_out="Let the network give, or the batches hold, the same channels and size.",
        )
    return output - target
