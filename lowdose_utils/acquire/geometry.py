"""Geometry: from which angles projections are taken, and how far each has moved."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lowdose_utils.acquire.checks import Rng, _finite, _within
from lowdose_utils.errors import LowdoseError

Floats: TypeAlias = npt.NDArray[np.floating]


def misalign(
    projections: Floats, shifts: float | npt.ArrayLike, rng: Rng = None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Shift each projection by its own sub-pixel amount, as an unsteady stage does.

    Parameters
    ----------
    projections : array, shape (angle, row, column)
    shifts : float or array, shape (angle, 2)
        The (row, column) shift of each projection in pixels; or one number: both are then drawn
        uniformly from plus or minus that.

    Returns
    -------
    misaligned : array of float32
        Bicubic (cubic spline) interpolation; the edge values continue outwards.
    shifts : array, shape (angle, 2)
        The shifts in use.
    """
    stack = np.asarray(projections, dtype=np.float32)
    given = _finite("shifts", shifts)
    if stack.ndim == 3 and given.ndim == 0:
        given = np.random.default_rng(rng).uniform(-abs(given), abs(given), (len(stack), 2))
    if stack.ndim != 3 or given.shape != (len(stack), 2):
        raise LowdoseError(
            "projections and shifts",
            found=f"shapes {stack.shape} and {given.shape}",
            expected="(angle, row, column), and (angle, 2) or one number",
            way_out="Give one (row, column) shift for each projection.",
        )
    moved = [ndimage.shift(view, by, order=3, mode="nearest") for view, by in zip(stack, given, strict=True)]
    return np.stack(moved), given


def uniform_angles(count: int, span: float = np.pi, *, endpoint: bool = False) -> npt.NDArray[np.float64]:
    """`count` evenly spaced angles in radians from 0 to `span`, which is left out unless `endpoint`."""
    _within("count", count, 0, np.inf, "Ask for at least one angle.")
    return np.linspace(0, span, count, endpoint=endpoint)


def missing_wedge(angles: npt.ArrayLike, wedge: float, centre: float = np.pi / 2) -> npt.NDArray[np.bool_]:
    """Which projections a tilt stage can take: True outside a wedge of `wedge` radians about `centre`.

    Angles count modulo pi (a projection and its opposite hold the same data). With the default centre,
    tilts from ``-(pi - wedge) / 2`` to ``+(pi - wedge) / 2`` remain, both ends included.
    """
    tilt = _finite("angles", angles)
    if not 0 <= wedge < np.pi:
        raise LowdoseError(
            "wedge", found=wedge, expected="0 to below pi radians", way_out="Convert with np.deg2rad."
        )
    away = np.abs((tilt - centre + np.pi / 2) % np.pi - np.pi / 2)
    return away >= wedge / 2 - 1e-9


def interlaced_angles(
    steps: int,
    per_step: int,
    *,
    span: float = np.pi,
    order: Literal["sequential", "van_der_corput"] = "sequential",
) -> npt.NDArray[np.float64]:
    """Angles of a dynamic scan in which no two time steps look from the same directions.

    Step k takes `per_step` evenly spaced angles, turned by its own part of one increment, so that all
    steps together are ``steps * per_step`` evenly spaced angles (the condition for combining time steps
    in Noise2Inverse: Hendriksen et al., Sci. Rep. 11, 11895, 2021).

    Parameters
    ----------
    steps, per_step : int
        Time steps, and projections in each.
    span : float
        Range of angles of a step in radians (pi, or 2 pi).
    order : {"sequential", "van_der_corput"}
        Which step gets which turn. ``"sequential"``: each a little further than the one before, as
        from a small deviation of the rotation speed. ``"van_der_corput"``: bit-reversed, so that any
        few consecutive steps are spread as well.

    Returns
    -------
    array, shape (steps, per_step)
        Radians in [0, span).
    """
    _within("steps", steps, 0, np.inf, "Ask for at least one time step.")
    _within("per_step", per_step, 0, np.inf, "Ask for at least one projection.")
    turn = np.arange(steps)
    if order == "van_der_corput":
        width = max(int(steps - 1).bit_length(), 1)
        reversed_bits = [int(f"{step:0{width}b}"[::-1], 2) for step in range(steps)]
        turn = np.argsort(np.argsort(reversed_bits))
    elif order != "sequential":
        raise LowdoseError(
            "order",
            found=repr(order),
            expected="sequential or van_der_corput",
            way_out="Use the default if in doubt.",
        )
    return span * (np.arange(per_step)[None, :] + turn[:, None] / steps) / per_step
