"""Total-variation reconstruction, run until it has converged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic

import numpy as np
import numpy.typing as npt
import torch

from lowdose_utils.device import ArrayT, like
from lowdose_utils.errors import LowdoseError
from lowdose_utils.reconstruct.normal import (
    Normal,
    NormalOperator,
    Problem,
    ToeplitzNormal,
    check_iterations,
    per_slice,
)

# Conjugate gradients end sooner, when the residual has lost a factor of ten: two or three steps do it.
_INNER = 10
# The coupling is let alone after so many iterations, else convergence is not certain.
_BALANCED = 50


@dataclass(frozen=True)
class TotalVariation(Generic[ArrayT]):
    """What `tv_min` found, and how far it came.

    Attributes
    ----------
    images : array of shape (slice, y, x)
        The reconstruction.
    iterations : int
        Outer iterations of the slice that took longest.
    change : float
        The largest, over slices, of the quantity that `tolerance` bounds.
    objective : array of shape (slice,)
        The value of what was minimised.
    converged : bool
        Whether `change` came below `tolerance` in time.
    """

    images: ArrayT
    iterations: int
    change: float
    objective: npt.NDArray[np.float64]
    converged: bool


def tv_min(
    sinograms: ArrayT,
    angles: npt.ArrayLike,
    weight: float,
    *,
    size: int | None = None,
    axis: float | None = None,
    pixel_size: float = 1.0,
    iterations: int = 200,
    tolerance: float = 1e-3,
    normal: Normal = "toeplitz",
    callback: Callable[[int, float], None] | None = None,
    device: str | torch.device = "auto",
) -> TotalVariation[ArrayT]:
    """Least squares with isotropic total variation.

    Minimises ``|A x - b|^2 / (2 angles) + weight TV(x)`` for every slice, x being attenuation per pixel and
    TV the sum over pixels of the length of the forward differences. Division by the number of angles makes
    one weight fit scans with few and many angles.

    Split Bregman, that is ADMM (Goldstein and Osher, SIAM J. Imaging Sci. 2 (2009)), with over-relaxation and
    residual balancing (Boyd et al., Found. Trends Mach. Learn. 3 (2011), sections 3.4.1 and 3.4.3). The
    quadratic step is solved by conjugate gradients; A'A is nearly a convolution, whose inverse (a ramp) is
    the preconditioner, in the circulant form of T. Chan, SIAM J. Sci. Stat. Comput. 9 (1988).

    Parameters
    ----------
    sinograms : array of shape (slice, angle, column)
        Line integrals.
    angles : array of shape (angle,)
        In radians.
    weight : float
        Of the total variation; positive.
    size, axis, pixel_size, device : optional
        As for `fbp`. `weight` always refers to attenuation per pixel.
    iterations : int
        At most so many outer iterations.
    tolerance : float
        Stop when the relative change of the image, and the relative misfit between its differences and their
        shrunken copy, are both less.
    normal : {"toeplitz", "exact"}
        How A'A is computed. ``"toeplitz"`` is quick and takes the object to lie within the detector's field;
        ``"exact"`` is for interior tomography.
    callback : callable, optional
        Called with the iteration and the quantity that `tolerance` bounds.

    Raises
    ------
    LowdoseError
        If shapes, values or options are wrong.
    """
    if not weight > 0 or not tolerance > 0:
        raise LowdoseError(
            "weight, tolerance",
            found=(weight, tolerance),
            expected="positive numbers",
            way_out="For no total variation at all use cgls.",
        )
    check_iterations(iterations)
    problem = Problem(
        sinograms, angles, size=size, axis=axis, pixel_size=pixel_size, normal=normal, device=device
    )
    projector = problem.projector
    operator = problem.normal()
    spread = operator.spread if isinstance(operator, ToeplitzNormal) else ToeplitzNormal(projector).spread
    views = len(projector.angles)
    solver = _Solver(operator, spread, views, weight)

    start, data = problem.fbp(), projector.adjoint(problem.sinograms) / views
    chunk = max(1, 2**18 // projector.size**2) if projector.device.type == "cpu" else len(start)
    runs = [
        solver.run(start[i : i + chunk], data[i : i + chunk], iterations, tolerance, callback)
        for i in range(0, len(start), chunk)
    ]
    images = torch.cat([run[0] for run in runs])
    misfit = (projector.forward(images) - problem.sinograms).double()
    objective = (misfit**2).flatten(1).sum(dim=1) / (2 * views) + weight * total_variation(images)
    change = max(run[2] for run in runs)
    return TotalVariation(
        images=like(images / pixel_size, sinograms),
        iterations=max(run[1] for run in runs),
        change=change,
        objective=objective.cpu().numpy(),
        converged=change < tolerance,
    )


class _Solver:
    """ADMM on ``x' M x / 2 - data' x + weight |D x|``, with M = A'A / views and D the forward differences."""

    def __init__(self, operator: NormalOperator, spread: torch.Tensor, views: int, weight: float) -> None:
        self.operator, self.views, self.weight = operator, views, weight
        self.size = (len(spread) + 1) // 2
        # T. Chan's circulant: each diagonal of the matrix becomes its mean over a full turn.
        place = torch.arange(2 * self.size - 1, device=spread.device) - (self.size - 1)
        share = (1 - place.abs() / self.size).to(spread.dtype)
        folded = torch.zeros((self.size, self.size), dtype=spread.dtype, device=spread.device)
        rows, columns = torch.meshgrid(place % self.size, place % self.size, indexing="ij")
        folded.index_put_((rows, columns), spread * share[:, None] * share / views, accumulate=True)
        self.ramp = torch.fft.rfft2(folded).real.clamp(min=0)
        turn = 2 * torch.pi * torch.arange(self.size, device=spread.device, dtype=spread.dtype) / self.size
        laplace = 2 - 2 * torch.cos(turn)
        self.laplace = laplace[:, None] + laplace[: self.size // 2 + 1]

    def run(
        self,
        x: torch.Tensor,
        data: torch.Tensor,
        iterations: int,
        tolerance: float,
        callback: Callable[[int, float], None] | None,
    ) -> tuple[torch.Tensor, int, float]:
        """Images, iterations and last change."""
        steps = differences(x)
        split = steps.clone()
        multiplier = torch.zeros_like(steps)
        penalty = 3 * self.weight / steps.abs().mean(dim=(1, 2, 3)).clamp(min=1e-12).view(-1, 1, 1)
        change, iteration = float("inf"), 0
        while iteration < iterations and change >= tolerance:
            iteration += 1
            before, split_before = x, split
            target = data + penalty * differences_adjoint(split - multiplier)
            x = self._solve(x, target, penalty)
            steps = differences(x)
            relaxed = 1.7 * steps - 0.7 * split
            split = shrink(relaxed + multiplier, self.weight / penalty[:, None])
            multiplier = multiplier + relaxed - split
            moved = _ratio(x - before, x)
            misfit = _ratio(steps - split, steps)
            drift = _ratio(split - split_before, multiplier)
            change = float(torch.maximum(moved, misfit).max())
            if iteration <= _BALANCED:
                # A stiffer coupling lessens the misfit, a looser one the drift, which matters less.
                factor = (4 * misfit / drift.clamp(min=1e-30)).sqrt().clamp(0.5, 2).view(-1, 1, 1)
                factor = torch.where((factor > 1.5) | (factor < 1 / 1.5), factor, 1.0)
                penalty = penalty * factor
                multiplier = multiplier / factor[:, None]
            if callback is not None:
                callback(iteration, change)
        return x, iteration, change

    def _solve(self, x: torch.Tensor, target: torch.Tensor, penalty: torch.Tensor) -> torch.Tensor:
        """Conjugate gradients for ``(M + penalty D'D) x = target`` from x on."""
        inverse = 1 / (self.ramp + penalty * self.laplace).clamp(min=1e-20)

        def apply(image: torch.Tensor) -> torch.Tensor:
            return self.operator(image) / self.views + penalty * differences_adjoint(differences(image))

        def precondition(image: torch.Tensor) -> torch.Tensor:
            smooth: torch.Tensor = torch.fft.irfft2(torch.fft.rfft2(image) * inverse, s=image.shape[1:])
            return smooth

        residual = target - apply(x)
        better = precondition(residual)
        direction, power = better, per_slice(residual, better)
        enough = power * 1e-2
        for _ in range(_INNER):
            image = apply(direction)
            step = power / per_slice(direction, image).clamp(min=1e-30)
            x = x + step * direction
            residual = residual - step * image
            better = precondition(residual)
            power_before, power = power, per_slice(residual, better)
            if bool((power <= enough).all()):
                break
            direction = better + power / power_before.clamp(min=1e-30) * direction
        return x


def differences(images: torch.Tensor) -> torch.Tensor:
    """Forward differences (slice, 2, y, x) downwards and to the right, zero across the border."""
    result = images.new_zeros((len(images), 2, *images.shape[1:]))
    torch.sub(images[:, 1:], images[:, :-1], out=result[:, 0, :-1])
    torch.sub(images[:, :, 1:], images[:, :, :-1], out=result[:, 1, :, :-1])
    return result


def differences_adjoint(steps: torch.Tensor) -> torch.Tensor:
    """The transpose of `differences`."""
    result = torch.zeros_like(steps[:, 0])
    result[:, :-1] -= steps[:, 0, :-1]
    result[:, 1:] += steps[:, 0, :-1]
    result[:, :, :-1] -= steps[:, 1, :, :-1]
    result[:, :, 1:] += steps[:, 1, :, :-1]
    return result


def shrink(steps: torch.Tensor, threshold: torch.Tensor) -> torch.Tensor:
    """Shorten each pixel's difference vector by `threshold`."""
    length = torch.linalg.vector_norm(steps, dim=1, keepdim=True)
    return torch.mul(steps, (1 - threshold / length.clamp(min=1e-30)).clamp(min=0))


def total_variation(images: torch.Tensor) -> torch.Tensor:
    """Isotropic total variation (slice,) in float64."""
    lengths: torch.Tensor = torch.linalg.vector_norm(differences(images).double(), dim=1)
    return lengths.sum(dim=(1, 2))


def _ratio(part: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """Norm of `part` relative to that of `whole`, for each slice."""
    norms = [torch.linalg.vector_norm(stack.flatten(1), dim=1) for stack in (part, whole)]
    return torch.div(norms[0], norms[1].clamp(min=1e-30))
