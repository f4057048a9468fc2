"""Counts: photons and their noise, the detector's gain, and what a shorter exposure would have counted."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from lowdose_utils.acquire.checks import Rng, _finite, _within
from lowdose_utils.errors import LowdoseError

NoiseReference = Literal["max", "range", "mean", "std", "projection_max", "pixel"]


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
