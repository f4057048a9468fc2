"""A simulated annotator, who knows the truth: reproducible scribbles and corrections."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lowdose_utils.classify.scribbles import Labels, Mask, check_labels
from lowdose_utils.errors import LowdoseError


def annotate(
    truth: npt.ArrayLike,
    per_class: int,
    rng: np.random.Generator | int,
    *,
    brush: float = 1.0,
    length: int = 20,
) -> Labels:
    """Scribble straight short strokes into each class.

    A stroke begins at a random pixel, in a random direction, and ends where the class ends.

    Parameters
    ----------
    truth : integer array (row, column)
        Classes from 1; 0 is left alone.
    per_class : int
        Pixels to label of each class; all of a class that has fewer.
    rng : Generator or int
    brush : float
        Width of the strokes in pixels; what would leave the class is left out.
    length : int
        Of the strokes in pixels, at most.

    Returns
    -------
    uint8 array (row, column)
        0 where not labelled.

    Raises
    ------
    LowdoseError
        If `truth` is no label image or has no class, or a number is below 1.
    """
    known = _truth(truth, per_class, brush, length)
    generator = np.random.default_rng(rng)
    labels = np.zeros_like(known)
    for label in _classes(known):
        _scribble(labels, label, [known == label], per_class, generator, brush, length)
    return labels


def correct(
    truth: npt.ArrayLike,
    predicted: npt.ArrayLike,
    strokes: npt.ArrayLike,
    rng: np.random.Generator | int,
    *,
    per_class: int = 100,
    brush: float = 1.0,
    length: int = 20,
) -> Labels:
    """Add strokes where a class map is wrong, the largest mistakes first.

    For each true class its wrong pixels, not labelled yet, are taken as connected components (4 neighbours);
    each gets a stroke, the largest first, then each a second one, and so on. The annotator sees the truth
    everywhere: a best case for people.

    Parameters
    ----------
    truth, predicted : integer arrays (row, column)
    strokes : integer array (row, column)
        The scribbles so far; they stay.
    rng : Generator or int
    per_class : int
        Pixels to add to each class, at most.
    brush, length
        As for `annotate`.

    Returns
    -------
    uint8 array (row, column)
        Old and new scribbles.

    Raises
    ------
    LowdoseError
        As for `annotate`, or if shapes differ.
    """
    known = _truth(truth, per_class, brush, length)
    found, labels = check_labels(predicted, "predicted"), check_labels(strokes, "strokes").copy()
    if not found.shape == labels.shape == known.shape:
        raise LowdoseError(
            "predicted and strokes",
            found=f"shapes {found.shape} and {labels.shape}",
            expected=f"{known.shape}, as the truth",
            way_out="Give those of the same image.",
        )
    generator = np.random.default_rng(rng)
    for label in _classes(known):
        parts, number = ndimage.label((known == label) & (found != label) & (labels == 0))
        sizes = np.bincount(parts.ravel(), minlength=number + 1)[1:]
        largest_first = np.argsort(-sizes, kind="stable") + 1
        # Only as many as can get a stroke: each takes a pixel at least.
        regions = [parts == part for part in largest_first[:per_class]]
        _scribble(labels, label, regions, per_class, generator, brush, length)
    return labels


def _scribble(
    labels: Labels,
    label: int,
    regions: list[Mask],
    count: int,
    rng: np.random.Generator,
    brush: float,
    length: int,
) -> None:
    """Add `count` pixels of a class to `labels`, a stroke in each region in turn, until these are full."""
    added, progress = 0, True
    while added < count and progress:
        progress = False
        for region in regions:
            free = region & (labels == 0)
            places = np.argwhere(free)
            if added >= count or not len(places):
                continue
            stroke = _stroke(region, places[rng.integers(len(places))], rng, brush, length)
            new = np.argwhere(stroke & free)[: count - added]
            labels[tuple(new.T)] = label
            added, progress = added + len(new), True


def _stroke(
    region: Mask, start: npt.NDArray[np.int64], rng: np.random.Generator, brush: float, length: int
) -> Mask:
    """A straight stroke through `start`, as far as it stays in the region."""
    turn = rng.uniform(0, np.pi)
    step = np.array([np.sin(turn), np.cos(turn)])
    middle = np.zeros_like(region)
    middle[tuple(start)] = True
    for side, many in ((1, length // 2), (-1, (length - 1) // 2)):
        for k in range(1, many + 1):
            y, x = np.rint(start + side * k * step).astype(int).tolist()
            if not (0 <= y < region.shape[0] and 0 <= x < region.shape[1] and region[y, x]):
                break
            middle[y, x] = True
    if brush < 2:
        return middle
    wide: Mask = (ndimage.distance_transform_edt(~middle) <= brush / 2) & region
    return wide


def _classes(known: Labels) -> list[int]:
    return [int(label) for label in np.unique(known) if label]


def _truth(truth: npt.ArrayLike, per_class: int, brush: float, length: int) -> Labels:
    known = check_labels(truth, "truth")
    if known.ndim != 2 or not known.any():
        raise LowdoseError(
            "truth",
            found=f"shape {known.shape}" if known.ndim != 2 else "zeros only",
            expected="one image (row, column) with classes from 1",
            way_out="Give one slice; add 1 if classes count from 0.",
        )
    for thing, value in (("per_class", per_class), ("brush", brush), ("length", length)):
        if not 1 <= value < np.inf:
            raise LowdoseError(thing, found=value, expected="1 or more", way_out="In pixels.")
    return known
