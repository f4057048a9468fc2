"""What every denoiser is given: images, methods, settings and noise, checked."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
from skimage.restoration import estimate_sigma

from lowdose_utils.errors import LowdoseError

Method = Literal["gaussian", "median", "tv", "nlm", "bm3d"]
Floats: TypeAlias = npt.NDArray[np.float32]
Image: TypeAlias = npt.NDArray[np.float64]


def as_stack(name: str, images: npt.ArrayLike) -> npt.NDArray[Any]:
    """`images` as (image, row, column), once they are known to be usable."""
    given = np.asarray(images)
    if given.ndim not in (2, 3) or given.size == 0 or given.dtype.kind not in "fiub":
        raise LowdoseError(
            name,
            found=f"shape {given.shape} of {given.dtype}",
            expected="(row, column) or (image, row, column) of real numbers, with some pixels",
            way_out="Give the images along the first axis.",
        )
    bad = given.size - np.count_nonzero(np.isfinite(given))
    if bad:
        raise LowdoseError(
            name,
            found=f"{bad} values that are NaN or infinite among {given.size}",
            expected="finite values",
            way_out="Repair the data first: correct.repair_bad_pixels.",
        )
    return given.reshape(-1, *given.shape[-2:])


def noise_of(stack: npt.NDArray[Any], noise: float | None) -> float:
    """`noise`, or its estimate; blank images have none and do not count."""
    if noise is None:
        found = [estimate_sigma(image.astype(np.float64)) for image in stack if np.ptp(image)]
        noise = float(np.mean(found)) if found else 0.0
    if not (np.isfinite(noise) and noise > 0):
        raise LowdoseError(
            "noise",
            found=noise,
            expected="a positive standard deviation",
            way_out="Give noise=, in the units of the images; without noise there is nothing to remove.",
        )
    return float(noise)


def widest_window(stack: npt.NDArray[Any]) -> int:
    """The largest odd number of pixels that fits into the image both ways."""
    side = min(stack.shape[-2:])
    return int(side - (side % 2 == 0))


def not_negative(name: str, value: float) -> None:
    """Refuse a `value` that is negative or not finite."""
    if not (np.isfinite(value) and value >= 0):
        raise LowdoseError(
            name, found=value, expected="a finite number, not negative", way_out="0 changes nothing."
        )


def known(method: Method) -> Method:
    """`method`, once it is known to be one."""
    if method not in get_args(Method):
        raise LowdoseError(
            "method",
            found=repr(method),
            expected=", ".join(get_args(Method)),
            way_out="For networks see the module of that name.",
        )
    return method
