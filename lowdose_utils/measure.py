"""Measures of image quality, against a truth or without one; those of resolution are in `resolution`.

Arrays are numpy; lengths are in pixels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage, signal
from skimage.metrics import structural_similarity

from lowdose_utils.errors import LowdoseError
from lowdose_utils.resolution import (
    Edge,
    FourierCorrelation,
    disc_profile,
    edge_width,
    fourier_ring_correlation,
    frc_resolution,
    frc_threshold,
    same_shape,
)

__all__ = [
    "Edge",
    "FourierCorrelation",
    "disc_mask",
    "disc_profile",
    "edge_width",
    "fourier_ring_correlation",
    "frc_resolution",
    "frc_threshold",
    "histogram_peaks",
    "loglog_slope",
    "noise_std",
    "psnr",
    "ssim",
    "ssim_map",
]

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def _inside(mask: npt.ArrayLike | None, shape: tuple[int, ...]) -> Mask:
    chosen = np.ones(shape, dtype=bool) if mask is None else np.asarray(mask, dtype=bool)
    if chosen.shape not in (shape, shape[1:]) or not chosen.any():
        raise LowdoseError(
            "mask",
            found=f"shape {chosen.shape} with {np.count_nonzero(chosen)} pixels",
            expected=f"shape {shape} (or one mask for all slices) with some pixels",
            way_out="See disc_mask.",
        )
    return np.broadcast_to(chosen, shape)


def _positive(name: str, value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise LowdoseError(
            name, found=value, expected="a positive number", way_out="For a data range: max - min."
        )


def disc_mask(size: int, radius: float | None = None) -> Mask:
    """True within `radius` pixels of the centre of a square of `size` pixels (default 0.98 size / 2)."""
    across = np.arange(size) - (size - 1) / 2
    limit = 0.98 * size / 2 if radius is None else radius
    return np.asarray(np.hypot(across[:, None], across) <= limit)


def psnr(
    image: npt.ArrayLike, truth: npt.ArrayLike, data_range: float, mask: npt.ArrayLike | None = None
) -> float:
    """Peak signal-to-noise ratio in decibel, ``10 log10(data_range**2 / mean squared error)``.

    Parameters
    ----------
    image, truth : array of one shape
    data_range : float
        The peak, always stated: for instance ``truth.max() - truth.min()`` of the volume.
    mask : array of bool, optional
        Where to look.

    Returns
    -------
    float
        Infinite for equal images.
    """
    first, second = same_shape(image, truth)
    _positive("data_range", data_range)
    error = float(np.mean((first - second)[_inside(mask, first.shape)] ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(data_range**2 / error))


def ssim_map(image: npt.ArrayLike, truth: npt.ArrayLike, data_range: float) -> Floats:
    """Structural similarity of each pixel's 7 x 7 neighbourhood (Wang et al., IEEE TIP 13, 600, 2004).

    scikit-image's `structural_similarity` with its defaults (uniform window). A stack ``(slice, row,
    column)`` is taken slice by slice.
    """
    first, second = same_shape(image, truth)
    _positive("data_range", data_range)
    if first.ndim not in (2, 3) or min(first.shape[-2:]) < 7:
        raise LowdoseError(
            "image",
            found=f"shape {first.shape}",
            expected="(row, column) or (slice, row, column), 7 x 7 pixels or more",
            way_out="The window of SSIM needs 7 pixels.",
        )
    if first.ndim == 3:
        return np.stack([ssim_map(one, other, data_range) for one, other in zip(first, second, strict=True)])
    similarity: Floats = structural_similarity(first, second, data_range=data_range, full=True)[1]
    return similarity


def ssim(
    image: npt.ArrayLike, truth: npt.ArrayLike, data_range: float, mask: npt.ArrayLike | None = None
) -> float:
    """Mean of `ssim_map` over the mask, or over all pixels whose window lies in the image."""
    similarity = ssim_map(image, truth, data_range)
    if mask is None:
        return float(similarity[..., 3:-3, 3:-3].mean())
    return float(similarity[_inside(mask, similarity.shape)].mean())


def noise_std(image: npt.ArrayLike, mask: npt.ArrayLike | None = None) -> float:
    """Standard deviation (n - 1) in a region that should be uniform."""
    values = np.asarray(image, dtype=np.float64)
    return float(values[_inside(mask, values.shape)].std(ddof=1))


def histogram_peaks(
    image: npt.ArrayLike,
    bins: int = 500,
    prominence: float = 0.05,
    *,
    value_range: tuple[float, float] | None = None,
    smooth: float = 2.0,
    floor: float = 1e-4,
) -> Floats:
    """Grey values of the peaks of the logarithmic histogram, in increasing order.

    Parameters
    ----------
    image : array, any shape
    bins : int
        Over `value_range` (default: minimum to maximum).
    prominence : float
        Least prominence of a peak in decades of log10(counts + 1).
    smooth : float
        Gaussian smoothing of the log histogram, in bins.
    floor : float
        Peaks below this share of the highest are dropped.

    Notes
    -----
    The number of peaks depends on all these choices; a statement such as "a peak within [0.2, 0.45]" is
    sturdier than a count.
    """
    counts, borders = np.histogram(np.asarray(image), bins=bins, range=value_range)
    decades = ndimage.gaussian_filter1d(np.log10(counts + 1.0), smooth, mode="constant")
    padded = np.pad(decades, 1, constant_values=0)  # so that a peak in the first or last bin is one
    peaks, _ = signal.find_peaks(padded, prominence=prominence, height=decades.max() + np.log10(floor))
    return np.asarray((borders[:-1] + borders[1:])[peaks - 1] / 2)


def loglog_slope(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[float, float]:
    """Exponent of a power law ``y ~ x**slope`` and its standard error, from a straight line in log-log.

    Raises
    ------
    LowdoseError
        With fewer than 3 points, or values that are not positive.
    """
    first, second = same_shape(x, y)
    if first.ndim != 1 or first.size < 3 or min(first.min(), second.min()) <= 0:
        raise LowdoseError(
            "x and y",
            found=f"{first.size} points, smallest {min(first.min(), second.min()):g}",
            expected="3 points or more, all positive",
            way_out="A slope with an error needs three points.",
        )
    line, covariance = np.polyfit(np.log(first), np.log(second), 1, cov=True)
    return float(line[0]), float(np.sqrt(covariance[0, 0]))
