"""Gaussian derivatives in three dimensions and what is made of them.

A function here takes a part of a volume, float32 (slice, row, column), and the box of it that is wanted.
Around the box it needs as many voxels as the function looks; where the part ends before that, its outermost
voxels are repeated, so it may do so only where the volume ends. First comes the slices' axis, as a product
with a banded matrix, which spends nothing on slices that are not wanted; then rows and columns of each slice
by OpenCV.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from lowdose_utils.classify.smooth import Image

Box: TypeAlias = tuple[slice, slice, slice]
Reach: TypeAlias = tuple[int, int, int]
Order: TypeAlias = tuple[int, int, int]

LOCAL = ("gaussian", "gradient", "laplacian", "hessian")  # made of the derivatives at a voxel alone
INTEGRATION = (1.0, 3.0)  # standard deviations in pixels that smooth the structure tensor
SMOOTHED: Order = (0, 0, 0)
FIRST: tuple[Order, ...] = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
SECOND: tuple[Order, ...] = ((2, 0, 0), (0, 2, 0), (0, 0, 2), (1, 1, 0), (1, 0, 1), (0, 1, 1))


def reach(sigma: float) -> int:
    """Half-width of the kernels in voxels: 4 standard deviations, and 1 at least."""
    return max(int(4 * sigma + 0.5), 1)


def reaches(sigma: float, aspect: float) -> Reach:
    """Half-width of the kernels along each axis."""
    return reach(sigma / aspect), reach(sigma), reach(sigma)


def structure_reaches(sigma: float, aspect: float) -> Reach:
    """Voxels that a structure eigenvalue looks at, to each side along each axis."""
    z, y, x = reaches(sigma, aspect)
    more = reaches(max(INTEGRATION), aspect)
    return z + more[0], y + more[1], x + more[2]


def window(box: Box, margin: Reach, shape: tuple[int, ...]) -> tuple[Box, Box]:
    """The box grown by a margin as far as the array goes, and where in the grown one the box lies."""
    sides = [
        (max(side.start - more, 0), min(side.stop + more, size), side)
        for side, more, size in zip(box, margin, shape, strict=True)
    ]
    z, y, x = (slice(low, high) for low, high, _ in sides)
    inner = tuple(slice(side.start - low, side.stop - low) for low, _, side in sides)
    return (z, y, x), (inner[0], inner[1], inner[2])


def kernel(sigma: float, order: int) -> npt.NDArray[np.float64]:
    """A Gaussian or its first or second derivative, sampled, for correlation; `sigma` in voxels.

    Samples alone would not differentiate exactly, least of all at small scales, and would leave a trace of
    the grey level in second derivatives. So they are adjusted: smoothing keeps constants, and derivatives are
    exact for polynomials up to their order. Far below one voxel they become the differences of neighbours.
    """
    x = np.arange(-reach(sigma), reach(sigma) + 1.0)
    std = sigma if order == 0 else max(sigma, 0.2)  # narrower, the neighbours' samples would vanish
    bell: npt.NDArray[np.float64] = np.exp(-0.5 * (x / std) ** 2)
    bell /= bell.sum()
    if order == 0:
        return bell
    if order == 1:
        slope: npt.NDArray[np.float64] = x * bell
        slope /= (x * slope).sum()
        return slope
    curve: npt.NDArray[np.float64] = ((x / std) ** 2 - 1) * bell
    curve -= curve.sum() * bell
    curve *= 2 / (x**2 * curve).sum()
    return curve


def derivatives(
    block: Image,
    inner: Box,
    sigma: float,
    aspect: float,
    orders: tuple[Order, ...],
    margin: Reach = (0, 0, 0),
) -> dict[Order, Image]:
    """Derivatives of the smoothed volume, by their orders along slices, rows and columns.

    They are those on the box `inner`, grown by a margin as far as `block` goes. The unit of length is the
    pixel; slices are `aspect` pixels apart.
    """
    (keep_z, keep_y, keep_x), _ = window(inner, margin, block.shape)
    flat = np.ascontiguousarray(block).reshape(len(block), -1)
    within = [kernel(sigma, order) for order in range(3)]
    result = {}
    for along in sorted({order[0] for order in orders}):
        weights = kernel(sigma / aspect, along) / aspect**along
        smooth = (_band(weights, keep_z, len(block)) @ flat).reshape(-1, *block.shape[1:])
        for order in (each for each in orders if each[0] == along):
            planes = np.empty(
                (len(smooth), keep_y.stop - keep_y.start, keep_x.stop - keep_x.start), np.float32
            )
            for plane, source in zip(planes, smooth, strict=True):
                whole = cv2.sepFilter2D(
                    source,
                    cv2.CV_32F,
                    within[order[2]],
                    within[order[1]],
                    borderType=cv2.BORDER_REPLICATE,
                )
                plane[:] = whole[keep_y, keep_x]
            result[order] = planes
    return result


def _band(weights: npt.NDArray[np.float64], keep: slice, size: int) -> Image:
    """Matrix that correlates `size` slices with `weights` and keeps some; the end slices stand for those
    beyond."""
    matrix = np.zeros((keep.stop - keep.start, size))
    half = len(weights) // 2
    for row, position in enumerate(range(keep.start, keep.stop)):
        np.add.at(matrix[row], np.clip(np.arange(position - half, position + half + 1), 0, size - 1), weights)
    return matrix.astype(np.float32)


def eigenvalues(matrices: tuple[Image, ...]) -> list[Image]:
    """Eigenvalues, largest first, of symmetric 3 x 3 matrices given as their elements 00, 11, 22, 01, 02, 12.

    In closed form (Smith, Commun. ACM 4, 168, 1961) in float64: exact to some 1e-8 of the largest.
    """
    result = [np.empty_like(matrices[0]) for _ in range(3)]
    for k, planes in enumerate(zip(*matrices, strict=True)):  # a slice at a time, which stays in the cache
        a, b, c, d, e, f = (plane.astype(np.float64) for plane in planes)
        middle = (a + b + c) / 3
        a, b, c = a - middle, b - middle, c - middle
        size = np.sqrt((a * a + b * b + c * c + 2 * (d * d + e * e + f * f)) / 6)
        determinant = a * (b * c - f * f) - d * (d * c - f * e) + e * (d * f - b * e)
        cosine = determinant / np.maximum(2 * size * size * size, np.finfo(np.float64).tiny)
        angle = np.arccos(np.clip(cosine, -1, 1)) / 3
        largest = 2 * size * np.cos(angle)
        smallest = 2 * size * np.cos(angle + 2 * np.pi / 3)
        for target, value in zip(result, (largest, -largest - smallest, smallest), strict=True):
            target[k] = middle + value
    return result


def local(
    block: Image, inner: Box, families: tuple[str, ...], sigma: float, aspect: float
) -> Iterator[Image]:
    """Those of Gaussian, gradient, Laplacian and Hessian that are wanted, from derivatives shared by them."""
    centred, level = _centred(block)
    orders: tuple[Order, ...] = ()
    for family, some in (("gaussian", (SMOOTHED,)), ("gradient", FIRST)):
        orders += some if family in families else ()
    if "hessian" in families:
        orders += SECOND
    elif "laplacian" in families:
        orders += SECOND[:3]
    found = derivatives(centred, inner, sigma, aspect, orders)
    if "gaussian" in families:
        yield found.pop(SMOOTHED) + level
    if "gradient" in families:
        z, y, x = (found.pop(order) for order in FIRST)
        yield np.sqrt(z * z + y * y + x * x)
    if "laplacian" in families:
        yield found[SECOND[0]] + found[SECOND[1]] + found[SECOND[2]]
    if "hessian" in families:
        yield from eigenvalues(tuple(found[order] for order in SECOND))


def differences(
    block: Image, inner: Box, sigma: float, smaller: tuple[float, ...], aspect: float
) -> Iterator[Image]:
    """The volume smoothed at each of the smaller scales minus the volume smoothed at `sigma`."""
    centred, _ = _centred(block)
    wide = derivatives(centred, inner, sigma, aspect, (SMOOTHED,))[SMOOTHED]
    for other in smaller:
        yield derivatives(centred, inner, other, aspect, (SMOOTHED,))[SMOOTHED] - wide


def structure(block: Image, inner: Box, sigma: float, aspect: float) -> Iterator[Image]:
    """Eigenvalues of the structure tensor: the gradient's product with itself, smoothed by `INTEGRATION`."""
    margin = reaches(max(INTEGRATION), aspect)
    found = derivatives(_centred(block)[0], inner, sigma, aspect, FIRST, margin)
    z, y, x = (found[order] for order in FIRST)
    _, core = window(inner, margin, block.shape)
    pairs = ((z, z), (y, y), (x, x), (z, y), (z, x), (y, x))
    for std in INTEGRATION:
        smoothed = (derivatives(one * two, core, std, aspect, (SMOOTHED,)) for one, two in pairs)
        yield from eigenvalues(tuple(each[SMOOTHED] for each in smoothed))


def _centred(block: Image) -> tuple[Image, np.float32]:
    """The volume less its mean, and the mean: keeps float32 accurate where grey values are far from 0."""
    level = np.float32(block.mean(dtype=np.float64))
    return block - level, level
