"""Cells of random shape with dark borders: stands in for a micrograph of tissue."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from lowdose_utils.errors import LowdoseError


def cell_plane(
    number: float, *, size: int = 250, cells: int = 120, noise: float = 20.0, rng: int = 0
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """A plane through a block of Voronoi cells.

    Parameters
    ----------
    number : float
        Depth of the plane in pixels, 0 to `size`; planes of one `rng` cut the same cells.
    size : int
        Side of the block in pixels.
    cells : int
        In the whole block.
    noise : float
        Standard deviation of Gaussian noise, in grey values.
    rng : int
        Seeds the cells, and with the plane's number the noise.

    Returns
    -------
    picture : float32 array (row, column)
        Grey values 0 to 255: cells 150, borders 90.
    bodies : int64 array (row, column)
        The cell of each pixel, from 1.

    Raises
    ------
    LowdoseError
        If there are fewer than two cells, or size, noise or number are no such.
    """
    if size < 1 or cells < 2 or noise < 0 or number < 0:
        raise LowdoseError(
            "size, cells, noise, number",
            found=(size, cells, noise, number),
            expected="1 or more, 2 or more, not negative, not negative",
            way_out="Leave them out.",
        )
    tree = cKDTree(np.random.default_rng(rng).uniform(0, size, (cells, 3)))
    row, column = np.mgrid[:size, :size]
    at = np.stack([np.full(row.shape, float(number)), row, column], axis=-1)
    away, nearest = tree.query(at, k=2)
    grain = np.random.default_rng([rng, int(number)]).normal(0, noise, row.shape)
    border = np.exp(-((away[..., 1] - away[..., 0]) ** 2) / 8)
    picture = (150 - 60 * border + grain).clip(0, 255).astype(np.float32)
    return picture, nearest[..., 0].astype(np.int64) + 1
