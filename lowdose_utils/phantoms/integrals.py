"""Closed-form integrals over voxels and detector pixels: an interval, a square and a sphere."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]


def covered(position: Floats, half: float | Floats) -> Floats:
    """Length of the interval from ``-half`` to `half` within the voxel at `position`."""
    shared: Floats = np.minimum(position + 0.5, half) - np.maximum(position - 0.5, -half)
    return np.maximum(shared, 0)


def square(t: Floats, theta: Floats, side: float) -> Floats:
    """Projections (angle, column) of a square of value 1, means over columns of width 1 around `t`.

    Seen at an angle a square is a trapezoid: flat within `inner`, 0 beyond ``inner + slope``.
    """
    cosine, sine = np.abs(np.cos(theta))[:, None], np.abs(np.sin(theta))[:, None]
    inner, slope = side * np.abs(cosine - sine) / 2, side * np.minimum(cosine, sine)

    def up_to(edge: Floats) -> Floats:
        beyond = np.clip(np.abs(edge) - inner, 0, slope)
        fall = beyond**2 / np.maximum(2 * slope, 1e-300)
        area: Floats = np.sign(edge) * (np.minimum(np.abs(edge), inner) + beyond - fall)
        return area

    return side / np.maximum(cosine, sine) * (up_to(t + 0.5) - up_to(t - 0.5))


def under_sphere(v: Floats, u: Floats, r: float) -> Floats:
    """Integral of ``sqrt(r^2 - s^2 - t^2)`` over s from 0 to `u` and t from 0 to `v`, in closed form.

    Its mixed derivative is the root. Outside the circle the root is 0, and the angles below are quarter
    turns.
    """
    u, v = np.clip(u, -r, r), np.clip(v, -r, r)
    w = np.sqrt(np.maximum(r**2 - u**2 - v**2, 0))
    product = u * v
    area: Floats = (
        2 * product * w
        + v * (3 * r**2 - v**2) * np.arctan2(u, w)
        + u * (3 * r**2 - u**2) * np.arctan2(v, w)
        - 2 * r**3 * np.arctan2(product, r * w)
    )
    return area / 6
