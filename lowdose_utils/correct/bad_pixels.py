"""Pixels that cannot be believed: found, and replaced by their neighbours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lowdose_utils.correct.checks import Float32, _stack
from lowdose_utils.errors import LowdoseError


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
