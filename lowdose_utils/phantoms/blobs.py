"""Smooth round blobs: a phantom without edges, whose samples and projections are exact.

What an algorithm makes of it shows the algorithm's own error, free of that of drawing edges with pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lowdose_utils.project import check_angles

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Blobs:
    """Gaussians of peak `values` (blob,) at `centres` (blob, 2) as (x, y), with standard deviation `sigmas`.

    Lengths are in units of half the image's side, y up.
    """

    values: Floats
    centres: Floats
    sigmas: Floats

    def image(self, size: int) -> Floats:
        """Values at the pixel centres, (y, x)."""
        across = (np.arange(size) - (size - 1) / 2) * 2 / size
        x, y, s = self.centres[:, 0, None], self.centres[:, 1, None], self.sigmas[:, None]
        columns = np.exp(-((across - x) ** 2) / (2 * s**2))
        rows = np.exp(-((-across - y) ** 2) / (2 * s**2))
        image: Floats = np.einsum("b,by,bx->yx", self.values, rows, columns)
        return image

    def projections(
        self, size: int, angles: npt.ArrayLike, *, columns: int | None = None, axis: float | None = None
    ) -> Floats:
        """Line integrals (angle, column) through the columns' centres, in value times pixels."""
        theta = check_angles(angles)
        columns = size if columns is None else columns
        axis = (columns - 1) / 2 if axis is None else axis
        t = (np.arange(columns) - axis) * 2 / size
        result = np.zeros((len(theta), columns))
        for value, (x, y), s in zip(self.values, self.centres, self.sigmas, strict=True):
            middle = x * np.cos(theta) + y * np.sin(theta)
            peak = value * np.sqrt(2 * np.pi) * s * size / 2
            result += peak * np.exp(-((t - middle[:, None]) ** 2) / (2 * s**2))
        return result


def blobs(
    count: int = 20,
    *,
    sigma: tuple[float, float] = (0.02, 0.12),
    radius: float = 0.6,
    rng: np.random.Generator | int | None = None,
) -> Blobs:
    """Scatter `count` blobs of values 0.2 to 1, with standard deviations within `sigma`, in a disc."""
    rng = np.random.default_rng(rng)
    distance, turn = radius * np.sqrt(rng.uniform(size=count)), rng.uniform(0, 2 * np.pi, count)
    centres = np.stack([distance * np.cos(turn), distance * np.sin(turn)], axis=1)
    return Blobs(rng.uniform(0.2, 1, count), centres, rng.uniform(*sigma, count))
