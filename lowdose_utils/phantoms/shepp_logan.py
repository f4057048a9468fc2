"""The Shepp-Logan head phantom: image and exact projections, of added or of painted ellipses."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import isfinite
from typing import Literal

import numpy as np
import numpy.typing as npt

from lowdose_utils.errors import LowdoseError
from lowdose_utils.phantoms.ellipses import Ellipse, project_ellipses, rasterise
from lowdose_utils.project import check_angles

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

# Painted: the label of each ellipse, and what the labels mean.
PAINTED_LABELS = ("background", "ventricles", "brain", "inserts", "skull")
_LABELS = (4, 2, 1, 1, 3, 3, 3, 3, 3, 3)
EQUAL_LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
TOFT_LEVELS = (0.0, 0.1, 0.2, 0.3, 1.0)  # Toft's sums, but for the ventricles: 0 there
_LINES = 16  # across a detector column, where ellipses overlap


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


def painted_labels(size: int) -> npt.NDArray[np.uint8]:
    """Labels 0 to 4, named in `PAINTED_LABELS`, of the painted phantom at the pixels' centres.

    The ellipses are those of `shepp_logan_ellipses`, but a later one overwrites what it covers instead of
    adding to it.
    """
    labels = np.zeros((max(size, 0), max(size, 0)), np.uint8)
    for label, ellipse in zip(_LABELS, shepp_logan_ellipses(), strict=True):
        labels[rasterise([ellipse._replace(value=1.0)], size, supersample=1) > 0] = label
    return labels


def painted_shepp_logan(
    size: int, levels: Sequence[float] = EQUAL_LEVELS, *, supersample: int = 1
) -> npt.NDArray[np.float64]:
    """The painted phantom on ``size`` by ``size`` pixels: five grey levels and no others.

    Staniewicz and Midgley, "Machine learning as a tool for classifying electron tomographic reconstructions"
    (2015), tested on a Shepp-Logan phantom of five such levels.

    Parameters
    ----------
    size : int
        Pixels per side.
    levels : five numbers
        Of background, ventricles, brain, inserts and skull. `TOFT_LEVELS` are another choice.
    supersample : int
        Points per pixel and direction. 1 takes the pixels' centres, as `painted_labels`; more give the mean
        over the pixel, which is what `painted_projections` sees.

    Raises
    ------
    LowdoseError
        If there are not five finite levels, or `size` or `supersample` is less than 1.
    """
    grey = np.array(_check_levels(levels))
    if size < 1 or supersample < 1:
        raise LowdoseError(
            "size, supersample", found=(size, supersample), expected="at least 1", way_out="Count pixels."
        )
    fine = grey[painted_labels(size * supersample)]
    means: npt.NDArray[np.float64] = fine.reshape(size, supersample, size, supersample).mean(axis=(1, 3))
    return means


def painted_projections(
    size: int,
    angles: npt.ArrayLike,
    axis: float | None = None,
    *,
    columns: int | None = None,
    levels: Sequence[float] = EQUAL_LEVELS,
    integrate: bool = True,
) -> npt.NDArray[np.float64]:
    """Projections (angle, column) of the painted phantom from its geometry, in value times pixels.

    An ellipse within another adds the difference of their levels, which `project_ellipses` projects exactly.
    Three pairs of ellipses within the brain overlap by some pixels; there the line through the overlap is
    the part that two chords share, and the earlier ellipse's difference is taken back along it. With
    `integrate`, that correction is the mean of 16 lines across the column, all else is exact.

    Parameters are those of `project_ellipses` and `painted_shepp_logan`.

    Raises
    ------
    LowdoseError
        If the levels are not five, or the background is not 0: its extent would matter.
    """
    grey = _check_levels(levels)
    if grey[0] != 0:
        raise LowdoseError(
            "level of the background",
            found=grey[0],
            expected="0",
            way_out="Subtract it from all levels.",
        )
    theta = check_angles(angles)
    columns = size if columns is None else columns
    axis = (columns - 1) / 2 if axis is None else axis
    below = (0, 4, *[2] * 8)  # the label around each ellipse
    ellipses = [
        ellipse._replace(value=grey[label] - grey[around])
        for ellipse, label, around in zip(shepp_logan_ellipses(), _LABELS, below, strict=True)
    ]
    result = project_ellipses(ellipses, size, theta, columns=columns, axis=axis, integrate=integrate)
    lines = _LINES if integrate else 1
    offsets = np.arange(columns)[:, None] + (np.arange(lines) + 0.5) / lines - 0.5 - axis
    for earlier, later in combinations(ellipses[2:], 2):
        starts, ends = zip(*(_chord(one, theta, offsets * 2 / size) for one in (earlier, later)), strict=True)
        shared = np.maximum(np.minimum(*ends) - np.maximum(*starts), 0)
        result -= earlier.value * size / 2 * shared.mean(axis=2)
    return result


def _chord(
    ellipse: Ellipse, theta: npt.NDArray[np.float64], offsets: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Where lines enter and leave an ellipse: places along them, both the same where they miss it."""
    turn = theta - ellipse.angle
    squared = ((ellipse.a * np.cos(turn)) ** 2 + (ellipse.b * np.sin(turn)) ** 2)[:, None, None]
    cosine, sine = np.cos(theta)[:, None, None], np.sin(theta)[:, None, None]
    across = offsets - ellipse.x * cosine - ellipse.y * sine
    shear = ((ellipse.b**2 - ellipse.a**2) * np.sin(turn) * np.cos(turn))[:, None, None]
    middle = ellipse.y * cosine - ellipse.x * sine + across * shear / squared
    half = ellipse.a * ellipse.b * np.sqrt(np.maximum(squared - across**2, 0)) / squared
    return middle - half, middle + half


def _check_levels(levels: Sequence[float]) -> tuple[float, ...]:
    values = tuple(float(level) for level in levels)
    if len(values) != len(PAINTED_LABELS) or not all(isfinite(value) for value in values):
        raise LowdoseError(
            "levels",
            found=levels,
            expected="five finite numbers: " + ", ".join(PAINTED_LABELS),
            way_out="Take EQUAL_LEVELS or TOFT_LEVELS.",
        )
    return values
