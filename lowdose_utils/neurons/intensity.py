"""The rival without a network: affinities from the grey values, smoothed and put on the best scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.filters import threshold_otsu

from lowdose_utils.errors import LowdoseError
from lowdose_utils.neurons.affinities import check_labels, grow_boundary

Kind = Literal["grey", "sheet"]
Floats = npt.NDArray[np.float32]
LEVELS = 256
NEAR = 2


def feature(raw: npt.ArrayLike, sigma: float, kind: Kind) -> Floats:
    """What is looked at: the smoothed grey value, or how much a place is like a bright or dark sheet.

    Parameters
    ----------
    raw : array, shape (z, y, x)
    sigma : float
        Standard deviation in voxels of the Gaussian.
    kind : {"grey", "sheet"}
        "sheet" is the second derivative across the direction in which it is strongest (Frangi et al., MICCAI
        1998): that of the Hessian's eigenvalues which is largest in size.

    Raises
    ------
    LowdoseError
        If `raw` is no volume, `sigma` is negative or the kind is another.
    """
    volume = np.asarray(raw, np.float32)
    if volume.ndim != 3 or sigma < 0 or kind not in ("grey", "sheet") or (kind == "sheet" and not sigma):
        raise LowdoseError(
            "raw, sigma, kind",
            found=(volume.shape, sigma, kind),
            expected='(z, y, x), not negative, "grey" or "sheet" (which needs a sigma above 0)',
            way_out='Take 1.0 and "grey".',
        )
    if kind == "grey":
        smooth: Floats = ndimage.gaussian_filter(volume, sigma) if sigma else volume
        return smooth
    second = {
        (i, j): ndimage.gaussian_filter(volume, sigma, order=[(axis == i) + (axis == j) for axis in range(3)])
        for i in range(3)
        for j in range(i, 3)
    }
    return _strongest(second)


def _strongest(second: dict[tuple[int, int], Floats]) -> Floats:
    """The eigenvalue largest in size of symmetric 3 x 3 matrices, by the cosine formula (Smith, Commun. ACM
    4, 168, 1961): NumPy's solver for each voxel by itself takes ten times as long."""
    mean = (second[0, 0] + second[1, 1] + second[2, 2]) / 3
    a, b, c = (second[i, i] - mean for i in range(3))
    d, e, f = second[0, 1], second[0, 2], second[1, 2]
    spread = np.sqrt((a * a + b * b + c * c + 2 * (d * d + e * e + f * f)) / 6)
    safe = np.where(spread > 0, spread, np.float32(1))
    a, b, c, d, e, f = (np.divide(one, safe, dtype=np.float32) for one in (a, b, c, d, e, f))
    half = (a * (b * c - f * f) - d * (d * c - f * e) + e * (d * f - b * e)) / 2
    angle = np.arccos(np.clip(half, -1, 1)) / 3
    largest = mean + 2 * spread * np.cos(angle)
    least = mean + 2 * spread * np.cos(angle + 2 * np.pi / 3)
    found: Floats = np.where(largest > -least, largest, least).astype(np.float32)
    return found


def tissue_mask(raw: npt.ArrayLike, *, sigma: float = 3.0, rim: int = 2) -> npt.NDArray[np.bool_]:
    """Where the sample is, by Otsu's threshold of the strongly smoothed grey values, less a rim.

    For a sample brighter than what surrounds it.

    Parameters
    ----------
    raw : array, shape (z, y, x)
    sigma : float
        Standard deviation in voxels of the Gaussian.
    rim : int
        Voxels taken off all around.
    """
    smooth = ndimage.gaussian_filter(np.asarray(raw, np.float32), sigma)
    found: npt.NDArray[np.bool_] = ndimage.binary_erosion(
        smooth > threshold_otsu(smooth), iterations=rim, border_value=True
    )
    return found


@dataclass(frozen=True)
class IntensityAffinities:
    """Affinities without a network.

    A voxel's value is the rank of its feature among the tissue's voxels, 0 to 1, turned round if cells have
    the lower values; an affinity is the smaller value of its two voxels. Any other scale that rises with the
    feature would only move the thresholds.

    Attributes
    ----------
    sigma : float
    kind : {"grey", "sheet"}
    levels : array
        Evenly spaced quantiles of the feature in tissue.
    bright : bool
        Whether cells have higher values than what is between them.
    """

    sigma: float
    kind: Kind
    levels: npt.NDArray[np.float64]
    bright: bool

    @classmethod
    def fit(
        cls, raw: npt.ArrayLike, labels: npt.ArrayLike, sigma: float, kind: Kind = "grey"
    ) -> IntensityAffinities:
        """Take ranks and sign from a labelled volume, boundaries grown by one layer.

        What is further than `NEAR` voxels from any cell is outside the tissue and not looked at.

        Raises
        ------
        LowdoseError
            If shapes differ, or all voxels are of one kind.
        """
        named = check_labels(labels)
        inside = grow_boundary(named) > 0
        values = feature(raw, sigma, kind)
        if values.shape != inside.shape or inside.all() or not inside.any():
            raise LowdoseError(
                "labels",
                found=f"shape {inside.shape}, {inside.mean():.0%} inside cells",
                expected=f"shape {values.shape}, cells and what is between",
                way_out="Give labels with 0 between the cells, or several cells.",
            )
        near = ndimage.maximum_filter(named, 2 * NEAR + 1) > 0
        levels = np.quantile(values[near], np.linspace(0, 1, LEVELS)).astype(np.float64)
        within, between = (
            np.interp(values[mask], levels, np.arange(LEVELS)) for mask in (inside, near & ~inside)
        )
        return cls(sigma, kind, levels, bool(within.mean() > between.mean()))

    def __call__(self, raw: npt.ArrayLike, tissue: npt.NDArray[np.bool_] | None = None) -> Floats:
        """Affinities (3, z, y, x) to the next voxels; 0 outside the tissue, if it is given."""
        values = feature(raw, self.sigma, self.kind)
        ranks = np.linspace(0, 1, len(self.levels))
        inside = np.interp(values, self.levels, ranks if self.bright else 1 - ranks).astype(np.float32)
        if tissue is not None:
            inside *= tissue
        found = np.repeat(inside[None], 3, axis=0)
        for axis in range(3):
            first, last = ([slice(None)] * 3 for _ in range(2))
            first[axis], last[axis] = slice(None, -1), slice(1, None)
            found[axis][*last] = np.minimum(inside[*last], inside[*first])
        return found
