"""Cutting images into overlapping patches, and putting them together again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lowdose_utils.errors import LowdoseError

Floats = npt.NDArray[np.float32]


def corners(length: int, patch: int, step: int) -> list[int]:
    """Where patches begin along one side: every `step` pixels, and one that ends with the image.

    Raises
    ------
    LowdoseError
        If the patch is larger than the image, or the step leaves gaps.
    """
    if not 1 <= step <= patch <= length:
        raise LowdoseError(
            "patch, step",
            found=f"patches of {patch} every {step} pixels in an image of {length}",
            expected="step <= patch <= the image's side",
            way_out="Take smaller patches, or a network for images of any size.",
        )
    return [*range(0, length - patch, step), length - patch]


def cut(image: Floats, patch: int, step: int) -> Floats:
    """All patches of an image (row, column), as (patch, row, column).

    Raises
    ------
    LowdoseError
        If a patch is larger than the image, or the step leaves gaps.
    """
    return np.stack([image[window] for window in windows(image.shape, patch, step)])


def joined(patches: Floats, shape: tuple[int, int], step: int) -> Floats:
    """Put the patches of `cut` together: each pixel is the mean of all patches that hold it.

    The number of patches is counted pixel by pixel. (The code that the paper's authors published divides by
    ``min(i + step, p, H - i) min(j + step, p, W - j)`` instead, which is right for steps of one pixel only.)

    Raises
    ------
    LowdoseError
        If these are not the patches of an image of that shape.
    """
    places = list(windows(shape, patches.shape[-1], step))
    if patches.shape != (len(places), *patches.shape[-1:] * 2):
        raise LowdoseError(
            "patches",
            found=f"shape {patches.shape}",
            expected=f"{len(places)} squares, for an image of {shape} and a step of {step}",
            way_out="Give shape and step as they were cut.",
        )
    total, count = np.zeros(shape, np.float64), np.zeros(shape, np.float64)
    for window, content in zip(places, patches, strict=True):
        total[window] += content
        count[window] += 1
    return (total / count).astype(np.float32)


def windows(shape: tuple[int, ...], patch: int, step: int) -> Iterator[tuple[slice, slice]]:
    """The patches' places, row by row."""
    for top in corners(shape[0], patch, step):
        for left in corners(shape[1], patch, step):
            yield slice(top, top + patch), slice(left, left + patch)
