"""The denoising methods, each by its own name and all by `denoise`."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.restoration import denoise_nl_means

from lowdose_utils.denoise.checks import (
    Floats,
    Image,
    Method,
    as_stack,
    known,
    noise_of,
    not_negative,
    widest_window,
)
from lowdose_utils.denoise.rof import rof
from lowdose_utils.errors import LowdoseError

Filter: TypeAlias = Callable[[Image], npt.NDArray[Any]]


def gaussian(images: npt.ArrayLike, sigma_px: float, *, workers: int | None = None) -> Floats:
    """Convolve with a Gaussian of standard deviation `sigma_px` pixels, mirrored at the border.

    White noise keeps ``1 / (2 sqrt(pi) sigma_px)`` of its standard deviation (for 1 px and more).
    """
    not_negative("sigma_px", sigma_px)
    return _each(images, lambda image: ndimage.gaussian_filter(image, sigma_px), workers)


def median(images: npt.ArrayLike, size: float, *, workers: int | None = None) -> Floats:
    """Median over a square of `size` pixels, odd and no wider than the image, mirrored at the border."""
    stack = as_stack("images", images)
    widest = widest_window(stack)
    if not (float(size).is_integer() and size % 2 == 1 and 1 <= size <= widest):
        raise LowdoseError(
            "size",
            found=size,
            expected=f"an odd number of pixels from 1 to {widest}",
            way_out="A median window has a middle pixel and fits into the image.",
        )
    return _each(images, lambda image: ndimage.median_filter(image, int(size)), workers)


def tv(
    images: npt.ArrayLike, weight: float, noise: float | None = None, *, workers: int | None = None
) -> Floats:
    """Total-variation denoising (Rudin, Osher and Fatemi, Physica D 60 (1992)), run until it has converged.

    Minimises ``|u - f|^2 / 2 + weight noise TV(u)`` with isotropic forward differences: the problem of
    scikit-image's `denoise_tv_chambolle`, whose `weight` is ours times `noise`.

    Parameters
    ----------
    images : array of shape (row, column) or (image, row, column)
    weight : float
        In units of `noise`; 0 changes nothing.
    noise : float, optional
        Standard deviation of the noise; estimated as in `denoise` if not given.

    Notes
    -----
    scikit-image's own iteration is not used, because at its defaults it stops far from the minimum, the
    earlier the stronger the noise: on a 40 x 256 projection with noise 1 and weight 1 / 4 / 16 the result
    was 0.07 / 0.18 / 0.2 noise std (root mean square) off, after 5000 steps without its stopping rule still
    0.001 / 0.02 / 0.1; and its best mean squared error over all weights was 14 to 26 per cent above that of
    the minimiser. Here ADMM (split Bregman: Goldstein and Osher, SIAM J. Imaging Sci. 2 (2009)) solves its
    quadratic step exactly by a cosine transform and stops when the duality gap proves the result to be within
    0.01 noise std (root mean square) of the minimiser, at such noise after some 100 steps. A RuntimeWarning
    tells if 3000 steps did not suffice, as for weights of 16 and more where the noise is 1 per cent of the
    contrast or less.
    """
    not_negative("weight", weight)
    return _scaled(images, weight, noise, lambda image: rof(image, weight), workers)


def nonlocal_means(
    images: npt.ArrayLike, strength: float, noise: float | None = None, *, workers: int | None = None
) -> Floats:
    """Non-local means (Buades, Coll and Morel, CVPR 2005): scikit-image's fast mode.

    Patches of 5 x 5 pixels are compared up to 6 pixels away in each direction. The cut-off distance h is
    `strength` times `noise` (0 changes nothing). The noise's own share of each patch distance is subtracted,
    which lowered the mean squared error of the best strength by 4 to 14 per cent in all cases tried.
    Parameters otherwise as for `tv`.
    """
    not_negative("strength", strength)

    def smooth(image: Image) -> npt.NDArray[Any]:
        # Patch distances are differences of running sums, hence float64.
        averaged: npt.NDArray[Any] = denoise_nl_means(
            image, patch_size=5, patch_distance=6, h=strength, sigma=1.0, fast_mode=True, preserve_range=True
        )
        return averaged

    return _scaled(images, strength, noise, smooth, workers)


def bm3d(
    images: npt.ArrayLike, strength: float, noise: float | None = None, *, workers: int | None = None
) -> Floats:
    """Block matching and 3-D filtering (Mäkinen, Azzari and Foi, IEEE TIP 29, 8339, 2020), an optional extra.

    The package `bm3d` is free for non-commercial use only and no part of the installation; its licence asks
    for a reference to its authors. It is told a noise of `strength` times `noise` (0 changes nothing).
    BM3D draws values towards zero; here the image's mean is taken off first, so that the offset does not
    matter. Where the background is zero exactly this cost 1 to 7 per cent of mean squared error.
    Parameters otherwise as for `tv`.

    Raises
    ------
    LowdoseError
        If the package is not installed, besides what `denoise` raises.
    """
    not_negative("strength", strength)
    try:
        package = importlib.import_module("bm3d")
    except ImportError:
        raise LowdoseError(
            "method bm3d",
            found="no package bm3d",
            expected="the package, whose licence allows non-commercial use only",
            way_out="If your use is non-commercial: pip install bm3d. Else use tv or nlm.",
        ) from None
    profile = package.BM3DProfile()
    profile.num_threads = 1  # its own threads make the result vary in the last digits
    return _scaled(images, strength, noise, lambda image: package.bm3d(image, strength, profile), workers)


def denoise(
    images: npt.ArrayLike,
    method: Method,
    setting: float,
    *,
    noise: float | None = None,
    workers: int | None = None,
) -> Floats:
    """Denoise each image of a stack by itself.

    Parameters
    ----------
    images : array of shape (row, column) or (image, row, column)
    method : {"gaussian", "median", "tv", "nlm", "bm3d"}
    setting : float
        Standard deviation in pixels (gaussian), odd window in pixels (median), or weight, h or sigma divided
        by the noise's standard deviation (tv, nlm, bm3d).
    noise : float, optional
        Standard deviation of the noise, one for all images. Not given: mean over the images of
        `skimage.restoration.estimate_sigma`, which takes the noise to be white. Unused by gaussian, median.
    workers : int, optional
        Threads; all processors if not given. The result does not depend on it.

    Returns
    -------
    array of float32, shape of `images`

    Raises
    ------
    LowdoseError
        If shape, values, method, setting, noise or workers are unusable.
    """
    match known(method):
        case "gaussian":
            return gaussian(images, setting, workers=workers)
        case "median":
            return median(images, setting, workers=workers)
        case "tv":
            return tv(images, setting, noise, workers=workers)
        case "nlm":
            return nonlocal_means(images, setting, noise, workers=workers)
        case "bm3d":
            return bm3d(images, setting, noise, workers=workers)


def _scaled(
    images: npt.ArrayLike, setting: float, noise: float | None, solve: Filter, workers: int | None
) -> Floats:
    """Solve for images of mean 0 and noise 1, and undo both."""
    stack = as_stack("images", images)
    sigma = 1.0 if setting == 0 and noise is None else noise_of(stack, noise)

    def one(image: Image) -> npt.NDArray[Any]:
        mean = image.mean()
        return image if setting == 0 else mean + sigma * solve((image - mean) / sigma)

    return _each(images, one, workers)


def _each(images: npt.ArrayLike, one: Filter, workers: int | None) -> Floats:
    """Apply `one` to every image, in threads: what it calls lets go of the interpreter's lock."""
    stack = as_stack("images", images)
    threads = (os.cpu_count() or 1) if workers is None else workers
    if threads < 1:
        raise LowdoseError("workers", found=workers, expected="1 or more", way_out="Leave it out for all.")
    result = np.empty(stack.shape, dtype=np.float32)

    def fill(place: int) -> None:
        result[place] = one(stack[place].astype(np.float64))

    with ThreadPoolExecutor(min(threads, len(stack))) as pool:
        list(pool.map(fill, range(len(stack))))
    return result.reshape(np.shape(images))
