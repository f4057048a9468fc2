"""A ceramic of several crystalline phases, whose grains fill a cylinder.

Stands in for the sample scanned by X-ray diffraction tomography in Hendriksen et al., "Deep denoising for
multi-dimensional synchrotron X-ray tomography without high-quality reference data", Sci. Rep. 11, 11895
(2021). `phantoms.diffraction` makes the scan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from lowdose_utils.errors import LowdoseError

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Ceramic:
    """A cylinder along z, filled with grains, each of one phase: the points nearest to its seed.

    Lengths are in units of half the image's side, y up.

    Attributes
    ----------
    radius : float
        Of the cylinder.
    seeds : array of shape (grain, 3)
        A point (z, y, x) in each grain.
    phases : array of shape (grain,)
        The phase of each grain, counted from 0; -1 is a pore.
    count : int
        How many phases there are.
    """

    radius: float
    seeds: Floats
    phases: npt.NDArray[np.integer]
    count: int

    def fractions(
        self, size: int, slices: int = 3, *, spacing: float = 1.0, finer: int = 1, supersample: int = 3
    ) -> npt.NDArray[np.float32]:
        """Share of each phase in the volume of each raster point.

        Parameters
        ----------
        size : int
            Raster points along a side; a point is a cube.
        slices : int
            Slices around height 0.
        spacing : float
            From slice to slice, in raster points.
        finer : int
            Divide y and x of each raster point further by this, for scans whose points differ from those on
            which they are reconstructed (`diffraction.channel_sinograms`).
        supersample : int
            Points along each side over which the share is taken.

        Returns
        -------
        array of float32, shape (slice, phase, y, x), `size` times `finer` along y and x
            The sum over phases is 1 inside but for pores, 0 outside.

        Raises
        ------
        LowdoseError
            If a number makes no sense.
        """
        if min(size, slices, finer, supersample) < 1 or not 0 < spacing < np.inf:
            raise LowdoseError(
                "size, slices, finer, supersample, spacing",
                found=(size, slices, finer, supersample, spacing),
                expected="at least 1, 1, 1 and 1, and positive",
                way_out="Count raster points.",
            )
        tree, side = KDTree(self.seeds), size * finer
        within = (np.arange(supersample) + 0.5) / supersample - 0.5
        across = (np.arange(side)[:, None] - (side - 1) / 2 + within).ravel() * 2 / side
        y, x = np.meshgrid(-across, across, indexing="ij")
        inside = np.hypot(y, x) <= self.radius
        places = np.stack([np.zeros(inside.sum()), y[inside], x[inside]], axis=1)
        phase = np.full(inside.shape, -1)
        result = np.zeros((slices, self.count, side, side), dtype=np.float32)
        for k in range(slices):
            for height in ((k - (slices - 1) / 2) * spacing + within) * 2 / size:
                places[:, 0] = height
                phase[inside] = self.phases[tree.query(places)[1]]
                for p in range(self.count):
                    fine = (phase == p).reshape(side, supersample, side, supersample)
                    result[k, p] += fine.mean(axis=(1, 3)) / supersample
        return result


def ceramic(
    phases: int = 5,
    grains: int = 400,
    *,
    shares: Sequence[float] | None = None,
    porosity: float = 0.05,
    radius: float = 0.9,
    height: float = 0.3,
    rng: np.random.Generator | int | None = None,
) -> Ceramic:
    """Scatter grains at random.

    Parameters
    ----------
    phases : int
        How many.
    grains : int
        Seeds in the cylinder of `height`; with the defaults some 15 lie side by side across a slice.
    shares : sequence of float, optional
        What the phases are to have of the solid, in any unit; equal parts by default. Dealt out by grains,
        so it holds roughly.
    porosity : float
        Share of the grains that are empty.
    radius, height : float
        Of the cylinder, in units of half the image's side.
    rng : Generator or int, optional
        Source of randomness.

    Raises
    ------
    LowdoseError
        If a number makes no sense.
    """
    parts = np.ones(max(phases, 0)) if shares is None else np.asarray(shares, dtype=np.float64)
    if phases < 1 or parts.shape != (phases,) or not ((parts >= 0).all() and 0 < parts.sum() < np.inf):
        raise LowdoseError(
            "phases, shares",
            found=(phases, shares),
            expected="at least one phase, and a share from 0 up for each",
            way_out="Leave shares out for equal parts.",
        )
    if grains < phases or not (0 <= porosity < 1 and 0 < radius <= 1 and 0 < height < np.inf):
        raise LowdoseError(
            "grains, porosity, radius, height",
            found=(grains, porosity, radius, height),
            expected=f"at least {phases}; from 0 to below 1; above 0 to 1; positive",
            way_out="Lengths are in units of half the image's side.",
        )
    rng = np.random.default_rng(rng)
    distance, turn = radius * np.sqrt(rng.uniform(size=grains)), rng.uniform(0, 2 * np.pi, grains)
    z = rng.uniform(-height / 2, height / 2, grains)
    # Grains are dealt out in the shares asked for, rather than drawn.
    solid = round(grains * (1 - porosity))
    ends = np.cumsum(parts) / parts.sum() * solid
    dealt = np.searchsorted(ends - 0.5, np.arange(grains), side="right").astype(np.int64)
    dealt[solid:] = -1
    return Ceramic(
        radius,
        np.stack([z, distance * np.sin(turn), distance * np.cos(turn)], axis=1),
        rng.permutation(np.minimum(dealt, phases - 1)),
        phases,
    )
