"""Aligning a tilt series by what a rotation leaves as it is: mass along the axis, and its centre."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.registration import phase_cross_correlation

from lowdose_utils.errors import LowdoseError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Alignment:
    """How to move each projection of a tilt series so that the axis is its middle column.

    Attributes
    ----------
    shifts : array, shape (angle, 2)
        (row, column) in pixels, to be added to where things are.
    tilt : float
        Angle of the axis in the picture against the columns, in radians: positive where it runs to higher
        columns with higher rows. It is taken out after the shifts, about the picture's middle.
    """

    shifts: Floats
    tilt: float

    def apply(self, projections: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Move the projections, (angle, row, column), in one cubic-spline interpolation.

        Beyond the edges the edge values go on.
        """
        stack = _checked(projections, len(self.shifts))
        turn = np.array([[np.cos(self.tilt), -np.sin(self.tilt)], [np.sin(self.tilt), np.cos(self.tilt)]])
        middle = (np.array(stack.shape[1:]) - 1) / 2
        return np.stack(
            [
                ndimage.affine_transform(view, turn, middle - turn @ middle - by, order=3, mode="nearest")
                for view, by in zip(stack, self.shifts, strict=True)
            ]
        ).astype(np.float32)


def align_tilt_series(
    projections: npt.ArrayLike,
    angles: npt.ArrayLike,
    *,
    rows: slice = slice(None),
    rounds: int = 5,
) -> Alignment:
    """Find the shifts of all projections and the tilt axis, from the projections alone.

    The mass in a plane across the axis does not change as the sample turns about it. So the sums over
    columns are one profile along the axis, and their shifts are those along it (found by cross-correlation
    with the mean profile). The centre of mass of a plane turns about the axis: across it, each picture is
    shifted so that the centre of all mass in `rows` lies in the middle, which puts that centre on the axis.
    The middles about which the planes' own centres turn, ``c + a cos(angle) + b sin(angle)`` in the angle,
    lie on the axis too, and a line through them is its tilt (Scott et al., Nature 483, 444, 2012, for
    alignment by centres of mass).

    Parameters
    ----------
    projections : array, shape (angle, row, column)
        Line integrals, the axis nearly along the columns, nothing but the sample and zero around it.
    angles : array, shape (angle,)
        Radians; a missing wedge does not matter, but they must span half a right angle.
    rows : slice
        Those in which the sample is seen whole, from edge to edge, in each projection.
    rounds : int
        Each begins with what the one before found.

    Returns
    -------
    Alignment

    Raises
    ------
    LowdoseError
        If shapes do not fit, the angles are too few or span too little, or a projection has no mass or no
        structure in these rows.
    """
    theta = np.asarray(angles, np.float64)
    stack = _checked(projections, theta.size)
    if theta.ndim != 1 or np.unique(theta).size < 3 or np.ptp(theta) < np.pi / 4:
        raise LowdoseError(
            "angles",
            found=f"shape {theta.shape}, spanning {np.rad2deg(np.ptp(theta)):.0f} degrees",
            expected="one for each projection, in radians: three different ones, spanning 45 degrees",
            way_out="With fewer a turning centre cannot be told from a shift.",
        )
    total = stack[:, rows].sum((1, 2), dtype=np.float64)
    if not (total > 0).all():
        raise LowdoseError(
            "projections",
            found=f"no mass in projection {int(total.argmin())}",
            expected="line integrals of a sample, zero around it",
            way_out="Subtract the background; choose `rows` that hold the sample.",
        )
    down = stack[:, rows].sum(2, dtype=np.float64)
    if down.shape[1] < 3 or not (np.ptp(down, axis=1) > 0).all():
        raise LowdoseError(
            "projections",
            found=f"{down.shape[1]} rows, the same mass in all of a projection's",
            expected="three rows or more, whose mass differs",
            way_out="Without structure along the axis no shift along it can be found; choose other `rows`.",
        )
    found = Alignment(np.zeros((theta.size, 2)), 0.0)
    for _ in range(rounds):
        moved = found.apply(stack)[:, rows]
        down = _along(moved)
        masses, moments = _moments(moved)  # of rows that are off by `down`, which goes to zero
        across = -moments.sum(1) / masses.sum(1)
        slope = _axis_slope(masses, moments + across[:, None] * masses, theta)
        # The shifts were found in turned pictures: back into those as they came.
        cos, sin = np.cos(found.tilt), np.sin(found.tilt)
        shifts = found.shifts + np.column_stack([cos * down - sin * across, sin * down + cos * across])
        found = Alignment(shifts, found.tilt + np.arctan(slope))
    return found


def _along(stack: npt.NDArray[np.float32]) -> Floats:
    """Shifts along the axis that bring each profile of mass upon the mean one."""
    profiles = np.gradient(stack.sum(2, dtype=np.float64), axis=1)
    profiles /= np.linalg.norm(profiles, axis=1, keepdims=True)
    mean = profiles.mean(0)
    return np.array(
        [
            phase_cross_correlation(mean, profile, upsample_factor=100, normalization=None)[0][0]
            for profile in profiles
        ]
    )


def _moments(stack: npt.NDArray[np.float32]) -> tuple[Floats, Floats]:
    """Mass of each row of each projection, and its first moment about the middle column."""
    columns = np.arange(stack.shape[2]) - (stack.shape[2] - 1) / 2
    return stack.sum(2, dtype=np.float64), (stack @ columns).astype(np.float64)


def _axis_slope(masses: Floats, moments: Floats, theta: Floats) -> float:
    """Columns by which the middle of the turning centres moves from a row to the next.

    Moments, not centres, are fitted: a row without mass has no centre, and its moment is noise about zero.
    """
    terms = np.column_stack([np.ones_like(theta), np.cos(theta), np.sin(theta)])
    middles = np.linalg.lstsq(terms, moments, rcond=None)[0][0]
    mass = masses.mean(0)
    rows = np.column_stack([mass, mass * np.arange(len(mass))])
    return float(np.linalg.lstsq(rows, middles, rcond=None)[0][1])


def _checked(projections: npt.ArrayLike, count: int) -> npt.NDArray[np.float32]:
    stack = np.asarray(projections, np.float32)
    if stack.ndim != 3 or len(stack) != count or not np.isfinite(stack).all():
        raise LowdoseError(
            "projections",
            found=f"shape {stack.shape}, finite: {bool(np.isfinite(stack).all())}",
            expected=f"finite (angle, row, column) at {count} angles",
            way_out="Give one projection for each angle; repair NaN pixels.",
        )
    return stack
