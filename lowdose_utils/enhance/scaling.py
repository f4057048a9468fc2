"""Bringing images to the network's range of grey values, and back."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from lowdose_utils.errors import LowdoseError

Floats: TypeAlias = npt.NDArray[np.floating]


class Scale(NamedTuple):
    """What was taken off (`offset`) and divided by (`factor`): one each, or one for each image."""

    offset: Floats
    factor: Floats

    def do(self, images: Floats) -> npt.NDArray[np.float32]:
        """Bring images (image, row, column) to the network's range."""
        return ((images - self.offset) / self.factor).astype(np.float32)

    def undo(self, images: Floats) -> npt.NDArray[np.float32]:
        """Bring images back to where they were."""
        return (images * self.factor + self.offset).astype(np.float32)


def global_scale(images: npt.ArrayLike) -> Scale:
    """One scale for everything: the largest value of the high-dose training projections becomes 1.

    Raises
    ------
    LowdoseError
        If there is no positive value, or one that is not finite.
    """
    largest = float(np.max(finite("images", images)))
    if largest <= 0:
        raise LowdoseError(
            "images",
            found=f"largest value {largest:g}",
            expected="a positive one",
            way_out="Give line integrals.",
        )
    return Scale(np.zeros(1, np.float32), np.full(1, largest, np.float32))


def image_scale(images: npt.ArrayLike) -> Scale:
    """The paper's scale: of each image by itself, in two steps.

    Yang et al. 2018 subtract an image's mean and divide by its standard deviation, then bring minimum and
    maximum to 0 and 1. The second step undoes the first: the result is ``(I - min) / (max - min)``, which is
    what is done here. Of a noisy image both are extremes of the noise, so the scale depends on the dose.

    Raises
    ------
    LowdoseError
        If an image is constant: it has no standard deviation to divide by.
    """
    stack = finite("images", images)
    low, high = (f(stack, axis=(-2, -1), keepdims=True) for f in (np.min, np.max))
    if constant := np.flatnonzero(high == low).tolist():
        raise LowdoseError(
            "images",
            found=f"image {constant[0]} is constant ({len(constant)} in all)",
            expected="images with structure or noise (a standard deviation above zero)",
            way_out="Leave empty projections out, or use the global scale.",
        )
    return Scale(low, high - low)


def matched(enhanced: Floats, noisy: Floats) -> npt.NDArray[np.float32]:
    """Give enhanced images (image, row, column) the offset and contrast of the noisy ones they came from.

    A straight line is fitted for each image, noisy against enhanced: with noise of mean zero in the noisy
    image only, its slope and offset are unbiased. The paper does not say how its per-image normalisation is
    undone on projections whose high-dose partner was never measured; this is our choice. A flat result
    gets the mean of the noisy image.
    """
    axes = (-2, -1)
    mean, target = enhanced.mean(axes, keepdims=True), noisy.mean(axes, keepdims=True)
    centred = enhanced - mean
    power = (centred**2).sum(axes, keepdims=True)
    slope = np.where(
        power > 0, (centred * (noisy - target)).sum(axes, keepdims=True) / np.maximum(power, 1e-30), 0
    )
    result: npt.NDArray[np.float32] = (target + slope * centred).astype(np.float32)
    return result


def finite(name: str, images: npt.ArrayLike, dimensions: int = 3) -> Floats:
    """`images` as floating-point array with that many dimensions, all values finite.

    Raises
    ------
    LowdoseError
        If it is anything else.
    """
    stack = np.asarray(images)
    if stack.ndim != dimensions or stack.size == 0:
        raise LowdoseError(
            name,
            found=f"shape {stack.shape}",
            expected=f"{dimensions} dimensions, none of them empty",
            way_out="Projections are (angle, row, column).",
        )
    if bad := stack.size - int(np.isfinite(stack).sum()):
        raise LowdoseError(
            name,
            found=f"{bad} values that are NaN or infinite",
            expected="finite values",
            way_out="Repair the data first: correct.repair_bad_pixels.",
        )
    # Half precision is for files: sums of squares overflow it.
    return stack.astype(np.promote_types(stack.dtype, np.float32), copy=False)
