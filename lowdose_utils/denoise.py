"""The plain rivals of the neural networks: denoising of 2-D images, one by one, each tuned to its best.

Images are ``(row, column)`` or a stack ``(image, row, column)`` of projections or slices. Every method is
indifferent to offset and scale: ``denoise(a x + b) = a denoise(x) + b``, as long as `noise` scales with x.
"""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage
from skimage.metrics import mean_squared_error
from skimage.restoration import denoise_nl_means, estimate_sigma

from lowdose_utils.errors import LowdoseError

Method = Literal["gaussian", "median", "tv", "nlm", "bm3d"]
Floats: TypeAlias = npt.NDArray[np.float32]
_Image: TypeAlias = npt.NDArray[np.float64]
_Filter: TypeAlias = Callable[[_Image], npt.NDArray[Any]]

# Where the search begins; beyond it goes by factors of two, this often at most.
_START: Mapping[Method, Sequence[float]] = {
    "gaussian": (0.5, 1, 2, 4),
    "median": (3, 5, 9, 17),
    "tv": (0.5, 1, 2, 4),
    "nlm": (0.4, 0.8, 1.6, 3.2),
    "bm3d": (0.5, 1, 2),
}
_WIDENINGS = 8
# Total variation: bound on the distance from the minimiser (root mean square, in noise std), and limit.
_TV_BOUND, _TV_ITERATIONS = 0.01, 3000


def gaussian(images: npt.ArrayLike, sigma_px: float, *, workers: int | None = None) -> Floats:
    """Convolve with a Gaussian of standard deviation `sigma_px` pixels, mirrored at the border.

    White noise keeps ``1 / (2 sqrt(pi) sigma_px)`` of its standard deviation (for 1 px and more).
    """
    _not_negative("sigma_px", sigma_px)
    return _each(images, lambda image: ndimage.gaussian_filter(image, sigma_px), workers)


def median(images: npt.ArrayLike, size: float, *, workers: int | None = None) -> Floats:
    """Median over a square of `size` pixels, odd and no wider than the image, mirrored at the border."""
    stack = _stack("images", images)
    widest = _widest_window(stack)
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
    _not_negative("weight", weight)
    return _scaled(images, weight, noise, lambda image: _rof(image, weight), workers)


def nonlocal_means(
    images: npt.ArrayLike, strength: float, noise: float | None = None, *, workers: int | None = None
) -> Floats:
    """Non-local means (Buades, Coll and Morel, CVPR 2005): scikit-image's fast mode.

    Patches of 5 x 5 pixels are compared up to 6 pixels away in each direction. The cut-off distance h is
    `strength` times `noise` (0 changes nothing). The noise's own share of each patch distance is subtracted,
    which lowered the mean squared error of the best strength by 4 to 14 per cent in all cases tried.
    Parameters otherwise as for `tv`.
    """
    _not_negative("strength", strength)

    def smooth(image: _Image) -> npt.NDArray[Any]:
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
    _not_negative("strength", strength)
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
    match _known(method):
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


@dataclass(frozen=True)
class Tuned:
    """The best setting that `best_setting` found.

    Attributes
    ----------
    method : str
    setting : float
        As for `denoise`.
    error : float
        Its value of the criterion.
    tried : mapping of float to float
        Error of each setting tried, in increasing order of the settings.
    """

    method: Method
    setting: float
    error: float
    tried: Mapping[float, float]

    @property
    def at_edge(self) -> bool:
        """Whether the best is the least or greatest setting tried, so that a better one may lie beyond."""
        return self.setting in (min(self.tried), max(self.tried))


