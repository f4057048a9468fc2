"""What training makes small."""

from __future__ import annotations

import math

import torch

from lowdose_utils.training import Loss


def inverse_psnr(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The loss of Yang et al. 2018, 1 / PSNR in 1/dB, for images in [0, 1].

    ``10 log10(1 + 1 / MSE)`` stands for ``10 log10(1 / MSE)``: the same where the error is small, but
    positive also for the large errors of an untrained network.
    """
    return math.log(10) / 10 / torch.log1p(1 / ((output - target) ** 2).mean())


def psnr_of_each(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Minus the mean PSNR of the images, in dB (range 1).

    An image counts by the logarithm of its error, so that every noise level asks for the same relative
    improvement; a mean squared error is that of the noisiest.
    """
    errors = ((output - target) ** 2).flatten(1).mean(1)
    return 10 * torch.log10(errors + 1e-12).mean()


def through_reconstruction(response: torch.Tensor, least: float = 0.25) -> Loss:
    """`psnr_of_each` of the error as the reconstruction filter lets it pass.

    Parameters
    ----------
    response : tensor of shape (frequency,)
        The reconstruction filter from 0 to half a cycle per column, at any even spacing.
    least : float
        What every frequency counts at least, the mean being 1: the filter takes out the mean of a
        projection, and without this the network's answer would drift.
    """

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        error = output - target
        spectrum = torch.fft.rfft(error, dim=-1, norm="ortho")
        weight = torch.nn.functional.interpolate(
            response[None, None].to(error), size=spectrum.shape[-1], mode="linear", align_corners=True
        )[0, 0].abs()
        weight = least + (1 - least) * weight / weight.mean()
        power = (spectrum.real**2 + spectrum.imag**2) * weight
        power[..., 1:-1] *= 2  # rfft keeps one of two conjugate columns
        errors = power.flatten(1).sum(1) / error[0].numel()
        return 10 * torch.log10(errors + 1e-12).mean()

    return loss
