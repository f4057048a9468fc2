"""Corrections between the detector and the reconstruction. Arrays are numpy."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.special import digamma

from lowdose_utils.axis import find_axis
from lowdose_utils.errors import LowdoseError

__all__ = [
    "count_log",
    "find_axis",
    "find_bad_pixels",
    "flat_field",
    "minus_log",
    "remove_rings",
    "renormalise_air",
    "repair_bad_pixels",
]

Floats: TypeAlias = npt.NDArray[np.floating]
Float32: TypeAlias = npt.NDArray[np.float32]


def _stack(name: str, array: npt.ArrayLike, axes: str) -> Float32:
    values = np.asarray(array, dtype=np.float32)
    if values.ndim != 3 or not values.size:
        raise LowdoseError(
            name,
            found=f"shape {values.shape}",
            expected=axes,
            way_out="Give a three-dimensional stack: array[None] makes one of a single image.",
        )
    return values


def flat_field(
    projections: npt.ArrayLike, flats: npt.ArrayLike, darks: npt.ArrayLike | None = None
) -> Float32:
    """Transmission ``(projections - dark) / (flat - dark)``, with the mean of the repeats as flat and dark.

    Parameters
    ----------
    projections : array, shape (angle, row, column)
    flats, darks : array, shape (repeat, row, column) or (row, column)
        Open beam, and no beam (None: zero).

    Returns
    -------
    array of float32, shape (angle, row, column)
        1 in air. NaN pixels stay NaN (see `repair_bad_pixels`).

    Raises
    ------
    LowdoseError
        If the shapes differ, or the flat is nowhere brighter than the dark in some pixels (how many is said).
    """
    stack = _stack("projections", projections, "(angle, row, column)")
    white = np.asarray(flats, dtype=np.float64)
    black = np.zeros(stack.shape[1:]) if darks is None else np.asarray(darks, dtype=np.float64)
    white = white.mean(axis=0) if white.ndim == 3 else white
    black = black.mean(axis=0) if black.ndim == 3 else black
    if white.shape != stack.shape[1:] or black.shape != stack.shape[1:]:
        raise LowdoseError(
            "flats and darks",
            found=f"detectors {white.shape} and {black.shape}",
            expected=f"{stack.shape[1:]} as the projections",
            way_out="Crop flats, darks and projections alike.",
        )
    beam = white - black
    unlit = beam.size - np.count_nonzero(beam > 0)
    if unlit:
        raise LowdoseError(
            "flats",
            found=f"{unlit} of {beam.size} pixels not brighter than the dark",
            expected="flat above dark in every pixel",
            way_out="Crop to the lit field, or check that flats and darks are not swapped.",
        )
    return ((stack - black) / beam).astype(np.float32)


def renormalise_air(transmission: npt.ArrayLike, margin: int) -> Float32:
    """Divide each projection by the median of its `margin` outer columns on both sides, so that air is 1.

    For a beam that drifts between flats. The object must leave these columns free at every angle.

    Parameters
    ----------
    transmission : array, shape (angle, row, column)
    margin : int
        Columns of air on each side.
    """
    stack = _stack("transmission", transmission, "(angle, row, column)")
    if not 1 <= margin <= stack.shape[2] // 2:
        raise LowdoseError(
            "margin",
            found=margin,
            expected=f"1 to {stack.shape[2] // 2} columns",
            way_out="Count the columns that no angle ever shades.",
        )
    air = np.nanmedian(np.concatenate([stack[..., :margin], stack[..., -margin:]], axis=2), axis=(1, 2))
    if not np.all(air > 0):
        raise LowdoseError(
            "transmission",
            found=f"air level {np.nanmin(air)}",
            expected="positive air",
            way_out="Correct with the flat field first.",
        )
    return np.asarray(stack / air[:, None, None], dtype=np.float32)


def find_bad_pixels(projections: npt.ArrayLike, *, hot_sigma: float | None = None) -> npt.NDArray[np.bool_]:
    """Where projections cannot be believed: NaN, infinite, zero or below (dead), and, if asked, hot.

    Parameters
    ----------
    projections : array, shape (angle, row, column)
        Intensity or transmission, before the logarithm.
    hot_sigma : float, optional
        Also flag pixels above the median of their 3 x 3 neighbourhood by more than `hot_sigma` times the
        noise (1.4826 times the median absolute difference to that median, over the stack). Off by default:
        sharp bright grains look the same. 15 is careful.
    """
    stack = _stack("projections", projections, "(angle, row, column)")
    bad = ~np.isfinite(stack) | (stack <= 0)
    if hot_sigma is not None:
        whole = np.where(bad, np.median(stack[~bad]) if not bad.all() else 0, stack)
        excess = whole - ndimage.median_filter(whole, size=(1, 3, 3))
        bad |= excess > hot_sigma * 1.4826 * np.median(np.abs(excess))
    return bad


def repair_bad_pixels(
    projections: npt.ArrayLike, *, hot_sigma: float | None = None
) -> tuple[Float32, npt.NDArray[np.bool_]]:
    """Replace bad pixels (`find_bad_pixels`) by the median of their good neighbours in the same projection.

    The neighbourhood is 3 x 3 and grows only where it holds nothing good.

    Returns
    -------
    repaired : array of float32, shape (angle, row, column)
    mask : array of bool
        True where a pixel was replaced; all others are untouched.

    Raises
    ------
    LowdoseError
        If a whole projection is bad.
    """
    stack = _stack("projections", projections, "(angle, row, column)")
    mask = find_bad_pixels(stack, hot_sigma=hot_sigma)
    lost = np.flatnonzero(mask.all(axis=(1, 2)))
    if lost.size:
        raise LowdoseError(
            "projections",
            found=f"no good pixel in projections {lost[:8].tolist()}",
            expected="some good pixels in each",
            way_out="Leave these angles out.",
        )
    repaired = stack.copy()
    angle, row, column = np.nonzero(mask)
    reach = 1
    while angle.size:
        holed = np.pad(
            np.where(mask, np.nan, stack)[np.unique(angle)],
            [(0, 0), (reach, reach), (reach, reach)],
            constant_values=np.nan,
        )
        which = np.searchsorted(np.unique(angle), angle)
        offsets = np.mgrid[: 2 * reach + 1, : 2 * reach + 1].reshape(2, -1)
        around = holed[which[:, None], row[:, None] + offsets[0], column[:, None] + offsets[1]]
        served = np.isfinite(around).any(axis=1)
        repaired[angle[served], row[served], column[served]] = np.nanmedian(around[served], axis=1)
        angle, row, column = angle[~served], row[~served], column[~served]
        reach *= 2
    return repaired, mask


def minus_log(transmission: npt.ArrayLike, *, floor: float | None = None) -> Float32:
    """Line integrals ``-log(transmission)``.

    Parameters
    ----------
    transmission : array, any shape
    floor : float, optional
        Raise smaller values to this first. Without it, a value of zero or below is an error; NaN and
        infinity always are.
    """
    values = np.asarray(transmission, dtype=np.float32)
    if floor is not None:
        values = np.maximum(values, np.float32(floor))
    bad = values.size - np.count_nonzero((values > 0) & np.isfinite(values))
    if bad:
        raise LowdoseError(
            "transmission",
            found=f"{bad} of {values.size} values zero, negative, infinite or NaN",
            expected="positive values",
            way_out="Use repair_bad_pixels, a positive floor, or count_log on raw counts.",
        )
    return -np.log(values)


def count_log(
    counts: npt.ArrayLike,
    open_beam: float | npt.ArrayLike,
    estimator: Literal["half", "digamma", "plain"] = "half",
) -> Float32:
    """Line integrals from few photons, with the bias of the logarithm taken out.

    The mean of ``-log(n / I0)`` over Poisson counts is not the line integral; averaging angles, or a
    network that learns the mean, does not remove the difference, since it is no noise.

    Parameters
    ----------
    counts : array
        Photon counts above the dark, zero or more; any shape.
    open_beam : float or array
        Expected counts I0 without the object, broadcast.
    estimator : {"half", "digamma", "plain"}
        ``"half"``: ``-log((n + 1/2) / I0)``, without bias to first order in 1 / mean.
        ``"digamma"``: ``-(psi(n + 1) - log I0)``. Because the mean of ``psi(n + 1)`` is exactly
        ``log N + E1(N)`` for Poisson counts of mean N (E1: exponential integral), its bias is
        -E1(N) and vanishes exponentially. (No function of n is free of bias for all N.)
        ``"plain"``: ``-log(max(n, 1) / I0)``, as in many codes; for comparison.

    Raises
    ------
    LowdoseError
        If a count is negative, infinite or NaN, a beam not positive and finite, or their shapes do not fit.

    Notes
    -----
    Exact bias of the line integral for a mean count N behind the object:

    ======== ======= ======= ======= ======= ======= ======== =======
    N        1       2       3       5       10      30       100
    ======== ======= ======= ======= ======= ======= ======== =======
    plain    -0.222  +0.094  +0.144  +0.115  +0.055  +0.017  +0.0050
    half     -0.169  -0.026  -0.0019 +0.0021 +0.0005 +0.00005 +4e-6
    digamma  -0.219  -0.049  -0.013  -0.0011 -4e-6   <1e-12  <1e-12
    ======== ======= ======= ======= ======= ======= ======== =======

    Above about 4.5 counts "digamma" has the least bias; below, "half". The spread is about the same.
    """
    values = np.asarray(counts, dtype=np.float64)
    beam = np.asarray(open_beam, dtype=np.float64)
    wrong = values.size - np.count_nonzero((values >= 0) & np.isfinite(values))
    dark = beam.size - np.count_nonzero((beam > 0) & np.isfinite(beam))
    try:
        np.broadcast_shapes(values.shape, beam.shape)
        fits = True
    except ValueError:
        fits = False
    if wrong or dark or not fits:
        raise LowdoseError(
            "counts and open_beam",
            found=f"{wrong} counts negative, infinite or NaN, {dark} such beams or 0, "
            f"of shapes {values.shape} and {beam.shape}",
            expected="counts from 0 up, a positive beam, shapes that fit",
            way_out="Subtract the dark, divide by the gain, repair NaN pixels, clip at 0.",
        )
    match estimator:
        case "half":
            log_mean = np.log(values + 0.5)
        case "digamma":
            log_mean = digamma(values + 1)
        case "plain":
            log_mean = np.log(np.maximum(values, 1))
        case _:
            raise LowdoseError(
                "estimator",
                found=repr(estimator),
                expected="half, digamma or plain",
                way_out="Use the default if in doubt.",
            )
    return np.asarray(np.log(beam) - log_mean, dtype=np.float32)


def remove_rings(
    sinograms: npt.ArrayLike, method: Literal["sorting", "filtering", "all"] = "sorting", **options: Any
) -> Float32:
    """Take stripes out of sinograms, which would be rings in the slices.

    Vo, Atwood and Drakopoulos, Opt. Express 26, 28396, 2018.

    Parameters
    ----------
    sinograms : array, shape (slice, angle, column)
        Line integrals.
    method : {"sorting", "filtering", "all"}
        ``"sorting"`` (algorithm 3, partial stripes), ``"filtering"`` (algorithms 2 and 3) or ``"all"``
        (algorithms 3 to 6; dead and large stripes as well), from `algotom.prep.removal`.
    **options
        Handed on: ``size`` (median window, columns), ``sigma``, ``snr``, ``la_size``, ``sm_size``.
    """
    from algotom.prep import removal  # slow to import (numba), so only when used

    stack = _stack("sinograms", sinograms, "(slice, angle, column)")
    known = {
        "sorting": removal.remove_stripe_based_sorting,
        "filtering": removal.remove_stripe_based_filtering,
        "all": removal.remove_all_stripe,
    }
    if method not in known:
        raise LowdoseError(
            "method", found=repr(method), expected=", ".join(known), way_out="Start with sorting."
        )
    with np.errstate(divide="ignore", invalid="ignore"):  # "all" divides empty columns by their zero mean
        cleaned = np.stack([known[method](sinogram, **options) for sinogram in stack]).astype(np.float32)
    return np.where(np.isfinite(cleaned), cleaned, stack)
