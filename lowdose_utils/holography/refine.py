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
    support: npt.ArrayLike | None = None,
    seen: npt.ArrayLike | None = None,
) -> Refined[ArrayT]:
    """Improve the phase until propagating it gives the measured holograms.

    Each step adds what `ctf` makes of measured minus modelled intensity, ``phi += CTF^-1[I - |D exp((i + 1 /
    delta_beta) phi)|^2]``: the step of a Gauss-Newton method whose Jacobian is that of a weak phase. After
    each the phase is set to 0 where it is positive, and outside of the support. The first `registrations`
    steps also move each distance against the first by the least squares of the same difference.

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
    support : array of bool, shape ([angle,] row, column), optional
        Where there may be a sample.
    seen : array of shape (row, column), optional
        1 where the images were measured, 0 where they are not to count, such as what continues them.

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
    inside, weight = _mask("support", support, wanted), _mask("seen", seen, wanted)
    if tuple(first.shape) != wanted:
        raise LowdoseError(
            "start", found=tuple(first.shape), expected=wanted, way_out="One image for each angle."
        )
    moved = np.zeros((len(model), wanted[0], 2)) if shifts is None else np.array(shifts, np.float64)
    solver = _Solver(model, limits, registrations if len(model) > 1 else 0)
    phases, squares = [], np.zeros(iterations + 1)
    for part, spectra in model.in_parts(images, shifts):
        keep = None if inside is None else inside[part if len(inside) > 1 else slice(None)].to(model.device)
        phase, more, power = solver.run(
            spectra, first[part].to(model.device, torch.float32), iterations, keep, weight
        )
        phases.append(phase.cpu())
        moved[:, part] += more
        squares += power
    counted = given[0].numel() if weight is None else float(weight.sum()) * wanted[0]
    misfit = np.sqrt(squares / (len(model) * counted))
    return Refined(like(torch.cat(phases), images), moved, misfit)


def _mask(name: str, given: npt.ArrayLike | None, shape: tuple[int, ...]) -> torch.Tensor | None:
    """A mask (1 or angle, row, column) of 0 and 1."""
    if given is None:
        return None
    mask = torch.from_numpy(np.asarray(given, np.float32))
    mask = mask[None] if mask.ndim == 2 else mask
    if tuple(mask.shape) not in (shape, (1, *shape[1:])):
        raise LowdoseError(
            name, found=f"shape {tuple(mask.shape)}", expected=shape[1:], way_out="One value for each pixel."
        )
    return mask


class _Solver:
    """The steps for a few angles at a time."""

    def __init__(self, model: Model, limits: tuple[float, float], registrations: int) -> None:
        self.model, self.registrations = model, registrations
        self.propagators = model.propagators()
        self.factors = transfers_of(model)
        strength = 2 * (self.factors * transfers_of(model, weighted=False)).sum(0)
        self.divisor = strength + model.weights.sum() * model.damping(*limits)

    def run(
        self,
        spectra: torch.Tensor,
        phase: torch.Tensor,
        iterations: int,
        support: torch.Tensor | None,
        seen: torch.Tensor | None,
    ) -> tuple[torch.Tensor, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        moved = torch.zeros((*spectra.shape[:2], 2), dtype=torch.float64)
        power = np.zeros(iterations + 1)
        phase = self._allowed(phase, support)
        for number in range(iterations + 1):
            modelled = self._modelled(phase)
            if number < min(self.registrations, iterations):
                step = self._shifts(spectra - modelled, modelled)
                spectra = self.model.moved(spectra, -step)
                moved += step.cpu()
            rest = spectra - modelled
            if seen is not None:
                there = seen.to(rest.device)
                rest = torch.fft.rfft2(torch.fft.irfft2(rest, s=self.model.shape) * there)
            pixels = self.model.shape[0] * self.model.shape[1]
            power[number] = float((rest.abs() ** 2 * self.model.count).sum(dtype=torch.float64)) / pixels
            if number == iterations:
                break
            step = torch.fft.irfft2(sum_over(rest, self.factors) / self.divisor, s=self.model.shape)
            phase = self._allowed(phase + step, support)
        return phase, moved.numpy(), power

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

    @staticmethod
    def _allowed(phase: torch.Tensor, support: torch.Tensor | None) -> torch.Tensor:
        phase = phase.clamp_max(0)
        return phase if support is None else phase * support
