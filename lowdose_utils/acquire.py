"""Acquisition: what a scan does to clean projections, and what a shorter scan would have measured.

Arrays are numpy; projections are ``(angle, row, column)``, but everything that acts on single pixels
takes any shape.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lowdose_utils.errors import LowdoseError

Floats: TypeAlias = npt.NDArray[np.floating]
Rng: TypeAlias = np.random.Generator | int | None
NoiseReference = Literal["max", "range", "mean", "std", "projection_max", "pixel"]


def _finite(name: str, array: npt.ArrayLike) -> npt.NDArray[np.float64]:
    values = np.asarray(array, dtype=np.float64)
    bad = values.size - np.count_nonzero(np.isfinite(values))
    if bad or not values.size:
        raise LowdoseError(
            name,
            found=f"{bad} values that are NaN or infinite among {values.size}",
            expected="at least one value, all of them finite",
            way_out="Repair the data first: correct.repair_bad_pixels.",
        )
    return values


def _within(name: str, value: float, low: float, high: float, way_out: str) -> None:
    if not low < value <= high:
        raise LowdoseError(
            name, found=value, expected=f"a number above {low:g}, at most {high:g}", way_out=way_out
        )


def poisson_counts(
    line_integrals: npt.ArrayLike, photons: float | npt.ArrayLike, rng: Rng = None
) -> npt.NDArray[np.int64]:
    """Photon counts behind an object, by Beer and Lambert's law: ``n ~ Poisson(photons exp(-p))``.

    Parameters
    ----------
    line_integrals : array
        Line integrals `p` of the attenuation (no unit), any shape.
    photons : float or array
        Expected counts per pixel in the open beam; an array (a beam profile) is broadcast.
    rng : Generator or int

    Returns
    -------
    array of int64
        Counts, shape of `line_integrals`. Divide by `photons`, or use `correct.count_log`.

    Raises
    ------
    LowdoseError
        If a line integral is not finite or `photons` is not positive.
    """
    integrals = _finite("line_integrals", line_integrals)
    beam = _finite("photons", photons)
    _within(
        "photons (smallest)", float(beam.min()), 0, np.inf, "Give the expected open-beam counts per pixel."
    )
    return np.random.default_rng(rng).poisson(beam * np.exp(-integrals))


def gaussian_noise(
    projections: npt.ArrayLike, percent: float, rng: Rng = None, *, of: NoiseReference = "max"
) -> npt.NDArray[np.float32]:
    """Add white Gaussian noise whose standard deviation is `percent` per cent **of** something stated.

    Parameters
    ----------
    projections : array, shape (angle, row, column)
        Line integrals.
    percent : float
        0 adds nothing; 30 makes sigma 0.30 times the reference.
    of : {"max", "range", "mean", "std", "projection_max", "pixel"}
        The reference. ``"max"`` (default; TomoPy's ``add_gaussian`` scales this way), ``"range"``
        (max - min), ``"mean"`` and ``"std"`` are taken over all projections together, so that every
        projection gets the same sigma. ``"projection_max"`` is each projection's own maximum,
        ``"pixel"`` the pixel's own magnitude (multiplicative noise).

    Notes
    -----
    "30 % noise" without its reference is no dose: on one phantom the six readings differ by more than
    10 dB in the reconstruction.
    """
    clean = _finite("projections", projections)
    if not np.isfinite(percent) or percent < 0:
        raise LowdoseError(
            "percent", found=percent, expected="a number from 0 up", way_out="30 means 30 per cent."
        )
    match of:
        case "max":
            reference: npt.NDArray[np.float64] | float = float(clean.max())
        case "range":
            reference = float(np.ptp(clean))
        case "mean":
            reference = float(clean.mean())
        case "std":
            reference = float(clean.std())
        case "projection_max":
            reference = clean.max(axis=tuple(range(1, clean.ndim)), keepdims=True)
        case "pixel":
            reference = np.abs(clean)
        case _:
            raise LowdoseError(
                "of",
                found=repr(of),
                expected="max, range, mean, std, projection_max or pixel",
                way_out="Say what the per cent are of.",
            )
    noise = np.random.default_rng(rng).standard_normal(clean.shape)
    return (clean + percent / 100 * np.abs(reference) * noise).astype(np.float32)


def estimate_gain(flats: npt.ArrayLike, darks: npt.ArrayLike) -> float:
    """Grey values per counted photon, from repeated flat fields (photon transfer).

    A pixel that counts ``n ~ Poisson(N)`` and reports ``gain n + dark`` has variance ``gain**2 N`` and
    mean ``gain N`` above the dark, so ``gain = variance / mean`` (Janesick, Photon Transfer, 2007, ch. 5).
    The variance is taken over the repeats, pixel by pixel, after each flat is scaled to the same mean
    (the beam drifts); the variance of the darks is subtracted.

    Parameters
    ----------
    flats, darks : array, shape (repeat, row, column), at least two repeats each

    Returns
    -------
    float
        Gain; pass it to `thin_counts`. ``(flats - darks).mean() / gain`` are the open-beam counts per pixel.

    Notes
    -----
    These are *effective* counts: blur in the scintillator, binning or resampling that averages
    neighbours lowers the variance and makes them too many; gain spread per photon makes them too few.
    """
    white, black = _finite("flats", flats), _finite("darks", darks)
    if (
        white.ndim != 3
        or black.ndim != 3
        or white.shape[1:] != black.shape[1:]
        or min(len(white), len(black)) < 2
    ):
        raise LowdoseError(
            "flats and darks",
            found=f"shapes {white.shape} and {black.shape}",
            expected="(repeat, row, column) with two repeats or more and the same detector",
            way_out="A variance needs repeats: do not average the flats before.",
        )
    beam = white - black.mean(axis=0)
    mean = float(beam.mean())
    if mean <= 0:
        raise LowdoseError(
            "flats",
            found=f"mean {mean:g} above the darks",
            expected="a positive mean",
            way_out="Flats and darks may have been swapped.",
        )
    scale = mean / beam.mean(axis=(1, 2), keepdims=True)
    noise = (beam * scale).var(axis=0, ddof=1).mean() - np.mean(scale**2) * black.var(axis=0, ddof=1).mean()
    return float(noise / (mean * scale.mean()))


def thin_counts(
    counts: npt.ArrayLike,
    fraction: float,
    rng: Rng = None,
    *,
    gain: float = 1.0,
    offset: float | npt.ArrayLike = 0.0,
    read_noise: float = 0.0,
) -> npt.NDArray[np.float32]:
    """Make from a measured scan what a `fraction` of its dose would have measured.

    Each counted photon is kept with probability `fraction`, independently of the others: binomial
    thinning. If the counts are Poisson with mean N, the thinned ones are exactly Poisson with mean
    ``fraction N`` (Kingman, Poisson Processes, 1993, sec. 5.1); added Gaussian noise gives this only roughly.

    Parameters
    ----------
    counts : array
        Measured grey values, ``gain count + offset``; any shape. Plain counts need no `gain` or `offset`.
    fraction : float
        Share of the dose to keep, in (0, 1].
    gain : float
        Grey values per photon (`estimate_gain`).
    offset : float or array
        Dark level in grey values (the mean of the darks), broadcast.
    read_noise : float
        Standard deviation of the electronic noise in grey values (of the darks). The measured noise is
        thinned with the rest, to ``fraction`` of it; a real short exposure has it in full, so the missing
        part of the variance is added as Gaussian noise.

    Returns
    -------
    array of float32
        ``gain thinned + offset``, in the grey values of the input: the mean above the dark falls to
        `fraction`. Thin the flats as well, or multiply them (above the dark) by `fraction`.

    Notes
    -----
    Exact for Poisson counts only. Real values are not whole numbers of photons; they are rounded up or
    down at random, right in the mean, which adds at most 1/4 count squared to the variance before
    thinning. Values below the dark count as no photon. Where neighbouring pixels share noise (scintillator
    blur, resampling), a real low-dose scan shares it too and the thinned one shares less.
    """
    measured = _finite("counts", counts)
    _within("fraction", fraction, 0, 1, "Thinning can only take photons away.")
    _within("gain", gain, 0, np.inf, "Give grey values per photon: estimate_gain(flats, darks).")
    generator = np.random.default_rng(rng)
    dark = np.asarray(offset, dtype=np.float64)
    photons = np.maximum((measured - dark) / gain, 0)
    whole = np.floor(photons + generator.random(photons.shape)).astype(np.int64)
    thinned = gain * generator.binomial(whole, fraction) + dark
    if read_noise:
        thinned += read_noise * np.sqrt(1 - fraction**2) * generator.standard_normal(thinned.shape)
    return thinned.astype(np.float32)


def misalign(
    projections: Floats, shifts: float | npt.ArrayLike, rng: Rng = None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Shift each projection by its own sub-pixel amount, as an unsteady stage does.

    Parameters
    ----------
    projections : array, shape (angle, row, column)
    shifts : float or array, shape (angle, 2)
        The (row, column) shift of each projection in pixels; or one number: both are then drawn
        uniformly from plus or minus that.

    Returns
    -------
    misaligned : array of float32
        Bicubic (cubic spline) interpolation; the edge values continue outwards.
    shifts : array, shape (angle, 2)
        The shifts in use.
    """
    stack = np.asarray(projections, dtype=np.float32)
    given = _finite("shifts", shifts)
    if stack.ndim == 3 and given.ndim == 0:
        given = np.random.default_rng(rng).uniform(-abs(given), abs(given), (len(stack), 2))
    if stack.ndim != 3 or given.shape != (len(stack), 2):
        raise LowdoseError(
            "projections and shifts",
            found=f"shapes {stack.shape} and {given.shape}",
            expected="(angle, row, column), and (angle, 2) or one number",
            way_out="Give one (row, column) shift for each projection.",
        )
    moved = [ndimage.shift(view, by, order=3, mode="nearest") for view, by in zip(stack, given, strict=True)]
    return np.stack(moved), given


def uniform_angles(count: int, span: float = np.pi, *, endpoint: bool = False) -> npt.NDArray[np.float64]:
    """`count` evenly spaced angles in radians from 0 to `span`, which is left out unless `endpoint`."""
    _within("count", count, 0, np.inf, "Ask for at least one angle.")
    return np.linspace(0, span, count, endpoint=endpoint)


def missing_wedge(angles: npt.ArrayLike, wedge: float, centre: float = np.pi / 2) -> npt.NDArray[np.bool_]:
    """Which projections a tilt stage can take: True outside a wedge of `wedge` radians about `centre`.

    Angles count modulo pi (a projection and its opposite hold the same data). With the default centre,
    tilts from ``-(pi - wedge) / 2`` to ``+(pi - wedge) / 2`` remain, both ends included.
    """
    tilt = _finite("angles", angles)
    if not 0 <= wedge < np.pi:
        raise LowdoseError(
            "wedge", found=wedge, expected="0 to below pi radians", way_out="Convert with np.deg2rad."
        )
    away = np.abs((tilt - centre + np.pi / 2) % np.pi - np.pi / 2)
    return away >= wedge / 2 - 1e-9


def interlaced_angles(
    steps: int,
    per_step: int,
    *,
    span: float = np.pi,
    order: Literal["sequential", "van_der_corput"] = "sequential",
) -> npt.NDArray[np.float64]:
    """Angles of a dynamic scan in which no two time steps look from the same directions.

    Step k takes `per_step` evenly spaced angles, turned by its own part of one increment, so that all
    steps together are ``steps * per_step`` evenly spaced angles (the condition for combining time steps
    in Noise2Inverse: Hendriksen et al., Sci. Rep. 11, 11895, 2021).

    Parameters
    ----------
    steps, per_step : int
        Time steps, and projections in each.
    span : float
        Range of angles of a step in radians (pi, or 2 pi).
    order : {"sequential", "van_der_corput"}
        Which step gets which turn. ``"sequential"``: each a little further than the one before, as
        from a small deviation of the rotation speed. ``"van_der_corput"``: bit-reversed, so that any
        few consecutive steps are spread as well.

    Returns
    -------
    array, shape (steps, per_step)
        Radians in [0, span).
    """
    _within("steps", steps, 0, np.inf, "Ask for at least one time step.")
    _within("per_step", per_step, 0, np.inf, "Ask for at least one projection.")
    turn = np.arange(steps)
    if order == "van_der_corput":
        width = max(int(steps - 1).bit_length(), 1)
        reversed_bits = [int(f"{step:0{width}b}"[::-1], 2) for step in range(steps)]
        turn = np.argsort(np.argsort(reversed_bits))
    elif order != "sequential":
        raise LowdoseError(
            "order",
            found=repr(order),
            expected="sequential or van_der_corput",
            way_out="Use the default if in doubt.",
        )
    return span * (np.arange(per_step)[None, :] + turn[:, None] / steps) / per_step
