"""Phase beyond the weak-phase approximation: Gauss-Newton steps preconditioned by the transfer function."""

from __future__ import annotations

import math
from typing import Generic, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from lowdose_utils.device import ArrayT, as_tensor, like
from lowdose_utils.errors import LowdoseError
from lowdose_utils.holography.model import Model, sum_over, transfers_of
from lowdose_utils.holography.retrieve import ctf

REFINE_LIMITS = (1e-5, 2.0)


class Refined(NamedTuple, Generic[ArrayT]):
    """What `refine` found.

    Attributes
    ----------
    phase : array of shape (angle, row, column)
        Radians.
    shifts : array of shape (distance, angle, 2)
        Where the sample lies against the first distance, in pixels: those given, and what was added.
    misfit : array of shape (iteration + 1,)
        Root mean square of measured minus modelled intensity, before each step and at the end.
    """

    phase: ArrayT
    shifts: npt.NDArray[np.float64]
    misfit: npt.NDArray[np.float64]


def refine(
    images: ArrayT,
    model: Model,
    *,
    start: ArrayT | None = None,
    iterations: int = 4,
    limits: tuple[float, float] = REFINE_LIMITS,
    shifts: npt.ArrayLike | None = None,
    registrations: int = 2,
) -> Refined[ArrayT]:
    """Improve the phase until propagating it gives the measured holograms.

    Each step adds what `ctf` makes of measured minus modelled intensity, ``phi += CTF^-1[I - |D exp((i + 1 /
    delta_beta) phi)|^2]``: the step of a Gauss-Newton method whose Jacobian is that of a weak phase. After
    each the phase is set to 0 where it is positive; a step that makes the difference larger is taken back
    and tried at half its length. The first `registrations` steps also move each distance against the first
    by the least squares of the same difference. A single distance, an incomplete field or a strong phase
    ask for the true gradient: see `descend`.

    Parameters
    ----------
    images, model, shifts
        As for `retrieve.ctf`.
    start : array of shape (angle, row, column), optional
        That of `retrieve.ctf` by default.
    iterations : int
        Steps; they converge in some three.
    limits : (float, float)
        alpha at low and high frequencies, see `retrieve.ctf`. As the steps are repeated it does not bias what
        the data determine; it slows down what they hardly do.
    registrations : int
        At how many of the first steps the distances are registered again; 0 for one distance.

    Returns
    -------
    Refined

    Raises
    ------
    LowdoseError
        If shapes do not fit or values are not finite.
    """
    if iterations < 0 or registrations < 0:
        raise LowdoseError(
            "iterations, registrations",
            found=(iterations, registrations),
            expected="whole numbers from 0",
            way_out="4 and 2.",
        )
    first = as_tensor(ctf(images, model, shifts=shifts) if start is None else start)
    given = model.checked(images)
    wanted = (given.shape[1], *model.shape)
    if tuple(first.shape) != wanted:
        raise LowdoseError(
            "start", found=tuple(first.shape), expected=wanted, way_out="One image for each angle."
        )
    moved = np.zeros((len(model), wanted[0], 2)) if shifts is None else np.array(shifts, np.float64)
    solver = _Solver(model, limits, registrations if len(model) > 1 else 0)
    phases, squares = [], np.zeros(iterations + 1)
    for part, spectra in model.in_parts(images, shifts):
        phase, more, power = solver.run(spectra, first[part].to(model.device, torch.float32), iterations)
        phases.append(phase.cpu())
        moved[:, part] += more
        squares += power
    misfit = np.sqrt(squares / given.numel())
    return Refined(like(torch.cat(phases), images), moved, misfit)


class _Solver:
    """The steps for a few angles at a time."""

    def __init__(self, model: Model, limits: tuple[float, float], registrations: int) -> None:
        self.model, self.registrations = model, registrations
        self.propagators = model.propagators()
        self.factors = transfers_of(model)
        strength = 2 * (self.factors * transfers_of(model, weighted=False)).sum(0)
        self.divisor = strength + model.weights.sum() * model.damping(*limits)

    def run(
        self, spectra: torch.Tensor, phase: torch.Tensor, iterations: int
    ) -> tuple[torch.Tensor, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        moved = torch.zeros((*spectra.shape[:2], 2), dtype=torch.float64)
        power = np.zeros(iterations + 1)
        phase = best = phase.clamp_max(0)
        least = torch.full(phase.shape[:1], math.inf, dtype=torch.float64, device=phase.device)
        share, step = torch.ones_like(least), torch.zeros_like(phase)
        for number in range(iterations + 1):
            modelled = self._modelled(phase)
            if number < min(self.registrations, iterations):
                by = self._shifts(spectra - modelled, modelled)
                spectra = self.model.moved(spectra, -by)
                moved += by.cpu()
            rest = spectra - modelled
            found = (rest.abs() ** 2 * self.model.count).sum((0, 2, 3), dtype=torch.float64)
            # Where a step made it worse, go back and try half of it; where not, go on from there.
            better = found <= least
            least, share = torch.where(better, found, least), torch.where(better, share, share / 2)
            best = torch.where(better[:, None, None], phase, best)
            power[number] = float(least.sum()) / (self.model.shape[0] * self.model.shape[1])
            if number == iterations:
                break
            new = torch.fft.irfft2(sum_over(rest, self.factors) / self.divisor, s=self.model.shape)
            step = torch.where(better[:, None, None], new, step)
            phase = (best + share.to(step.dtype)[:, None, None] * step).clamp_max(0)
        return best, moved.numpy(), power

    def _modelled(self, phase: torch.Tensor) -> torch.Tensor:
        """Spectra (distance, angle, ...) of the intensities less 1, as the instrument would see them."""
        scattered = torch.polar(torch.exp(phase / self.model.delta_beta), phase) - 1
        wave = torch.fft.fft2(scattered)
        found = []
        for propagator, response in zip(self.propagators, self.model.response, strict=True):
            there = torch.fft.ifft2(wave * propagator)
            # |1 + s|^2 - 1: small numbers stay exact in single precision.
            change = (2 + there.real) * there.real + there.imag**2
            found.append(torch.fft.rfft2(change) * response)
        return torch.stack(found)

    def _shifts(self, rest: torch.Tensor, modelled: torch.Tensor) -> torch.Tensor:
        """By how much (distance, angle, 2) the measured images lie off the modelled ones: least squares."""
        count, axes = self.model.count, (self.model.y, self.model.x)
        slopes = [modelled * axis for axis in axes]  # times -2 pi i: derivatives by a shift
        normal = torch.stack(
            [
                torch.stack(
                    [((a.conj() * b).real * count).sum((-2, -1), dtype=torch.float64) for b in slopes], -1
                )
                for a in slopes
            ],
            -2,
        )
        right = torch.stack(
            [((a.conj() * rest).imag * count).sum((-2, -1), dtype=torch.float64) for a in slopes], -1
        )
        # An image without structure has no shift.
        normal = normal + 1e-9 * torch.eye(2, dtype=normal.dtype, device=normal.device) * (
            normal.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None] + 1e-30
        )
        found = -torch.linalg.solve(normal, right[..., None])[..., 0] / (2 * math.pi)
        moves: torch.Tensor = (found - found[:1]).clamp(-2, 2)
        return moves
