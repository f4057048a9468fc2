"""Finite differences on the cells between the pixels: the change by one step, gradients, blur and mirrors.

Images have a batch axis in front; tensors are dictionaries of their components.
"""

from __future__ import annotations

from math import ceil

import torch

_Tensor = dict[tuple[int, int], torch.Tensor]  # upper triangle, by axes counted from 1
LONGEST_STEP = 0.5  # derived in `_change`
_DISSIPATION = 0.1  # blurs oblique edges a little; up to 1/3 it does not shorten the step


def _change(image: torch.Tensor, tensor: _Tensor | None) -> torch.Tensor:
    """``div(D grad u)`` as minus the gradient of an energy, with D (None: 1) on cells between the pixels.

    A cell has 2^d pixels at its corners and 2^(d-1) differences along each axis i, of mean m_i and variance
    v_i. Its energy is ``(m' D m + q sum_i D_ii v_i) / 2``. The first part alone would not see checkerboards;
    q = 0.1 is their share (the idea of Weickert, Welk and Wickert, "L²-stable nonstandard finite
    differences for anisotropic image diffusion", SSVM 2013). D having eigenvalues of 0 to 1, the energy is
    at least 0 and at most that of D = 1, whose largest eigenvalue is ``4 max(1, q d)``, found by Fourier
    transform: a step is stable up to ``2 / 4``.
    """
    axes = range(1, image.ndim)
    padded = _mirrored(image, 1)
    slopes = _gradient(padded)
    if tensor is None:
        tensor = {(i, j): torch.full_like(slopes[0], float(i == j)) for i in axes for j in axes if i <= j}
    change = torch.zeros_like(image)
    for axis in axes:
        flux, weight = -_DISSIPATION * tensor[axis, axis] * slopes[axis - 1], tensor[axis, axis]
        for other in axes:
            flux += tensor[min(axis, other), max(axis, other)] * slopes[other - 1]
        difference = padded.diff(dim=axis)
        for other in axes:
            if other != axis:
                flux, weight = _halfway(flux, other), _halfway(weight, other)
                difference = difference.narrow(other, 1, image.shape[other])
        flux += _DISSIPATION * weight * difference
        # Nothing flows through the border. By symmetry it is so already, but for rounding.
        flux.select(axis, 0).zero_()
        flux.select(axis, -1).zero_()
        change += flux.diff(dim=axis)
    return change


def _gradient(image: torch.Tensor) -> list[torch.Tensor]:
    """Mean differences along each axis on the cells between the pixels: one fewer than pixels."""
    slopes = []
    for axis in range(1, image.ndim):
        slope = image.diff(dim=axis)
        for other in range(1, image.ndim):
            if other != axis:
                slope = _halfway(slope, other)
        slopes.append(slope)
    return slopes


def _halfway(field: torch.Tensor, axis: int) -> torch.Tensor:
    size = field.shape[axis] - 1
    return (field.narrow(axis, 0, size) + field.narrow(axis, 1, size)) / 2


def _mirrored(image: torch.Tensor, margin: int) -> torch.Tensor:
    """Continue the image beyond its borders by mirrors at the pixels' outer faces, as often as it takes."""
    for axis in range(1, image.ndim):
        size = image.shape[axis]
        index = torch.arange(-margin, size + margin, device=image.device).remainder(2 * size)
        image = image.index_select(axis, torch.minimum(index, 2 * size - 1 - index))
    return image


def _reach(sigma: float) -> int:
    return ceil(4 * sigma)


def _blur(field: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur; the result is smaller by the kernel's reach at every border."""
    if not (reach := _reach(sigma)):
        return field
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64) / sigma) ** 2)
    for axis in range(1, field.ndim):
        size = field.shape[axis] - 2 * reach
        blurred = torch.zeros_like(field.narrow(axis, 0, size))
        for shift, weight in enumerate((weights / weights.sum()).tolist()):
            blurred += weight * field.narrow(axis, shift, size)
        field = blurred
    return field
