"""Gaussian derivatives with true standard deviations: derivatives, Laplacian, structure tensor.

The kernels are cut at ``int(r sigma) + 1`` pixels, r = 3, 4, 4, 5, 5, 5 for orders 0 to 5, and the image is
mirrored at its border without repeating the edge pixel (FeatureJ's rules; see Meijering's documentation).
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt
from scipy.special import eval_hermitenorm

from lowdose_utils.classify.smooth import Image

ORDERS = (2, 3, 4, 5)
INTEGRATION = (1.0, 3.0)  # standard deviations that smooth the structure tensor


def kernel_reach(sigma: float, order: int) -> int:
    """Half-width in pixels of the kernel for a derivative of this order."""
    return int(sigma * {0: 3, 1: 4, 2: 4}.get(order, 5)) + 1


def structure_reach(sigma: float) -> int:
    """Pixels that a structure eigenvalue looks at, to each side."""
    return kernel_reach(sigma, 1) + kernel_reach(max(INTEGRATION), 0)


def _kernel(sigma: float, order: int) -> npt.NDArray[np.float64]:
    """Samples of the `order`-th derivative of a Gaussian whose samples sum to 1, for correlation."""
    x = np.arange(-(reach := kernel_reach(sigma, order)), reach + 1) / sigma
    bell = np.exp(-(x**2) / 2)
    kernel: npt.NDArray[np.float64] = bell / bell.sum() * eval_hermitenorm(order, x) / sigma**order
    return kernel


def derivative(image: Image, sigma: float, down: int, across: int) -> Image:
    """Derivative of order `down` along the rows' axis and `across` along the columns', per pixel."""
    kernels = _kernel(sigma, across), _kernel(sigma, down)
    result = cv2.sepFilter2D(image, cv2.CV_64F, *kernels, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(result, np.float32)


def derivatives(image: Image, sigma: float) -> Iterator[Image]:
    """``Derivatives``: ``d^k/dx^k d^k/dy^k`` for k = 2 to 5."""
    for order in ORDERS:
        yield derivative(image, sigma, order, order)


def laplacian(image: Image, sigma: float) -> Iterator[Image]:
    """``Laplacian``: sum of the two second derivatives."""
    yield derivative(image, sigma, 2, 0) + derivative(image, sigma, 0, 2)


def structure(image: Image, sigma: float) -> Iterator[Image]:
    """``Structure``: larger and smaller eigenvalue of the structure tensor, smoothed with std 1, then 3.

    The tensor is the product of the gradient at `sigma` with itself.
    """
    down, across = derivative(image, sigma, 1, 0), derivative(image, sigma, 0, 1)
    for integration in INTEGRATION:
        xx, xy, yy = (
            derivative(product, integration, 0, 0).astype(np.float64)
            for product in (across**2, across * down, down**2)
        )
        middle, gap = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
        yield (middle + gap).astype(np.float32)
        yield (middle - gap).astype(np.float32)
