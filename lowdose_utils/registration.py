"""Bringing two exposures of one view over each other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.registration import phase_cross_correlation

from lowdose_utils.errors import LowdoseError

ROUNDS = 8

Floats = npt.NDArray[np.floating]


def find_shifts(
    fixed: npt.ArrayLike, moving: npt.ArrayLike, *, smooth: float = 1.0, upsample: int = 50
) -> npt.NDArray[np.float64]:
    """Shift of each image against its partner, by the peak of their cross-correlation.

    Both are smoothed first, freed of what is wider than eight times that, and tapered towards the border, so
    that neither noise nor an uneven beam nor the border decides. As the taper stands still, it draws the
    answer towards zero: the image is moved by it and asked again, until nothing is left. The peak is found to
    a part of a pixel by a matrix Fourier transform around it (Guizar-Sicairos et al., Opt. Lett. 33, 156
    (2008), in scikit-image).

    Parameters
    ----------
    fixed, moving : array (image, row, column)
        Line integrals, say, of two exposures.
    smooth : float
        Standard deviation of the Gaussian in pixels, 0 for none: about where the noise takes over.
    upsample : int
        Parts of a pixel.

    Returns
    -------
    array (image, 2)
        How far `moving` lies from `fixed`, (row, column) in pixels. Taking it back brings them over each
        other: ``acquire.misalign(moving, -shifts)``.

    Raises
    ------
    LowdoseError
        If the shapes differ, or values are not finite.
    """
    first, second = (np.asarray(images, dtype=np.float64) for images in (fixed, moving))
    finite = np.isfinite(first).all() and np.isfinite(second).all()
    if first.ndim != 3 or first.shape != second.shape or not finite or smooth < 0 or upsample < 1:
        raise LowdoseError(
            "fixed, moving",
            found=f"shapes {first.shape} and {second.shape}" + ("" if finite else ", not all finite"),
            expected="(image, row, column), both the same, finite; smooth from 0, upsample from 1",
            way_out="Crop or bin them to one pixel grid first; a single image is images[None].",
        )
    taper = np.hanning(first.shape[1] + 2)[1:-1, None] * np.hanning(first.shape[2] + 2)[1:-1]

    def prepared(image: Floats) -> Floats:
        fine = ndimage.gaussian_filter(image, smooth) if smooth else image
        wide = ndimage.gaussian_filter(image, 8 * max(smooth, 1.0))
        band: Floats = (fine - wide) * taper
        return band

    found = np.zeros((len(first), 2))
    for shift, one, other in zip(found, first, second, strict=True):
        reference = prepared(one)
        for _ in range(ROUNDS):
            moved = ndimage.shift(other, -shift, order=3, mode="nearest")
            more = phase_cross_correlation(
                prepared(moved), reference, upsample_factor=upsample, normalization=None
            )[0]
            shift += more
            if np.abs(more).max() <= 1 / upsample:
                break
    return found
