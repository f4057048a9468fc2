"""Foam: a cylinder with many spherical bubbles that do not touch.

After Pelt, Hendriksen and Batenburg, "Foam-like phantoms for comparing tomography algorithms", J.
Synchrotron Rad. 29 (2022): much structure at all scales, and exact projections.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lowdose_utils.errors import LowdoseError
from lowdose_utils.phantoms.ellipses import Ellipse, project_ellipses, rasterise

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Foam:
    """A cylinder along z of value 1 with empty bubbles, in units of half the image's side.

    Attributes
    ----------
    radius : float
        Of the cylinder.
    centres : array of shape (bubble, 3)
        Centres (z, y, x), y up.
    radii : array of shape (bubble,)
        Radii of the bubbles.
    """

    radius: float
    centres: Floats
    radii: Floats

    def discs(self, z: float) -> list[Ellipse]:
        """The cross section at height `z`: the cylinder, then its bubbles as negative discs."""
        squares = self.radii**2 - (self.centres[:, 0] - z) ** 2
        cut = [
            Ellipse(-1.0, x, y, r, r)
            for (_, y, x), r in zip(self.centres[squares > 0], np.sqrt(squares[squares > 0]), strict=True)
        ]
        return [Ellipse(1.0, 0.0, 0.0, self.radius, self.radius), *cut]

    def volume(self, size: int, slices: int = 1, *, supersample: int = 4) -> Floats:
        """Volume (z, y, x) of cubic pixels around height 0, each the mean over its volume.

        A single slice is the cross section at height 0 itself, not the mean over a pixel's height.
        """
        return np.stack(
            [
                np.mean([rasterise(self.discs(z), size, supersample=supersample) for z in heights], axis=0)
                for heights in _heights(size, slices, supersample)
            ]
        )

    def labels(self, size: int, slices: int = 1) -> npt.NDArray[np.uint8]:
        """What is at each pixel's centre, (z, y, x): 0 outside, 1 material, 2 bubble."""
        drawn = [
            rasterise([disc._replace(value=1.0) for disc in self.discs(z)], size, supersample=1)
            for (z,) in _heights(size, slices, 1)
        ]
        return np.stack(drawn).astype(np.uint8)

    def projections(
        self,
        size: int,
        angles: npt.ArrayLike,
        slices: int = 1,
        *,
        columns: int | None = None,
        axis: float | None = None,
        supersample: int = 4,
    ) -> Floats:
        """Sinograms (slice, angle, column) of `volume`, in pixel lengths.

        Exact over each column's width; over a pixel's height the mean of `supersample` cross sections.
        """
        return np.stack(
            [
                np.mean(
                    [
                        project_ellipses(self.discs(z), size, angles, columns=columns, axis=axis)
                        for z in heights
                    ],
                    axis=0,
                )
                for heights in _heights(size, slices, supersample)
            ]
        )


def foam(
    bubbles: int = 200,
    *,
    smallest: float = 0.01,
    largest: float = 0.15,
    radius: float = 0.9,
    height: float = 0.0,
    rng: np.random.Generator | int | None = None,
) -> Foam:
    """Place bubbles at random, none overlapping another or the cylinder's wall.

    Parameters
    ----------
    bubbles : int
        How many.
    smallest, largest : float
        Range of the radii, in units of half the image's side. A bubble takes the room there is.
    radius : float
        Of the cylinder.
    height : float
        Centres lie within ``height / 2`` above and below 0. At 0 all are cut through their middle: a foam
        of discs, for single slices.
    rng : Generator or int, optional
        Source of randomness.

    Raises
    ------
    LowdoseError
        If the sizes make no sense, or so many bubbles find no room.
    """
    if not 0 < smallest <= largest < radius or bubbles < 0 or height < 0:
        raise LowdoseError(
            "smallest, largest, radius, bubbles, height",
            found=(smallest, largest, radius, bubbles, height),
            expected="0 < smallest <= largest < radius, and neither bubbles nor height negative",
            way_out="Radii are in units of half the image's side.",
        )
    rng = np.random.default_rng(rng)
    centres, radii = np.zeros((bubbles, 3)), np.zeros(bubbles)
    placed = 0
    for _ in range(500 * bubbles):
        if placed == bubbles:
            break
        centre = rng.uniform(-1, 1, 3) * (height / 2, radius, radius)
        wish = rng.uniform(smallest, largest)
        gaps = np.linalg.norm(centres[:placed] - centre, axis=1) - radii[:placed]
        room = min(radius - np.hypot(centre[1], centre[2]), gaps.min(initial=wish), wish)
        if room >= smallest:
            centres[placed], radii[placed] = centre, room
            placed += 1
    if placed < bubbles:
        raise LowdoseError(
            "bubbles",
            found=f"room for {placed}",
            expected=bubbles,
            way_out="Ask for fewer, or make `smallest` smaller.",
        )
    return Foam(radius, centres, radii)


def _heights(size: int, slices: int, supersample: int) -> Floats:
    """Heights (slice, sample) at which slices of pixels of side ``2 / size`` are sampled."""
    within = (np.arange(supersample) + 0.5) / supersample - 0.5 if slices > 1 else np.zeros(1)
    return (np.arange(slices)[:, None] - (slices - 1) / 2 + within) * (2 / size)
