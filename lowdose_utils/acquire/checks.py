"""What counts and geometry take alike, and how their numbers are checked."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from lowdose_utils.errors import LowdoseError

Rng: TypeAlias = np.random.Generator | int | None


def _finite(name: str, array: npt.ArrayLike) -> npt.NDArray[np.float64]:
    values = np.asarray(array, dtype=np.float64)
    bad = values.size - np.count_nonzero(np.isfinite(values))
    if bad or not values.size:
        raise LowdoseError(
            name,
            found=f"{bad} values that are NaN or infinite among {values.size}",
            expected="at least one value, all of them finite",
            way_out="Repair the data first: correct.repair_bad_pixels.",
        )
    return values


def _within(name: str, value: float, low: float, high: float, way_out: str) -> None:
    if not low < value <= high:
        raise LowdoseError(
            name, found=value, expected=f"a number above {low:g}, at most {high:g}", way_out=way_out
        )
