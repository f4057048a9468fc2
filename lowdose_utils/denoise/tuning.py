"""The setting at which a denoiser is at its best, found on images whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from skimage.metrics import mean_squared_error

from lowdose_utils.denoise.checks import Method, as_stack, known, noise_of, widest_window
from lowdose_utils.denoise.filters import denoise
from lowdose_utils.errors import LowdoseError

# Where the search begins; beyond it goes by factors of two, this often at most.
START: Mapping[Method, Sequence[float]] = {
    "gaussian": (0.5, 1, 2, 4),
    "median": (3, 5, 9, 17),
    "tv": (0.5, 1, 2, 4),
    "nlm": (0.4, 0.8, 1.6, 3.2),
    "bm3d": (0.5, 1, 2),
}
_WIDENINGS = 8


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
    images, truth = as_stack("noisy", noisy), as_stack("clean", clean)
    if images.shape != truth.shape:
        raise LowdoseError(
            "noisy and clean",
            found=f"shapes {np.shape(noisy)} and {np.shape(clean)}",
            expected="the same shape",
            way_out="Give each noisy image its own truth.",
        )
    grid = [float(value) for value in (START[known(method)] if start is None else start)]
    if not grid or not all(np.isfinite(value) and value > 0 for value in grid):
        raise LowdoseError(
            "start", found=grid, expected="positive settings", way_out="The search goes in factors of two."
        )
    widest = widest_window(images)
    if method not in ("gaussian", "median"):
        noise = noise_of(images, noise)
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
