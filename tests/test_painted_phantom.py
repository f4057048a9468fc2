"""The painted Shepp-Logan phantom: its labels, and projections against walks along lines."""

from __future__ import annotations

import numpy as np
import pytest

from lowdose_utils.errors import LowdoseError
from lowdose_utils.phantoms.shepp_logan import (
    EQUAL_LEVELS,
    PAINTED_LABELS,
    TOFT_LEVELS,
    painted_labels,
    painted_projections,
    painted_shepp_logan,
    shepp_logan_ellipses,
)

ANGLES = np.array([0.0, 0.3, 1.1, np.pi / 2, 2.2, 2.8, 3.9])
NAMES = ("skull", "brain", "ventricles", "ventricles", *["inserts"] * 6)
both_levels = pytest.mark.parametrize("levels", [EQUAL_LEVELS, TOFT_LEVELS])


def walk(size: int, angle: float, offset: float, levels, points: int = 40_000) -> float:
    """Integral along one line, point by point: the last ellipse that holds a point gives its level."""
    along = ((np.arange(points) + 0.5) / points - 0.5) * 3
    x = offset * np.cos(angle) - along * np.sin(angle)
    y = offset * np.sin(angle) + along * np.cos(angle)
    values = np.full(points, levels[0])
    for number, one in enumerate(shepp_logan_ellipses()):
        dx, dy = x - one.x, y - one.y
        u = dx * np.cos(one.angle) + dy * np.sin(one.angle)
        v = dy * np.cos(one.angle) - dx * np.sin(one.angle)
        values[(u / one.a) ** 2 + (v / one.b) ** 2 <= 1] = levels[PAINTED_LABELS.index(NAMES[number])]
    return float(values.sum() * 3 / points * size / 2)


def test_pixels_of_each_label_at_512():
    # Counted independently on ellipses painted in order.
    counts = np.bincount(painted_labels(512).ravel())
    assert counts.tolist() == [131440, 20171, 87002, 12029, 11502]


@both_levels
def test_image_has_the_levels_of_its_labels_and_no_others(levels):
    labels = painted_labels(101)
    assert labels.dtype == np.uint8
    assert np.array_equal(painted_shepp_logan(101, levels), np.array(levels)[labels])


def test_labels_lie_where_the_head_has_them():
    labels = painted_labels(200)
    names = np.array(PAINTED_LABELS)
    assert names[labels[0, 0]] == "background"
    assert names[labels[9, 100]] == "skull"  # at the top, y = 0.9
    assert names[labels[100, 122]] == names[labels[100, 78]] == "ventricles"
    assert names[labels[100, 100]] == "brain"
    assert names[labels[65, 100]] == names[labels[160, 100]] == "inserts"
    # The large insert covers the tip of the left ventricle.
    assert names[labels[70, 84]] == "inserts"


def test_area_means_converge_to_the_pixels_and_keep_the_mass():
    fine = painted_shepp_logan(60, supersample=8)
    assert fine.mean() == pytest.approx(painted_shepp_logan(480).mean(), rel=1e-12)
    assert ((fine >= 0) & (fine <= 1)).all() and len(np.unique(fine)) > 5


@both_levels
def test_lines_are_those_walked_through_the_phantom(levels):
    size = 64
    lines = painted_projections(size, ANGLES, levels=levels, integrate=False)
    for row, angle in enumerate(ANGLES):
        for column in range(2, size, 3):
            offset = (column - (size - 1) / 2) * 2 / size
            assert lines[row, column] == pytest.approx(walk(size, angle, offset, levels), abs=0.02)


def test_columns_are_means_over_their_width():
    wide = painted_projections(40, ANGLES)
    fine = painted_projections(40 * 100, ANGLES, integrate=False) / 100
    assert wide == pytest.approx(fine.reshape(len(ANGLES), 40, 100).mean(axis=2), abs=0.004)


@both_levels
def test_projections_are_those_of_the_image(levels):
    image = painted_shepp_logan(96, levels, supersample=12)
    projections = painted_projections(96, ANGLES, levels=levels)
    # Worst where a column of pixels touches an ellipse's side.
    assert projections[0] == pytest.approx(image.sum(axis=0), abs=0.15)
    assert projections[3] == pytest.approx(image.sum(axis=1)[::-1], abs=0.15)
    assert projections.sum(axis=1) == pytest.approx(np.full(len(ANGLES), image.sum()), rel=2e-4)


def test_detector_may_be_narrow_and_off_centre():
    whole = painted_projections(64, ANGLES, axis=40.0, columns=81)
    part = painted_projections(64, ANGLES, axis=10.0, columns=20)
    assert part == pytest.approx(whole[:, 30:50])


def test_bad_input_is_refused():
    for levels in ((0, 1, 2, 3), (0, 1, 2, 3, np.nan)):
        with pytest.raises(LowdoseError, match="five finite numbers"):
            painted_shepp_logan(16, levels)
        with pytest.raises(LowdoseError, match="five finite numbers"):
            painted_projections(16, ANGLES, levels=levels)
    with pytest.raises(LowdoseError, match="background"):
        painted_projections(16, ANGLES, levels=(0.1, 0.2, 0.3, 0.4, 1))
    for size, supersample in ((0, 1), (16, 0)):
        with pytest.raises(LowdoseError, match="size, supersample"):
            painted_shepp_logan(size, supersample=supersample)
    with pytest.raises(LowdoseError, match="size, supersample"):
        painted_labels(0)
