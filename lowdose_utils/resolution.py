"""Measures of resolution: the width of an edge, and Fourier ring or shell correlation.

Arrays are numpy; lengths are in pixels.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage, optimize, signal, special
from skimage.measure import find_contours

from lowdose_utils.errors import LowdoseError

Floats = npt.NDArray[np.float64]


def same_shape(image: npt.ArrayLike, truth: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Both as float64, or an error if their shapes differ or a value is not finite."""
    first, second = np.asarray(image, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if (
        first.shape != second.shape
        or not first.size
        or not (np.isfinite(first).all() and np.isfinite(second).all())
    ):
        raise LowdoseError(
            "images to compare",
            found=f"shapes {first.shape} and {second.shape}, or NaN in one of them",
            expected="two arrays of one shape, without NaN",
            way_out="Crop or bin to the same grid; repair NaN pixels.",
        )
    return first, second


@dataclass(frozen=True)
class Edge:
    """A blurred step fitted to a profile; lengths in pixels.

    Attributes
    ----------
    width : float
        From 10 to 90 per cent of the step, 2.563 sigma.
    fwhm : float
        Full width at half maximum of the line spread, 2.355 sigma.
    position : float
        Where the step is half done, in samples of the profile times its spacing.
    contrast : float
        Height of the step, signed.
    residual : float
        Root mean square misfit over the height: above about 0.1 the profile is no single edge.
    """

    width: float
    fwhm: float
    position: float
    contrast: float
    residual: float


def edge_width(profile: npt.ArrayLike, spacing: float = 1.0) -> Edge:
    """Width of an edge: least-squares fit of an error function, a step blurred by a Gaussian.

    Parameters
    ----------
    profile : array, shape (samples,)
        Values across one edge, with some of the plateau on both sides (see `disc_profile`).
    spacing : float
        Pixels between samples.

    Raises
    ------
    LowdoseError
        If the profile has fewer than 6 samples, is flat, or no error function fits.
    """
    values = np.asarray(profile, dtype=np.float64)
    if values.ndim != 1 or values.size < 6 or not np.isfinite(values).all() or np.ptp(values) == 0:
        raise LowdoseError(
            "profile",
            found=f"shape {values.shape}, not finite or flat",
            expected="6 samples or more across an edge",
            way_out="Sample farther to both sides of the edge.",
        )
    place = np.arange(values.size) * spacing

    def step(
        at: npt.NDArray[np.floating], base: float, height: float, position: float, sigma: float
    ) -> Floats:
        blurred: Floats = base + height / 2 * (1 + special.erf((at - position) / (np.sqrt(2) * abs(sigma))))
        return blurred

    start = (
        values[0],
        values[-1] - values[0],
        place[np.abs(np.diff(values)).argmax()] + spacing / 2,
        spacing,
    )
    try:
        (base, height, position, sigma), _ = optimize.curve_fit(step, place, values, p0=start, maxfev=5000)
    except RuntimeError as error:
        raise LowdoseError(
            "profile",
            found="no error function that fits",
            expected="one edge between two plateaus",
            way_out="Look at the profile; average more of them if it is noisy.",
        ) from error
    misfit = np.sqrt(np.mean((step(place, base, height, position, sigma) - values) ** 2)) / max(
        abs(height), 1e-300
    )
    sigma = abs(sigma)
    width = 2 * np.sqrt(2) * special.erfinv(0.8) * sigma
    fwhm = 2 * np.sqrt(2 * np.log(2)) * sigma
    return Edge(float(width), float(fwhm), float(position), float(height), float(misfit))


def disc_profile(
    image: npt.ArrayLike, centre: tuple[float, float], radius: float, reach: float, spacing: float = 0.25
) -> Floats:
    """Mean profile across the rim of a disc, along its normals, from inside to outside.

    Parameters
    ----------
    image : array, shape (row, column)
    centre : (row, column), radius : float
        The disc, in pixels.
    reach : float
        Pixels to sample on each side of the rim.
    spacing : float
        Pixels between samples (give the same to `edge_width`); cubic interpolation.

    Returns
    -------
    array, shape (samples,)
        Sample i lies ``radius - reach + i * spacing`` from the centre.
    """
    plane = np.asarray(image, dtype=np.float64)
    away = np.arange(radius - reach, radius + reach + spacing / 2, spacing)
    turn = np.linspace(0, 2 * np.pi, max(int(2 * np.pi * radius), 16), endpoint=False)[:, None]
    rows, columns = centre[0] + away * np.sin(turn), centre[1] + away * np.cos(turn)
    if plane.ndim != 2 or away[0] < 0 or not _covers(plane.shape, rows, columns):
        raise LowdoseError(
            "disc",
            found=f"centre {centre}, radius {radius}, reach {reach} in shape {plane.shape}",
            expected="a rim with its reach inside a (row, column) image",
            way_out="Use a smaller reach.",
        )
    return np.asarray(ndimage.map_coordinates(plane, [rows, columns], order=3).mean(axis=0))


def contour_profile(image: npt.ArrayLike, level: float, reach: float, spacing: float = 0.25) -> Floats:
    """Mean profile across the longest outline of a sample, along its normals, from inside to outside.

    Parameters
    ----------
    image : array, shape (row, column)
        The sample is brighter than what surrounds it.
    level : float
        Grey value of the outline, between the two.
    reach : float
        Pixels to sample on each side.
    spacing : float
        Pixels between samples (give the same to `edge_width`); cubic interpolation.

    Returns
    -------
    array, shape (samples,)
        The median over the outline's points: stretches with something else close by count little.

    Raises
    ------
    LowdoseError
        If there is no outline at that level whose reach stays inside the image.

    Notes
    -----
    Outline and normals come from a copy smoothed by 2 px, so that noise does not draw the line along which
    its own edge is then averaged.
    """
    plane = np.asarray(image, dtype=np.float64)
    smooth = ndimage.gaussian_filter(plane, 2)
    outlines = find_contours(smooth, level)
    points = max(outlines, key=len) if outlines else np.empty((0, 2))
    slope = np.stack([ndimage.map_coordinates(g, points.T, order=1) for g in np.gradient(smooth)], axis=-1)
    steep = np.linalg.norm(slope, axis=1, keepdims=True)
    normals = -slope / np.maximum(steep, 1e-30)  # down the slope: outwards
    away = np.arange(-reach, reach + spacing / 2, spacing)
    rows, columns = (points[:, axis, None] + away * normals[:, axis, None] for axis in (0, 1))
    if not len(points) or not _covers(plane.shape, rows, columns):
        raise LowdoseError(
            "level",
            found=f"{level:g}, with {len(points)} points of an outline in shape {plane.shape}",
            expected="an outline that stays farther than its reach from the image's border",
            way_out="Choose a level between sample and surroundings, or a smaller reach.",
        )
    return np.asarray(np.median(ndimage.map_coordinates(plane, [rows, columns], order=3), axis=0))


def _covers(shape: tuple[int, ...], rows: Floats, columns: Floats) -> bool:
    return bool(
        min(rows.min(), columns.min()) >= 0 and rows.max() <= shape[0] - 1 and columns.max() <= shape[1] - 1
    )


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
