"""Fourier ring and shell correlation of two halves, its threshold and the resolution."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import signal

from lowdose_utils.errors import LowdoseError
from lowdose_utils.resolution.checks import Floats, same_shape


@dataclass(frozen=True)
class FourierCorrelation:
    """Correlation of two images (rings) or volumes (shells) by spatial frequency.

    Attributes
    ----------
    frequency : array
        Cycles per pixel, up to 0.5.
    correlation : array
        -1 to 1.
    n_independent : array
        Independent Fourier coefficients in each ring: half its pixels, since images are real.
    """

    frequency: Floats
    correlation: Floats
    n_independent: Floats


def fourier_ring_correlation(
    image_a: npt.ArrayLike, image_b: npt.ArrayLike, *, window: Literal["hann", "none"] = "hann"
) -> FourierCorrelation:
    """Fourier ring (2-D) or shell (3-D) correlation (van Heel and Schatz, J. Struct. Biol. 151, 250, 2005).

    Parameters
    ----------
    image_a, image_b : array of one shape, square or cubic
        Two independent reconstructions of the same object (odd and even projections).
    window : {"hann", "none"}
        After subtracting the mean, a square-root Hann window along each axis keeps the borders from
        correlating; it also joins neighbouring coefficients: `n_independent` is then on the high side.
    """
    first, second = same_shape(image_a, image_b)
    size = first.shape[0]
    if first.ndim not in (2, 3) or len(set(first.shape)) != 1 or size < 8 or window not in ("hann", "none"):
        raise LowdoseError(
            "images to correlate",
            found=f"shape {first.shape}, window {window!r}",
            expected="a square or a cube, 8 pixels or more, and window hann or none",
            way_out="Crop to the same length along each axis.",
        )
    taper = np.sqrt(signal.windows.hann(size, sym=False)) if window == "hann" else np.ones(size)
    apodised = functools.reduce(np.multiply.outer, [taper] * first.ndim)
    first, second = (first - first.mean()) * apodised, (second - second.mean()) * apodised
    grids = np.meshgrid(*[np.fft.fftfreq(size, 1 / size)] * first.ndim, indexing="ij", sparse=True)
    ring = np.rint(np.sqrt(sum(grid**2 for grid in grids))).astype(int).ravel()
    spectrum_a, spectrum_b = np.fft.fftn(first).ravel(), np.fft.fftn(second).ravel()
    rings = size // 2 + 1

    def total(values: Floats) -> Floats:
        return np.asarray(np.bincount(ring, values)[:rings], dtype=np.float64)

    power = total(np.abs(spectrum_a) ** 2) * total(np.abs(spectrum_b) ** 2)
    shared = total((spectrum_a * spectrum_b.conj()).real)
    correlation = np.divide(shared, np.sqrt(power), out=np.zeros(rings), where=power > 0)
    return FourierCorrelation(np.arange(rings) / size, correlation, np.bincount(ring)[:rings] / 2)


def frc_threshold(
    n_independent: npt.ArrayLike, threshold: Literal["half-bit", "one-bit", "1/7"] = "half-bit"
) -> Floats:
    """Threshold curve of a Fourier ring correlation.

    ``T = (S + 2 sqrt(S / n) + 1 / sqrt(n)) / (S + 2 sqrt(S / n) + 1)`` of van Heel and Schatz (2005), with
    the signal-to-noise ratio S of each half data set that gives one or half a bit per pixel for both
    together: ``S = (2**bits - 1) / 2``, 0.5 and 0.2071. ``"1/7"`` is the fixed 0.143 of Rosenthal and
    Henderson (J. Mol. Biol. 333, 721, 2003).
    """
    n = np.maximum(np.asarray(n_independent, dtype=np.float64), 1)
    if threshold == "1/7":
        return np.full(n.shape, 1 / 7)
    bits = {"half-bit": 0.5, "one-bit": 1.0}
    if threshold not in bits:
        raise LowdoseError(
            "threshold",
            found=repr(threshold),
            expected="half-bit, one-bit or 1/7",
            way_out="half-bit is usual.",
        )
    ratio = (2 ** bits[threshold] - 1) / 2
    common = ratio + 2 * np.sqrt(ratio / n)
    return np.asarray((common + 1 / np.sqrt(n)) / (common + 1))


def frc_resolution(
    curve: FourierCorrelation,
    *,
    threshold: Literal["half-bit", "one-bit", "1/7"] = "half-bit",
    min_frequency: float = 0.02,
) -> float | None:
    """Resolution in pixels (full period): where the curve first falls below the threshold.

    Crossings below `min_frequency` (cycles per pixel), where rings hold few coefficients, do not count.
    The place between two rings is interpolated linearly.

    Returns
    -------
    float or None
        None if the curve stays above the threshold: finer than 2 pixels, or the halves are not independent.

    Notes
    -----
    Odd and even halves share every systematic error. A wrong filter, blur that both have, or rings can
    look well resolved: show an edge width, or a comparison with a truth, beside it.
    """
    above = curve.correlation - frc_threshold(curve.n_independent, threshold)
    start = int(np.searchsorted(curve.frequency, min_frequency))
    below = np.flatnonzero(above[start:] < 0)
    if not below.size:
        return None
    at = start + int(below[0])
    if at == start:
        return float(1 / curve.frequency[at])
    share = above[at - 1] / (above[at - 1] - above[at])
    return float(1 / (curve.frequency[at - 1] + share * (curve.frequency[at] - curve.frequency[at - 1])))
