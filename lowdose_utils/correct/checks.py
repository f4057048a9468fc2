"""What the corrections take alike: stacks of three dimensions, in single precision."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from lowdose_utils.errors import LowdoseError

Floats: TypeAlias = npt.NDArray[np.floating]
Float32: TypeAlias = npt.NDArray[np.float32]


def _stack(name: str, array: npt.ArrayLike, axes: str) -> Float32:
    values = np.asarray(array, dtype=np.float32)
    if values.ndim != 3 or not values.size:
        raise LowdoseError(
            name,
            found=f"shape {values.shape}",
            expected=axes,
            way_out="Give a three-dimensional stack: array[None] makes one of a single image.",
        )
    return values
