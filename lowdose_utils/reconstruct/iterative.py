"""Least-squares reconstruction: SIRT and conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable

import numpy.typing as npt
import torch

from lowdose_utils.device import ArrayT, like
from lowdose_utils.reconstruct.normal import Normal, Problem, check_iterations, per_slice

Progress = Callable[[int, float], None]


def sirt(
    sinograms: ArrayT,
    angles: npt.ArrayLike,
    *,
    iterations: int = 100,
    size: int | None = None,
    axis: float | None = None,
    pixel_size: float = 1.0,
    nonnegative: bool = False,
    callback: Progress | None = None,
    device: str | torch.device = "auto",
) -> ArrayT:
    """Simultaneous iterative reconstruction from an empty image.

    ``x += C A' R (b - A x)``, with R and C one over the sums of A's rows and columns (Gregor and Benson, IEEE
    Trans. Med. Imaging 27 (2008), equation 3): gradient descent that weighs rays by one over their length.

    Parameters
    ----------
    sinograms, angles, size, axis, pixel_size, device
        As for `fbp`.
    iterations : int
        How many.
    nonnegative : bool
        Set negative values to zero after each iteration.
    callback : callable, optional
        Called before each iteration with its number and the residual ``|b - A x|`` over ``|b|``.

    Returns
    -------
    array of shape (slice, size, size)

    Raises
    ------
    LowdoseError
        If shapes, angles or values are wrong.
    """
    check_iterations(iterations)
    problem = Problem(sinograms, angles, size=size, axis=axis, pixel_size=pixel_size, device=device)
    projector = problem.projector
    data: torch.Tensor = problem.sinograms
    ones = data.new_ones((1, projector.size, projector.size))
    # Rays that graze a corner would weigh without bound: they count as one pixel long.
    rows = 1 / projector.forward(ones).clamp(min=1)
    columns = 1 / projector.adjoint(data.new_ones((1, *data.shape[1:]))).clamp(min=1)
    x = data.new_zeros((len(data), projector.size, projector.size))
    for iteration in range(1, iterations + 1):
        residual = data - projector.forward(x)
        if callback is not None:
            callback(iteration, float(residual.norm() / data.norm().clamp(min=1e-30)))
        x += columns * projector.adjoint(rows * residual)
        if nonnegative:
            x.clamp_(min=0)
    return like(x / pixel_size, sinograms)


def cgls(
    sinograms: ArrayT,
    angles: npt.ArrayLike,
    *,
    iterations: int = 20,
    size: int | None = None,
    axis: float | None = None,
    pixel_size: float = 1.0,
    normal: Normal = "exact",
    callback: Progress | None = None,
    device: str | torch.device = "auto",
) -> ArrayT:
    """Least squares by conjugate gradients on the normal equations, from an empty image.

    Noise comes back with further iterations: their number is the regularisation (Hansen, "Discrete Inverse
    Problems", 2010, section 6.3).

    Parameters
    ----------
    sinograms, angles, size, axis, pixel_size, device
        As for `fbp`.
    iterations : int
        How many.
    normal : {"exact", "toeplitz"}
        ``"toeplitz"`` is several times faster for objects that lie within the detector's field: see `tv_min`.
    callback : callable, optional
        Called after each iteration with its number and ``|A'(b - A x)|`` over ``|A'b|``.

    Returns
    -------
    array of shape (slice, size, size)

    Raises
    ------
    LowdoseError
        If shapes, angles, values or options are wrong.
    """
    check_iterations(iterations)
    problem = Problem(
        sinograms, angles, size=size, axis=axis, pixel_size=pixel_size, normal=normal, device=device
    )
    operator = problem.normal()
    residual = problem.projector.adjoint(problem.sinograms)
    x, direction = torch.zeros_like(residual), residual
    power = first = per_slice(residual, residual)
    for iteration in range(1, iterations + 1):
        image = operator(direction)
        step = power / per_slice(direction, image).clamp(min=1e-30)
        x = x + step * direction
        residual = residual - step * image
        power, before = per_slice(residual, residual), power
        direction = residual + power / before.clamp(min=1e-30) * direction
        if callback is not None:
            callback(iteration, float((power.sum() / first.sum().clamp(min=1e-30)).sqrt()))
    return like(x / pixel_size, sinograms)