def best_setting(
    method: Method,
    noisy: npt.ArrayLike,
    clean: npt.ArrayLike,
    *,
    noise: float | None = None,
    criterion: Callable[[npt.NDArray[Any], npt.NDArray[Any]], float] = mean_squared_error,
    start: Sequence[float] | None = None,
    workers: int | None = None,
) -> Tuned:
    """Find the setting whose result comes closest to the truth.

    All settings of `start` are tried. While the best of all lies at the edge, twice or half of it is tried as
    well, at most eight times (`Tuned.at_edge` tells whether that was not enough; a median window ends at one
    pixel and at the image's width). At last three settings, evenly spaced in the logarithm, are tried
    between the best and its neighbour on either side. The search is deterministic; it may miss the best of a
    criterion that has several minima.

    Parameters
    ----------
    method, noise, workers
        As for `denoise`.
    noisy, clean : array of shape (row, column) or (image, row, column)
        Pairs to tune on.
    criterion : callable
        From denoised and clean images (image, row, column) to a number; smaller is better. Mean squared
        error by default.
    start : sequence of float, optional
        Positive settings. Default: 0.5 to 4 px (gaussian), 3 to 17 px (median), 0.5 to 4 (tv), 0.4 to 3.2
        (nlm), 0.5 to 2 (bm3d).

    Raises
    ------
    LowdoseError
        As `denoise`; also if the shapes differ, `start` is unusable or the criterion is not a number.
    """
    images, truth = _stack("noisy", noisy), _stack("clean", clean)
    if images.shape != truth.shape:
        raise LowdoseError(
            "noisy and clean",
            found=f"shapes {np.shape(noisy)} and {np.shape(clean)}",
            expected="the same shape",
            way_out="Give each noisy image its own truth.",
        )
    grid = [float(value) for value in (_START[_known(method)] if start is None else start)]
    if not grid or not all(np.isfinite(value) and value > 0 for value in grid):
        raise LowdoseError(
            "start", found=grid, expected="positive settings", way_out="The search goes in factors of two."
        )
    widest = _widest_window(images)
    if method not in ("gaussian", "median"):
        noise = _noise(images, noise)
    tried: dict[float, float] = {}

    def attempt(setting: float) -> bool:
        if method == "median":
            setting = float(min(max(2 * round((setting - 1) / 2) + 1, 1), widest))
        if setting in tried:
            return False
        error = float(criterion(denoise(images, method, setting, noise=noise, workers=workers), truth))
        if np.isnan(error):
            raise LowdoseError(
                "criterion",
                found=f"NaN at setting {setting:g}",
                expected="a number",
                way_out="Check it on the clean images.",
            )
        tried[setting] = error
        return True

    def best() -> float:
        return min(sorted(tried), key=tried.__getitem__)

    for setting in grid:
        attempt(setting)
    for _ in range(_WIDENINGS):
        beyond = [2 * best()] * (best() == max(tried)) + [best() / 2] * (best() == min(tried))
        if not any([attempt(setting) for setting in beyond]):
            break
    ordered, middle = sorted(tried), best()
    place = ordered.index(middle)
    for neighbour in ordered[max(place - 1, 0) : place] + ordered[place + 1 : place + 2]:
        for setting in np.geomspace(middle, neighbour, 5)[1:-1]:
            attempt(float(setting))
    errors = MappingProxyType(dict(sorted(tried.items())))
    return Tuned(method=method, setting=best(), error=errors[best()], tried=errors)


