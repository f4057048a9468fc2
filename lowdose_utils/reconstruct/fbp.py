"""Filtered back-projection by gridding."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch

from lowdose_utils.device import ArrayT, like
from lowdose_utils.errors import LowdoseError
from lowdose_utils.project import Projector, check_angles, check_stack

Filter = Literal["ramp", "shepp-logan", "cosine", "hann", "parzen", "parzen-gridrec"]
Backend = Literal["torch", "tomopy"]


def fbp(
    sinograms: ArrayT,
    angles: npt.ArrayLike,
    *,
    size: int | None = None,
    axis: float | None = None,
    filter: Filter | None = "ramp",
    pixel_size: float = 1.0,
    kernel_width: int = 4,
    padding: float = 2.0,
    device: str | torch.device = "auto",
    backend: Backend = "torch",
) -> ArrayT:
    """Reconstruct slices from parallel-beam sinograms.

    The filter is the sampled ramp of Ramachandran and Lakshminarayanan (Kak and Slaney 1988, equation
    3.61), which unlike a ramp drawn in the Fourier domain has the right mean, times a window. Angles may be
    spaced unevenly or come in any order: see `angular_weights`.

    Parameters
    ----------
    sinograms : array of shape (slice, angle, column)
        Line integrals (-log of transmission).
    angles : array of shape (angle,)
        In radians.
    size : int, optional
        Side of the slices in pixels; the number of columns by default.
    axis : float, optional
        Detector column of the rotation axis; the middle by default.
    filter : {"ramp", "shepp-logan", "cosine", "hann", "parzen", "parzen-gridrec"} or None
        Window on the ramp, from sharp to smooth. None leaves the filter out, ramp included.
        ``"parzen-gridrec"`` is what TomoPy's gridrec calls Parzen, ``(1 - 2 |f|)**3``; ``"parzen"`` is the
        window of that name elsewhere, which lets 1.8 times more noise through (standard deviation).
    pixel_size : float
        Width of a detector column, in metres for attenuation in 1/m. 1 gives attenuation per pixel.
    kernel_width, padding : optional
        Accuracy of the gridding: see `Projector`. 3 and 1.5 save a fifth of the time, at 57 dB instead of 78.
    device : str or torch.device
        Where to work.
    backend : {"torch", "tomopy"}
        ``"tomopy"`` runs TomoPy's gridrec on the CPU instead, as a cross-check.

    Returns
    -------
    array of shape (slice, size, size)
        Attenuation, in the same kind of array as `sinograms`. The corners outside the circle that every
        projection sees are extrapolation.

    Raises
    ------
    LowdoseError
        If shapes, angles, names or values are wrong, or TomoPy is asked for and missing.
    """
    theta = check_angles(angles)
    given = check_stack("sinograms", sinograms, (len(theta), None))
    columns = given.shape[2]
    size = columns if size is None else size
    check_choice("backend", backend, get_args(Backend))
    if not pixel_size > 0:
        raise LowdoseError(
            "pixel_size", found=pixel_size, expected="a positive length", way_out="Use metres."
        )
    weights = angular_weights(theta)
    if backend == "tomopy":
        from lowdose_utils.reconstruct.tomopy_backend import gridrec

        return gridrec(sinograms, theta, weights, size=size, axis=axis, filter=filter, pixel_size=pixel_size)
    projector = Projector(
        theta,
        size,
        columns=columns,
        axis=axis,
        kernel_width=kernel_width,
        padding=padding,
        device=device,
        dtype=torch.float64 if given.dtype == torch.float64 and given is sinograms else torch.float32,
    )
    response = filter_response(projector.period, filter) / pixel_size
    return like(projector.backproject(given, response=response, weights=weights), sinograms)


def filter_response(period: int, filter: Filter | None) -> npt.NDArray[np.float64]:
    """The filter at the frequencies of ``rfft`` of length `period`, per column.

    Raises
    ------
    LowdoseError
        If the name is unknown.
    """
    frequency = np.fft.rfftfreq(period)
    if filter is None:
        return np.ones_like(frequency)
    check_choice("filter", filter, get_args(Filter))
    place = np.minimum(np.arange(period), period - np.arange(period))
    kernel = np.where(place % 2 == 1, -1 / (np.pi * np.maximum(place, 1)) ** 2, 0)
    kernel[0] = 0.25
    window = {
        "ramp": np.ones_like(frequency),
        "shepp-logan": np.sinc(frequency),
        "cosine": np.cos(np.pi * frequency),
        "hann": np.cos(np.pi * frequency) ** 2,
        "parzen": np.where(
            frequency <= 0.25,
            1 - 24 * frequency**2 * (1 - 2 * frequency),
            2 * (1 - 2 * frequency) ** 3,
        ),
        "parzen-gridrec": (1 - 2 * frequency) ** 3,
    }[filter]
    response: npt.NDArray[np.float64] = np.fft.rfft(kernel).real * window
    return response


def angular_weights(angles: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """What each projection counts for in the integral over half a turn, in radians.

    A projection stands for half of the gap to either neighbour, directions taken modulo half a turn;
    projections that share a direction (both halves of a full turn, say) share its weight. Equal steps over
    half a turn give ``pi / number`` each. A gap of more than four mean gaps is taken as missing (limited
    angle, tilt series): the projections at its ends count as if the gap were as wide as the one on their
    other side, and the sum falls short of pi.
    """
    theta = check_angles(angles)
    direction = np.mod(theta, np.pi)
    # Directions just below pi and those at 0 are the same one.
    direction[np.pi - direction < 1e-6] = 0
    order = np.argsort(direction, kind="stable")
    new = np.diff(direction[order], prepend=-1.0) > 1e-6
    distinct = direction[order][new]
    after = np.diff(distinct, append=distinct[0] + np.pi)
    before = np.roll(after, 1)
    missing = 4 * np.pi / len(distinct)
    gap_after = np.where(after > missing, before, after)
    gap_before = np.where(before > missing, after, before)
    # Alone between two missing parts: the mean gap on both sides.
    alone = (after > missing) & (before > missing)
    each = np.where(alone, np.pi / len(distinct), (gap_after + gap_before) / 2)
    group = np.cumsum(new) - 1
    weights = np.empty_like(theta)
    weights[order] = (each / np.bincount(group))[group]
    return weights


def check_choice(thing: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise LowdoseError unless `value` is one of `choices`."""
    if value not in choices:
        raise LowdoseError(
            thing, found=repr(value), expected=", ".join(choices), way_out="Choose one of them."
        )
