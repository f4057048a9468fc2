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
    return np.asarray(edges[_best_cuts([gain] * classes)])


def best_thresholds(
    image: npt.ArrayLike, truth: npt.ArrayLike, *, bins: int = 256
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Thresholds that give the most pixels their right class: an oracle, which needs the truth.

    Parameters
    ----------
    image : array
        Finite grey values.
    truth : integer array of the same shape
        The class of each pixel.
    bins : int
        Of the histogram, from the smallest to the largest value.

    Returns
    -------
    thresholds : array, shape (classes - 1,)
        Rising, some may be equal: a class between them is better left out.
    order : array, shape (classes,)
        The class of each interval, by the classes' mean grey values:
        ``order[numpy.digitize(image, thresholds)]`` is the class map.

    Raises
    ------
    LowdoseError
        If the shapes differ, values are not finite, or there is one class only.
    """
    values, known = np.asarray(image, np.float64), np.asarray(truth)
    classes = np.unique(known)
    if values.shape != known.shape or not np.isfinite(values).all() or len(classes) < 2:
        raise LowdoseError(
            "image and truth",
            found=f"shapes {values.shape} and {known.shape}, finite: {bool(np.isfinite(values).all())}, "
            f"{len(classes)} classes",
            expected="equal shapes, finite grey values, two classes or more",
            way_out="Give the class of each pixel.",
        )
    order = classes[np.argsort([values[known == label].mean() for label in classes])]
    edges = np.histogram_bin_edges(values, bins)
    held = [np.append(0, np.cumsum(np.histogram(values[known == label], edges)[0])) for label in order]
    gains = [np.where(np.tri(bins + 1, dtype=bool).T, v[None, :] - v[:, None], -np.inf) for v in held]
    return np.asarray(edges[_best_cuts(gains)]), order.astype(np.int64)


def _best_cuts(gains: list[npt.NDArray[np.float64]]) -> npt.NDArray[np.int64]:
    """Where to cut a histogram so that the classes' gains add up to most.

    ``gains[c][i, j]`` is what class c gains from bins i to j - 1, minus infinity where it may not have them.
    """
    bins = len(gains[0]) - 1
    best, begins = gains[0][0], []
    for gain in gains[1:]:
        tried = best[:, None] + gain
        begins.append(tried.argmax(axis=0))
        best = tried.max(axis=0)
    cuts = [bins]
    for begin in reversed(begins):
        cuts.append(int(begin[cuts[-1]]))
    return np.sort(np.array(cuts[1:], np.int64))
