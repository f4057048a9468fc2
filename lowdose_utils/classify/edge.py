"""Smoothing that keeps edges: bilateral filter, anisotropic diffusion, and the Lipschitz top hat."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from lowdose_utils.classify.smooth import Image
from lowdose_utils.classify.texture import grey_levels

Floats: TypeAlias = npt.NDArray[np.float64]

BILATERAL_RADII = (5.0, 10.0)
BILATERAL_RANGES = (50.0, 100.0)
DIFFUSION_ITERATIONS = 20
DIFFUSION_ALONG = (0.1, 0.35)  # exponents a1, along the edge
DIFFUSION_ACROSS = 0.9  # exponent a2
SLOPES = (5.0, 10.0, 15.0, 20.0, 25.0)


def bilateral(
    image: Image, radius: float, low: float, high: float, compat: str | None, device: torch.device
) -> Iterator[Image]:
    """``Bilateral``: average weighted by nearness in place and in grey level, for ranges 50 and 100.

    The image is rescaled from `low`..`high` to 0..255. In a square window of side ``2 r + 1`` the weights are
    Gaussians of std ``0.4 (r + 1)`` pixels and ``0.4 (range + 1)`` grey levels, and 0 beyond the range.
    ``compat="weka"`` takes whole grey levels, repeats the plugin's 0 outside the image, which darkens its
    border, and cuts the result to whole levels of the rescaled image; ``compat=None`` repeats the edge pixel
    and returns to the image's own scale.
    """
    reach, weka = int(radius), compat == "weka"
    scale = 255 / (high - low) if high > low else 1.0
    grey = grey_levels(image, low, high).astype(np.float32) if weka else (image - low) * np.float32(scale)
    around = torch.from_numpy(np.pad(grey, reach, mode="constant" if weka else "edge")).to(device)
    rows, columns = grey.shape
    centre = around[reach : reach + rows, reach : reach + columns]
    weights = [torch.zeros_like(centre) for _ in BILATERAL_RANGES]
    pulls = [torch.zeros_like(centre) for _ in BILATERAL_RANGES]
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            nearness = -(dx * dx + dy * dy) / (2 * (0.4 * (radius + 1)) ** 2)
            change = around[reach + dy : reach + dy + rows, reach + dx : reach + dx + columns] - centre
            squared = change * change
            for limit, weight, pull in zip(BILATERAL_RANGES, weights, pulls, strict=True):
                similarity = squared * (-1 / (2 * (0.4 * (limit + 1)) ** 2))
                similarity.add_(nearness).exp_().mul_(squared <= limit * limit)
                weight += similarity
                pull.addcmul_(similarity, change)
    for weight, pull in zip(weights, pulls, strict=True):
        result = centre + pull / weight  # from the centre, so that flat ground stays exactly what it is
        yield (result.trunc_() if weka else result.div_(scale).add_(low)).cpu().numpy()


def anisotropic_diffusion(
    image: Image,
    smoothings: int,
    along: float,
    edge: float,
    compat: str | None,
    device: torch.device,
    iterations: int = DIFFUSION_ITERATIONS,
) -> Iterator[Image]:
    """``Anisotropic_diffusion``: 20 times a diffusion tensor, and `smoothings` steps of diffusion by each.

    The tensor is ``(1 + g)^-a1`` along the edge and ``(1 + g)^-a2`` across it, with `along` a1, a2 = 0.9,
    and g the squared gradient over ``(edge std / 256)²``; std is that of the image. The velocity is the
    trace of tensor times second derivatives. A step moves the fastest pixel by ``20 * 6 std / 256`` and
    stays within the image's values; as that couples all pixels, this is a feature of the whole image. The
    edge pixel is repeated outside. ``compat="weka"`` cuts the image to whole grey levels before and after.
    Tschumperle and Deriche, IEEE Trans. Pattern Anal. Mach. Intell. 27, 506 (2005), in two dimensions.
    """
    start = np.trunc(image) if compat == "weka" else image
    spread = float(start.std(dtype=np.float64, ddof=1))
    low, high = float(start.min()), float(start.max())
    if high == low:
        yield start
        return
    around = torch.from_numpy(np.pad(start, 1, mode="edge")).to(device)
    rows, columns = start.shape

    def moved(dy: int, dx: int) -> torch.Tensor:
        return around[1 + dy : 1 + dy + rows, 1 + dx : 1 + dx + columns]

    (nw, n, ne), (w, centre, e), (sw, s, se) = ([moved(dy, dx) for dx in (-1, 0, 1)] for dy in (-1, 0, 1))
    velocity, pair = torch.empty_like(centre), torch.empty_like(centre)
    corner, side = (2 - sqrt(2)) / 4, (sqrt(2) - 1) / 2  # a gradient without preferred direction
    for _ in range(iterations):
        x = corner * (ne + se - nw - sw) + side * (e - w)
        y = corner * (sw + se - nw - ne) + side * (s - n)
        squared = x * x + y * y
        logarithm = (squared / (edge * spread / 256) ** 2).log1p_()
        f1, f2 = (-along * logarithm).exp_(), (-DIFFUSION_ACROSS * logarithm).exp_()
        difference = torch.where(squared > 0, (f2 - f1) / squared, 0.0)
        xx, yy, xy = f1 + difference * x * x, f1 + difference * y * y, difference * x * y / 2
        middle = -2 * (xx + yy)
        for _ in range(smoothings):
            torch.mul(middle, centre, out=velocity)
            velocity.addcmul_(xx, torch.add(w, e, out=pair))
            velocity.addcmul_(yy, torch.add(n, s, out=pair))
            velocity.addcmul_(xy, torch.add(nw, se, out=pair).sub_(ne).sub_(sw))
            fastest = max(abs(float(v)) for v in torch.aminmax(velocity))
            if fastest == 0:
                break
            centre.add_(velocity, alpha=20 * 6 * spread / 256 / fastest).clamp_(low, high)
            around[0], around[-1] = around[1], around[-2]
            around[:, 0], around[:, -1] = around[:, 1], around[:, -2]
    result = centre.cpu().numpy().copy()
    yield np.trunc(result) if compat == "weka" else result


def _sweep(heights: Floats, slope: float) -> None:
    """Lower each pixel, in place, to what the cones of the pixels above and beside it allow."""
    columns = np.arange(heights.shape[1]) * slope
    for row, line in enumerate(heights):
        if row:
            above = np.pad(heights[row - 1], 1, constant_values=np.inf)
            diagonal = np.minimum(above[:-2], above[2:]) + slope * sqrt(2)
            np.minimum(line, np.minimum(above[1:-1] + slope, diagonal), out=line)
        for way in (line, line[::-1]):
            np.minimum(way, np.minimum.accumulate(way - columns) + columns, out=way)


def lipschitz(image: Image) -> Iterator[Image]:
    """``Lipschitz``: the image above its lower Lipschitz cover, for slopes 5 to 25 grey levels per pixel.

    The cover is the largest function below the image that nowhere rises faster than the slope, by chamfer
    distances of 1 and sqrt(2) (two sweeps; Rosenfeld and Pfaltz, Pattern Recogn. 1, 33 (1968)). A cone may
    reach across the whole image. The definition is the plugin's public description; its numbers were not
    compared.
    """
    for slope in SLOPES:
        cover = image.astype(np.float64)
        _sweep(cover, slope)
        _sweep(cover[::-1], slope)
        yield (image - cover).astype(np.float32)
