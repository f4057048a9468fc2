"""Stacks, angles and sizes, checked before anything is projected or reconstructed."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch

from lowdose_utils.device import Array, as_tensor
from lowdose_utils.errors import LowdoseError


def check_stack(thing: str, given: Array, shape: tuple[int | None, int | None]) -> torch.Tensor:
    """Give a stack (slice, ...) as a tensor where it is, after checking shape and values.

    Raises
    ------
    LowdoseError
        If there are not three dimensions, the last two differ from `shape` (None is free), the stack is
        empty or complex, or values are NaN or infinite.
    """
    tensor = as_tensor(given)
    expected = "(slice, " + ", ".join("any" if side is None else str(side) for side in shape) + ")"
    if (
        tensor.ndim != 3
        or any(side is not None and side != real for side, real in zip(shape, tensor.shape[1:], strict=True))
        or tensor.numel() == 0
    ):
        raise LowdoseError(
            f"shape of {thing}",
            found=tuple(tensor.shape),
            expected=expected,
            way_out="A single slice needs a leading dimension of 1: array[None].",
        )
    # One value not finite spoils the sum: a single quick pass.
    wide = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    if tensor.is_complex() or not math.isfinite(tensor.sum(dtype=wide)):
        raise LowdoseError(
            f"values of {thing}",
            found="complex numbers" if tensor.is_complex() else "NaN or infinite values",
            expected="finite real numbers",
            way_out="Mend bad pixels first, and see that no count below one went into a logarithm.",
        )
    return tensor


def check_angles(angles: npt.ArrayLike | torch.Tensor) -> npt.NDArray[np.float64]:
    """Give `angles` (radians) as a float64 vector, after checking that it is one.

    Raises
    ------
    LowdoseError
        If it is not a non-empty vector of finite numbers.
    """
    raw = angles.detach().cpu().numpy() if isinstance(angles, torch.Tensor) else angles
    vector = np.asarray(raw, dtype=np.float64)
    if vector.ndim != 1 or vector.size == 0 or not np.isfinite(vector).all():
        raise LowdoseError(
            "angles",
            found=f"shape {vector.shape}" if np.isfinite(vector).all() else "NaN or infinite values",
            expected="a vector of finite angles in radians",
            way_out="Give one angle per projection.",
        )
    return vector


def _whole(thing: str, value: int) -> int:
    if int(value) != value or value < 2:
        raise LowdoseError(
            thing, found=value, expected="a whole number of at least 2", way_out="Count pixels."
        )
    return int(value)
