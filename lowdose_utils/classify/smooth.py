"""Gaussian blur and what is made of it: Sobel, Hessian, differences of Gaussians.

Scales are the plugin's radii; the Gaussian's standard deviation is 0.4 of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, log, sqrt
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.ndimage import correlate

Image: TypeAlias = npt.NDArray[np.float32]

HESSIAN = (
    "",
    "Trace_",
    "Determinant_",
    "Eigenvalue_1_",
    "Eigenvalue_2_",
    "Orientation_",
    "Square_Eigenvalue_Difference_",
    "Normalized_Eigenvalue_Difference_",
)
ACCURACY = 2e-4  # where ImageJ cuts the Gaussian's tail, relative to its peak


def gaussian_reach(scale: float) -> int:
    """Pixels from which a blurred pixel is made, to each side."""
    return ceil(0.4 * scale * sqrt(-2 * log(ACCURACY))) if scale else 0


def gaussian_kernel(sigma: float) -> npt.NDArray[np.float64]:
    """Right half, centre first, of ImageJ's Gaussian of standard deviation `sigma` in pixels.

    The tail is a parabola that ends with slope zero just outside the kernel and is tangent to the Gaussian,
    so that the cut makes no step. The whole kernel's sum is 1.
    """
    size = ceil(sigma * sqrt(-2 * log(ACCURACY))) + 1
    half = np.exp(-0.5 * (np.arange(size) / sigma) ** 2).astype(np.float32).astype(np.float64)
    if size > 3:
        slopes = np.sqrt(half) / (size - np.arange(size))  # of parabolas through each point, as a square root
        join = size - 1
        while join - 1 >= size // 2 and slopes[join - 1] < slopes[join]:
            join -= 1
        tail = np.arange(join + 1, size)
        half[tail] = (((size - tail) * slopes[join]) ** 2).astype(np.float32)
    half /= half[0] + 2 * half[1:].sum()
    return half


def _blur_rows(image: Image, half: npt.NDArray[np.float64]) -> Image:
    """Convolve the columns with a symmetric kernel in float32, tap by tap in ImageJ's order.

    The order fixes the rounding, and on flat ground the Hessian's orientation is nothing but rounding.
    """
    outside = (0.5 + 0.5 * half[0] - np.cumsum(half)).astype(np.float32)[:, None]  # weight beyond each tap
    taps, reach, rows = half.astype(np.float32), len(half) - 1, len(image)
    padded = np.pad(image, ((reach, reach), (0, 0)))
    result: Image = image * taps[0]
    near = min(len(half), rows)
    result[:near] += outside[:near] * image[0]
    result[rows - near :] += outside[:near][::-1] * image[-1]
    both = np.empty_like(image)
    for k in range(1, reach + 1):
        np.add(padded[reach - k : reach - k + rows], padded[reach + k : reach + k + rows], out=both)
        both *= taps[k]
        result += both
    return result


def blur(image: Image, scale: float) -> Image:
    """Gaussian blur, std 0.4 `scale` pixels, with the edge pixel repeated outside; scale 0 leaves the image.

    ImageJ 1.53's blur at accuracy 2e-4, without its shortcut for standard deviations above 8.5 pixels.
    """
    if not scale:
        return image
    half = gaussian_kernel(0.4 * scale)
    rows = np.ascontiguousarray(image.T)  # ImageJ blurs along the rows first
    result: Image = _blur_rows(np.ascontiguousarray(_blur_rows(rows, half).T), half)
    return result


def _sobel(image: Image, axis: int) -> Image:
    """Sobel's first derivative along `axis`, not divided by 8, the edge pixel repeated outside."""
    kernel = np.outer([1, 2, 1], [1, 0, -1])
    result: Image = correlate(image, kernel if axis else kernel.T, mode="nearest")  # summed in float64
    return result


def gaussian(image: Image, scale: float) -> Iterator[Image]:
    """``Gaussian_blur``: the blurred image."""
    yield blur(image, scale)


def sobel(image: Image, scale: float) -> Iterator[Image]:
    """``Sobel_filter``: gradient magnitude of the blurred image by Sobel's kernels."""
    blurred = blur(image, scale)
    yield np.hypot(_sobel(blurred, 0), _sobel(blurred, 1))


def hessian(image: Image, scale: float) -> Iterator[Image]:
    """``Hessian``: eight invariants of second derivatives by Sobel's kernels twice, of the blurred image.

    In order: module ``sqrt(xx² + xy² + yy²)`` (the mixed one once), trace, determinant, larger and smaller
    eigenvalue, orientation ``sign(xy) acos((xx - yy) / D) / 2`` with ``D = sqrt(4 xy² + (xx - yy)²)`` (0
    where D is 0, and the sign of xy = 0 positive), ``trace² D²`` and ``D²``. Twice Sobel's kernel is 64
    times a derivative per pixel². "x" runs down the rows, as in the plugin.
    """
    blurred = blur(image, scale)
    down, across = _sobel(blurred, 0), _sobel(blurred, 1)
    xx, xy, yy = (
        derivative.astype(np.float64) for derivative in (_sobel(down, 0), _sobel(down, 1), _sobel(across, 1))
    )
    trace, split = xx + yy, (xx - yy) ** 2 + 4 * xy**2
    gap = np.sqrt(split)
    cosine = np.divide(xx - yy, gap, out=np.ones_like(gap), where=gap > 0)
    orientation = np.where(xy < 0, -0.5, 0.5) * np.arccos(np.clip(cosine, -1, 1))
    for channel in (
        np.sqrt(xx**2 + xy**2 + yy**2),
        trace,
        xx * yy - xy**2,
        (trace + gap) / 2,
        (trace - gap) / 2,
        orientation,
        trace**2 * split,
        split,
    ):
        yield channel.astype(np.float32)


def difference_of_gaussians(image: Image, scale: float, smaller: tuple[float, ...]) -> Iterator[Image]:
    """``Difference_of_gaussians``: each blur at a `smaller` scale minus the blur at `scale`."""
    wide = blur(image, scale)
    for other in smaller:
        yield blur(image, other) - wide
