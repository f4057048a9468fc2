"""The Shepp-Logan head phantom: image and exact projections."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from lowdose_utils.errors import LowdoseError
from lowdose_utils.phantoms.ellipses import Ellipse, project_ellipses, rasterise

Variant = Literal["modified", "standard"]

# x, y, a, b, degrees: Shepp and Logan, IEEE Trans. Nucl. Sci. 21 (1974), table 1.
_SHAPES = (
    (0.0, 0.0, 0.69, 0.92, 0.0),
    (0.0, -0.0184, 0.6624, 0.874, 0.0),
    (0.22, 0.0, 0.11, 0.31, -18.0),
    (-0.22, 0.0, 0.16, 0.41, 18.0),
    (0.0, 0.35, 0.21, 0.25, 0.0),
    (0.0, 0.1, 0.046, 0.046, 0.0),
    (0.0, -0.1, 0.046, 0.046, 0.0),
    (-0.08, -0.605, 0.046, 0.023, 0.0),
    (0.0, -0.605, 0.023, 0.023, 0.0),
    (0.06, -0.605, 0.023, 0.046, 0.0),
)
_VALUES = {
    "standard": (2.0, -0.98, -0.02, -0.02, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01),
    "modified": (1.0, -0.8, -0.2, -0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1),
}


def shepp_logan_ellipses(variant: Variant = "modified") -> tuple[Ellipse, ...]:
    """The ten ellipses, whose values add up.

    ``"standard"`` has the contrasts of Shepp and Logan (1974), ``"modified"`` the stronger ones of Toft,
    "The Radon Transform", PhD thesis, Technical University of Denmark (1996), table B.3.

    Raises
    ------
    LowdoseError
        If the variant is unknown.
    """
    if variant not in _VALUES:
        raise LowdoseError("variant", found=variant, expected=" or ".join(_VALUES), way_out="Choose one.")
    return tuple(
        Ellipse(value, x, y, a, b, float(np.deg2rad(turn)))
        for value, (x, y, a, b, turn) in zip(_VALUES[variant], _SHAPES, strict=True)
    )


def shepp_logan(size: int, variant: Variant = "modified", *, supersample: int = 4) -> npt.NDArray[np.float64]:
    """The phantom on ``size`` by ``size`` pixels, each the mean over its area.

    Parameters
    ----------
    size : int
        Pixels per side.
    variant : {"modified", "standard"}
        See `shepp_logan_ellipses`.
    supersample : int
        Points per pixel and direction.
    """
    return rasterise(shepp_logan_ellipses(variant), size, supersample=supersample)


def shepp_logan_projections(
    size: int,
    angles: npt.ArrayLike,
    axis: float | None = None,
    *,
    columns: int | None = None,
    variant: Variant = "modified",
    integrate: bool = True,
) -> npt.NDArray[np.float64]:
    """Exact projections (angle, column) of the phantom, in value times pixels.

    Parameters are those of `project_ellipses`.
    """
    ellipses = shepp_logan_ellipses(variant)
    return project_ellipses(ellipses, size, angles, columns=columns, axis=axis, integrate=integrate)