def _rof(image: _Image, weight: float) -> _Image:
    """The minimiser ``u`` of ``|u - image|^2 / 2 + weight TV(u)``, noise being 1."""
    # Eight times the weight converged fastest, or nearly so, for weights from 0.5 to 32.
    coupling = 8 * weight
    turn = [2 - 2 * np.cos(np.pi * np.arange(n) / n) for n in image.shape]
    inverse = 1 / (1 + coupling * (turn[0][:, None] + turn[1]))
    data = fft.dctn(image, norm="ortho")
    split = multiplier = np.zeros((2, *image.shape))
    bound = np.inf
    for iteration in range(1, _TV_ITERATIONS + 1):
        target = data + coupling * fft.dctn(_differences_adjoint(split - multiplier), norm="ortho")
        u = fft.idctn(target * inverse, norm="ortho")
        steps = _differences(u)
        full = multiplier + 1.7 * steps - 0.7 * split  # over-relaxation
        multiplier = full * np.minimum(1, weight / coupling / np.maximum(np.hypot(*full), 1e-300))
        split = full - multiplier
        if iteration % 10 == 0:
            # The multiplier is a feasible dual point; both parts of the gap are sums of what is not negative,
            # and the gap is at least |u - minimiser|^2 / 2.
            dual = coupling * multiplier
            gap = np.sum((u - image + _differences_adjoint(dual)) ** 2) / 2
            gap += np.sum(weight * np.hypot(*steps) - (dual * steps).sum(axis=0))
            bound = float(np.sqrt(2 * max(gap, 0) / image.size))
            if bound < _TV_BOUND:
                return np.asarray(u)
    warnings.warn(
        f"Total variation of weight {weight:g}: within {bound:.2g} noise std of the minimum after "
        f"{_TV_ITERATIONS} iterations, not within {_TV_BOUND:g}",
        RuntimeWarning,
        stacklevel=2,
    )
    return np.asarray(u)


def _differences(image: _Image) -> _Image:
    """Forward differences (2, row, column), zero across the border."""
    steps = np.zeros((2, *image.shape))
    np.subtract(image[1:], image[:-1], out=steps[0, :-1])
    np.subtract(image[:, 1:], image[:, :-1], out=steps[1, :, :-1])
    return steps


def _differences_adjoint(steps: _Image) -> _Image:
    """The transpose of `_differences`, for steps that are zero across the border."""
    return np.asarray(-np.diff(steps[0], axis=0, prepend=0) - np.diff(steps[1], axis=1, prepend=0))


def _scaled(
    images: npt.ArrayLike, setting: float, noise: float | None, solve: _Filter, workers: int | None
) -> Floats:
    """Solve for images of mean 0 and noise 1, and undo both."""
    stack = _stack("images", images)
    sigma = 1.0 if setting == 0 and noise is None else _noise(stack, noise)

    def one(image: _Image) -> npt.NDArray[Any]:
        mean = image.mean()
        return image if setting == 0 else mean + sigma * solve((image - mean) / sigma)

    return _each(images, one, workers)


def _each(images: npt.ArrayLike, one: _Filter, workers: int | None) -> Floats:
    """Apply `one` to every image, in threads: what it calls lets go of the interpreter's lock."""
    stack = _stack("images", images)
    threads = (os.cpu_count() or 1) if workers is None else workers
    if threads < 1:
        raise LowdoseError("workers", found=workers, expected="1 or more", way_out="Leave it out for all.")
    result = np.empty(stack.shape, dtype=np.float32)

    def fill(place: int) -> None:
        result[place] = one(stack[place].astype(np.float64))

    with ThreadPoolExecutor(min(threads, len(stack))) as pool:
        list(pool.map(fill, range(len(stack))))
    return result.reshape(np.shape(images))


def _stack(name: str, images: npt.ArrayLike) -> npt.NDArray[Any]:
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


def _noise(stack: npt.NDArray[Any], noise: float | None) -> float:
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


def _widest_window(stack: npt.NDArray[Any]) -> int:
    """The largest odd number of pixels that fits into the image both ways."""
    side = min(stack.shape[-2:])
    return int(side - (side % 2 == 0))


def _not_negative(name: str, value: float) -> None:
    if not (np.isfinite(value) and value >= 0):
        raise LowdoseError(
            name, found=value, expected="a finite number, not negative", way_out="0 changes nothing."
        )


def _known(method: Method) -> Method:
    if method not in get_args(Method):
        raise LowdoseError(
            "method",
            found=repr(method),
            expected=", ".join(get_args(Method)),
            way_out="For networks see the module of that name.",
        )
    return method
