"""Thresholds for several classes: what a trained classifier is held against."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lowdose_utils.errors import LowdoseError


def multi_otsu(image: npt.ArrayLike, classes: int, *, bins: int = 256) -> npt.NDArray[np.float64]:
    """Thresholds that make the variance within classes least (Otsu, IEEE Trans. SMC 9, 62, 1979).

    Found by dynamic programming over the histogram, in time ``classes * bins**2``:
    `skimage.filters.threshold_multiotsu` tries all combinations, which for five classes and 256 bins takes
    seconds, against 10 ms. With fewer bins other, distant thresholds can come out best.

    Parameters
    ----------
    image : array
        Finite grey values, any shape.
    classes : int
        Two at least.
    bins : int
        Of the histogram, from the smallest to the largest value.

    Returns
    -------
    array, shape (classes - 1,)
        Rising: edges between two bins. ``numpy.digitize(image, thresholds)`` gives the classes, from 0.

    Raises
    ------
    LowdoseError
        If values are not finite, or too few differ.
    """
    values = np.asarray(image, np.float64).ravel()
    if not values.size or not np.isfinite(values).all() or classes < 2 or bins < classes:
        raise LowdoseError(
            "image, classes, bins",
            found=f"{values.size} values, finite: {bool(np.isfinite(values).all())}; {classes}; {bins}",
            expected="finite grey values; 2 or more; as many bins as classes at least",
            way_out="Fill what is not finite.",
        )
    counts, edges = np.histogram(values, bins)
    if np.count_nonzero(counts) < classes:
        raise LowdoseError(
            "image",
            found=f"{np.count_nonzero(counts)} bins with a value in them",
            expected=f"{classes} at least",
            way_out="Ask for fewer classes.",
        )
    centres = (edges[1:] + edges[:-1]) / 2
    number, total = (np.append(0.0, np.cumsum(v)) for v in (counts, counts * centres))
    pixels, greys = (v[None, :] - v[:, None] for v in (number, total))  # in bins i to j - 1
    gain = np.where(pixels > 0, greys**2 / np.maximum(pixels, 1), -np.inf)
    best, begins = gain[0], []
    for _ in range(classes - 1):
        tried = best[:, None] + gain
        begins.append(tried.argmax(axis=0))
        best = tried.max(axis=0)
    cuts = [bins]
    for begin in reversed(begins):
        cuts.append(int(begin[cuts[-1]]))
    return np.asarray(edges[np.sort(cuts[1:])])
