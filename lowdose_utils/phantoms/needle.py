"""A pointed stack of layers, as electron tomography sees it: stands in for a measured needle."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lowdose_utils.errors import LowdoseError

WIDEST = 38.0  # radius in pixels, down to the substrate's edge
BEGINS, ENDS = 28, 143  # rows between which it narrows to a point
EDGES = (28, 44, 62, 79, 97, 115, 134, 144)  # rows at which layers begin
VALUES = (0.15, 0.6, 1.0, 0.6, 1.0, 0.6, 1.0, 0.6, 0.0)


def needle_projections(
    angles: npt.ArrayLike,
    *,
    rows: int = 160,
    columns: int = 256,
    axis: float = 127.5,
    noise: float = 1.0,
    rng: np.random.Generator | int = 0,
) -> npt.NDArray[np.float32]:
    """Line integrals of a round needle that stands on the rotation axis.

    Parameters
    ----------
    angles : array, shape (angle,)
        Only their number matters: the needle looks the same from all sides.
    rows, columns : int
        Size of a projection in pixels; the layers lie between rows 28 and 144.
    axis : float
        Column of the needle's middle.
    noise : float
        Standard deviation of Gaussian noise, where a pixel of bright layer adds 1.
    rng : Generator or int

    Returns
    -------
    float32 array, shape (angle, row, column)

    Raises
    ------
    LowdoseError
        If the picture does not hold the needle, or the noise is negative.
    """
    number = np.size(angles)
    if rows < EDGES[-1] or not WIDEST <= axis <= columns - 1 - WIDEST or noise < 0 or number < 1:
        raise LowdoseError(
            "rows, columns, axis, noise",
            found=(rows, columns, axis, noise),
            expected=f"{EDGES[-1]} rows or more, {WIDEST} columns beside the axis, noise not negative",
            way_out="Leave them out.",
        )
    along = np.arange(rows)
    radius = np.interp(along, [0, BEGINS, ENDS], [WIDEST, WIDEST, 0])
    values = np.array(VALUES)[np.digitize(along, EDGES)]
    away = np.arange(columns) - axis
    chords = 2 * np.sqrt(np.maximum(radius[:, None] ** 2 - away**2, 0)) * values[:, None]
    grain = np.random.default_rng(rng).normal(0, noise, (number, rows, columns))
    return np.asarray(chords + grain, np.float32)
