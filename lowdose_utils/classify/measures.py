"""How good a class map is: accuracy, Dice, confusion, speckle and halo.

Pixels whose true class is 0 are not counted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from sklearn.metrics import confusion_matrix

from lowdose_utils.classify.scribbles import Labels, check_labels
from lowdose_utils.errors import LowdoseError


class Halo(NamedTuple):
    """A third class between two, see `halo`.

    `pixels` carry it, `boundary` is the boundary's length in pixels, `width` the one by the other.
    """

    pixels: int
    boundary: int
    width: float


def confusion(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Pixels by true class (row) and predicted class (column), each from 1 to the largest of both.

    Raises
    ------
    LowdoseError
        If the two are no class maps of one shape, no pixel has a true class, or one has no predicted class.
    """
    known, found = _pair(truth, predicted)
    classes = range(1, int(max(known.max(), found.max())) + 1)
    inside = known > 0
    table: npt.NDArray[np.int64] = confusion_matrix(known[inside], found[inside], labels=list(classes))
    return table


def accuracy(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Share of pixels with the right class. Errors as for `confusion`."""
    table = confusion(truth, predicted)
    return float(np.trace(table) / table.sum())


def dice(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Dice coefficient of each class, class 1 first: twice the common pixels by the sum of both maps' pixels.

    NaN for a class that is in neither. Errors as for `confusion`.
    """
    table = confusion(truth, predicted)
    both = (table.sum(0) + table.sum(1)).astype(np.float64)
    both[both == 0] = np.nan
    result: npt.NDArray[np.float64] = 2 * np.diag(table) / both
    return result


def speckle(classes: npt.ArrayLike, smallest: int = 20) -> int:
    """Number of connected components smaller than `smallest` pixels, of all classes of a map together.

    Components hang together by edges (4 neighbours). Pixels of class 0 are none.

    Raises
    ------
    LowdoseError
        If `classes` is no class map, or `smallest` is below 1.
    """
    given = check_labels(classes, "classes")
    if smallest < 1:
        raise LowdoseError(
            "smallest",
            found=smallest,
            expected="1 pixel or more",
            way_out="Take the size of the smallest true object.",
        )
    count = 0
    for label in np.unique(given[given > 0]):
        parts, _ = ndimage.label(given == label)
        count += int((np.bincount(parts.ravel())[1:] < smallest).sum())
    return count


def halo(truth: npt.ArrayLike, predicted: npt.ArrayLike, *, reach: float = 3.0) -> Halo:
    """Mean width of the seam of a third class along the true boundaries, in pixels.

    A blurred edge between a dark and a bright class passes the grey values of a class between them, and a
    threshold gives those pixels to it. Here a pixel belongs to the halo if two or more true classes lie
    within `reach` pixels of it (centre to centre) and its predicted class is none of them. The halo's width
    is the number of such pixels divided by the boundary's length, the number of edges between neighbouring
    pixels of different true classes: exact for boundaries along rows or columns; an oblique boundary counts
    up to the square root of 2 longer than it is, which makes the width smaller by as much.

    Parameters
    ----------
    truth, predicted : integer arrays (row, column)
        Class maps, classes from 1.
    reach : float
        In pixels; the halo cannot be wider than twice as much.

    Raises
    ------
    LowdoseError
        If the two are no class maps of one image, the truth has no boundary, or `reach` is below 1.
    """
    known, found = _pair(truth, predicted)
    if known.ndim != 2 or not 1 <= reach < np.inf:
        raise LowdoseError(
            "halo",
            found=f"truth of shape {known.shape}, reach {reach}",
            expected="one image (row, column), a reach of 1 pixel or more",
            way_out="Measure slice by slice.",
        )
    length = 0
    for one, other in ((known[1:], known[:-1]), (known[:, 1:], known[:, :-1])):
        length += int(((one != other) & (one > 0) & (other > 0)).sum())
    if not length:
        raise LowdoseError(
            "truth",
            found="no boundary between classes",
            expected="two classes side by side",
            way_out="Choose an image with such.",
        )
    near = np.zeros(known.shape, int)
    own = np.zeros(known.shape, np.bool_)
    for label in np.unique(known[known > 0]):
        here = ndimage.distance_transform_edt(known != label) <= reach
        near += here
        own |= here & (found == label)
    pixels = int(((near > 1) & ~own & (known > 0)).sum())
    return Halo(pixels, length, pixels / length)


def _pair(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> tuple[Labels, Labels]:
    known, found = check_labels(truth, "truth"), check_labels(predicted, "predicted")
    if known.shape != found.shape:
        raise LowdoseError(
            "predicted",
            found=f"shape {found.shape}",
            expected=f"{known.shape}, as the truth",
            way_out="Compare maps of the same image.",
        )
    if not known.any() or not found[known > 0].all():
        raise LowdoseError(
            "class maps",
            found="a truth of zeros only" if not known.any() else "predicted class 0",
            expected="classes from 1",
            way_out="Add 1 to maps that count classes from 0.",
        )
    return known, found
