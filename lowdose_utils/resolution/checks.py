"""Two images that are to be compared: of one shape, and finite."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lowdose_utils.errors import LowdoseError

Floats = npt.NDArray[np.float64]


def same_shape(image: npt.ArrayLike, truth: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Both as float64, or an error if their shapes differ or a value is not finite."""
    first, second = np.asarray(image, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if (
        first.shape != second.shape
        or not first.size
        or not (np.isfinite(first).all() and np.isfinite(second).all())
    ):
        raise LowdoseError(
            "images to compare",
            found=f"shapes {first.shape} and {second.shape}, or NaN in one of them",
            expected="two arrays of one shape, without NaN",
            way_out="Crop or bin to the same grid; repair NaN pixels.",
        )
    return first, second
