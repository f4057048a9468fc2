"""Phase of single holograms by the true gradient: for strong phases, incomplete fields, and supports."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from lowdose_utils.device import Array
from lowdose_utils.errors import LowdoseError
from lowdose_utils.holography.model import Model, transfers_of
from lowdose_utils.holography.retrieve import ctf

DESCEND_LIMITS = (1e-2, 0.2)
SHORTEST = 1e-3  # of a step

Floats = npt.NDArray[np.float32]


class Descended(NamedTuple):
    """What `descend` found.

    Attributes
    ----------
    phase : array of shape (row, column)
        Radians.
    modelled : array of shape (distance, row, column)
        Intensities that it makes.
    misfit, left_out : array of shape (step + 1,)
        Root mean square of measured minus modelled intensity over the pixels that count, and over those
        left out (nan without); fewer steps than asked for where none goes down any more.
    """

    phase: Floats
    modelled: Floats
    misfit: npt.NDArray[np.float64]
    left_out: npt.NDArray[np.float64]


def descend(
    images: Array,
    model: Model,
    *,
    start: npt.ArrayLike | None = None,
    iterations: int = 30,
    limits: tuple[float, float] = DESCEND_LIMITS,
    support: npt.ArrayLike | None = None,
    seen: npt.ArrayLike | None = None,
    left_out: npt.ArrayLike | None = None,
) -> Descended:
    """Least squares of measured minus modelled intensity over the phase of one projection.

    Projected gradient descent with Nesterov's momentum, which is dropped where it leads up. The gradient is
    exact (Maretzke et al., Opt. Express 24, 6490, 2016), scaled by the inverse of the weak-phase normal
    matrix; a support is put on both sides of that scaling, so that steps within it go down.

    Parameters
    ----------
    images : array of shape (distance, row, column)
        Intensity over that of the open beam. Continue them at the border (``numpy.pad``, mode "edge") by as
        much as waves may come from outside of the field, and say in `seen` what was measured.
    model : Model
        For the padded shape.
    start : array of shape (row, column), optional
        That of `retrieve.ctf` with the same limits by default.
    iterations : int
        Steps at most.
    limits : (float, float)
        See `Model.damping`: larger values make shorter steps where the hologram says little. Where to stop
        matters more: with a parameter for each pixel, noise can be fitted exactly.
    support : array of bool, shape (row, column), optional
        Where there may be a sample.
    seen, left_out : array of bool, shape (row, column), optional
        Measured pixels (default: all), and those of them that must not be used, to judge the rest by.

    Raises
    ------
    LowdoseError
        If shapes do not fit, or no pixel is left to fit.
    """
    stack = model.checked(np.asarray(images)[:, None])[:, 0].to(model.device, torch.float32)
    shape, place = model.shape, model.device

    def mask(name: str, given: npt.ArrayLike | None, default: float) -> torch.Tensor:
        if given is None:
            return torch.full(shape, default, device=place)
        found = torch.from_numpy(np.asarray(given, np.float32)).to(place)
        if tuple(found.shape) != shape:
            raise LowdoseError(name, found=tuple(found.shape), expected=shape, way_out="One for each pixel.")
        return found

    measured, apart = mask("seen", seen, 1.0), mask("left_out", left_out, 0.0)
    inside, apart = mask("support", support, 1.0), apart * measured
    used = measured * (1 - apart)
    if iterations < 0 or not used.any() or not inside.any():
        raise LowdoseError(
            "iterations, seen, left_out, support",
            found=f"{iterations}, {int(used.sum())} pixels to fit, {int(inside.sum())} in the support",
            expected="from 0, and some of both",
            way_out="Masks are true where a pixel belongs to them.",
        )
    first = (
        ctf(_filled(stack, 1 - apart)[:, None], model, limits=limits)[0]
        if start is None
        else torch.tensor(np.asarray(start))
    )
    solver = _Descent(stack, model, limits, used, inside)
    phase = old = first.to(place, torch.float32).clamp_max(0) * inside
    at, momentum, share = solver.look(phase), 1.0, 1.0
    ahead, ahead_at = phase, at
    misfits, others = [at.square], [_square(at.rest_all, apart)]
    for _ in range(iterations):
        step = solver.step(ahead_at)
        while True:
            new = (ahead + share * step).clamp_max(0)
            new_at = solver.look(new)
            if new_at.square <= ahead_at.square or share < SHORTEST:
                break
            share /= 2
        if new_at.square > misfits[-1]:
            if momentum == 1.0:
                break
            momentum, ahead, ahead_at = 1.0, phase, at
            continue
        old, phase, at = phase, new, new_at
        misfits.append(at.square)
        others.append(_square(at.rest_all, apart))
        following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        ahead = (phase + (momentum - 1) / following * (phase - old)).clamp_max(0)
        ahead_at, momentum, share = solver.look(ahead), following, min(1.0, 1.3 * share)
    counts = [len(stack) * max(float(one.sum()), 1e-30) for one in (used, apart)]
    empty = not bool(apart.any())
    return Descended(
        phase.cpu().numpy(),
        (stack - at.rest_all).cpu().numpy(),
        np.sqrt(np.array(misfits) / counts[0]),
        np.full(len(others), np.nan) if empty else np.sqrt(np.array(others) / counts[1]),
    )


def _filled(images: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Images whose pixels that are not kept are means of those around them that are."""

    def mean(stack: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(stack, 5, 1, 2, count_include_pad=False)

    around = mean((images * kept)[:, None])[:, 0] / mean(kept[None, None])[:, 0].clamp_min(1e-6)
    return torch.where(kept > 0, images, around)


def _square(rest: torch.Tensor, where: torch.Tensor) -> float:
    return float((rest**2 * where).sum(dtype=torch.float64))


class _Look(NamedTuple):
    """One phase seen: wave behind the sample, waves at the detector, all differences, and their square."""

    wave: torch.Tensor
    there: torch.Tensor
    rest_all: torch.Tensor
    square: float


class _Descent:
    """The least-squares problem of one projection."""

    def __init__(
        self,
        images: torch.Tensor,
        model: Model,
        limits: tuple[float, float],
        used: torch.Tensor,
        support: torch.Tensor,
    ) -> None:
        self.images, self.model, self.used, self.support = images, model, used, support
        self.propagators = model.propagators()
        factors = transfers_of(model)
        strength = 2 * (factors * transfers_of(model, weighted=False)).sum(0)
        self.divisor = strength + model.weights.sum() * model.damping(*limits)

    def look(self, phase: torch.Tensor) -> _Look:
        wave = torch.polar(torch.exp(phase / self.model.delta_beta), phase)
        there = torch.fft.ifft2(torch.fft.fft2(wave - 1) * self.propagators) + 1
        seen = torch.fft.rfft2(there.real**2 + there.imag**2 - 1) * self.model.response
        rest = self.images - 1 - torch.fft.irfft2(seen, s=self.model.shape)
        return _Look(wave, there, rest, _square(rest, self.used))

    def step(self, at: _Look) -> torch.Tensor:
        """Downhill: the adjoint of the derivative, applied to the differences, in the weak-phase metric."""
        rest = torch.fft.rfft2(at.rest_all * self.used) * self.model.response
        weighed = torch.fft.irfft2(rest, s=self.model.shape)
        back = torch.fft.fft2(at.there * weighed) * self.propagators.conj() * self.model.weights
        turn = 1j + 1 / self.model.delta_beta
        slope = (torch.fft.ifft2(back.sum(0)) * torch.conj(at.wave * turn)).real * self.support
        scaled = torch.fft.irfft2(torch.fft.rfft2(slope) / self.divisor, s=self.model.shape)
        found: torch.Tensor = scaled * self.support
        return found
