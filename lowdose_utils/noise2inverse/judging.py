"""Judging a denoised image where there is no truth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lowdose_utils.errors import LowdoseError


def error_without_truth(
    estimate: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    mask: npt.ArrayLike | None = None,
) -> float:
    """Mean squared error of an estimate, from two noisy images that it was not made of.

    If both are ``truth + noise`` with noise of mean 0, independent of each other and of the estimate, then
    the mean of ``(first - estimate) (second - estimate)`` is that of ``(truth - estimate)**2``: the noise
    of the one meets nothing of its own in the other. "Truth" is what both show without noise: streaks or
    rings that they share belong to it. Where they differ without noise, as the streaks of other angles do,
    truth is their mean, and a quarter of the mean square of the difference is missing: the same for every
    estimate, so that differences between estimates are right.

    Parameters
    ----------
    estimate : array, any shape
        Made from other sections, as from sections 2 and 3 of 4.
    first, second : array of the same shape
        Reconstructions of two other sections, as of 0 and 1.
    mask : array of bool, broadcast, optional
        Where to look.

    Returns
    -------
    float
        Square of the images' unit. It scatters around the truth, and may be negative where there is hardly
        an error.

    Raises
    ------
    LowdoseError
        If shapes differ, the mask is empty, or values are not finite.
    """
    images = [np.asarray(part, dtype=np.float64) for part in (estimate, first, second)]
    shape = images[0].shape
    inside = np.ones(shape, bool) if mask is None else np.asarray(mask, dtype=bool)
    fits = all(part.shape == shape for part in images) and inside.ndim <= len(shape)
    if fits:
        inside = np.broadcast_to(inside, shape)
    if not fits or not inside.any() or not all(np.isfinite(part[inside]).all() for part in images):
        raise LowdoseError(
            "estimate, first, second, mask",
            found=f"shapes {[part.shape for part in images]}, {np.count_nonzero(inside)} pixels",
            expected="one shape, finite, a pixel at least",
            way_out="Give reconstructions on the same grid.",
        )
    given, one, two = (part[inside] for part in images)
    return float(np.mean((one - given) * (two - given)))
