"""Alignment of tilt series, held against blobs whose projections are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from lowdose_utils.align import Alignment, align_tilt_series
from lowdose_utils.errors import LowdoseError

ANGLES = np.deg2rad(np.arange(-70, 71, 4.0))
ROWS, COLUMNS = 60, 72


def blobs(shifts: np.ndarray, tilt: float) -> np.ndarray:
    """Gaussian blobs, their common centre of mass on the axis: projected, tilted and shifted."""
    rng = np.random.default_rng(4)
    x, y = rng.uniform(-10, 10, (2, 7))
    along, mass = np.linspace(-18, 18, 7), rng.uniform(1, 2, 7)
    x, y = (v - (mass * v).sum() / mass.sum() for v in (x, y))
    row, column = np.mgrid[:ROWS, :COLUMNS].astype(float)
    views = []
    for theta, (down, across) in zip(ANGLES, shifts, strict=True):
        u = x * np.cos(theta) + y * np.sin(theta)
        at_row = (ROWS - 1) / 2 + np.cos(tilt) * along - np.sin(tilt) * u + down
        at_column = (COLUMNS - 1) / 2 + np.sin(tilt) * along + np.cos(tilt) * u + across
        away = (row[..., None] - at_row) ** 2 + (column[..., None] - at_column) ** 2
        views.append((mass * np.exp(-away / (2 * 2.5**2))).sum(-1))
    return np.stack(views).astype(np.float32)


@pytest.mark.parametrize("tilt", [0.0, 3.0, -6.0])
def test_shifts_and_tilt_of_the_axis_are_found(tilt: float) -> None:
    shifts = np.random.default_rng(1).uniform(-3, 3, (len(ANGLES), 2))
    found = align_tilt_series(blobs(shifts, np.deg2rad(tilt)), ANGLES, rounds=5)
    left = shifts + found.shifts  # the same for all: where along the axis its middle is, is not in the data
    assert np.rad2deg(found.tilt) == pytest.approx(tilt, abs=0.1)
    assert np.abs(left - left.mean(0)).max() < 0.1
    # Aligned, they are what an aligned series would have been, moved along the axis.
    ideal = blobs(np.full_like(shifts, [np.hypot(*left.mean(0)) * np.sign(left.mean(0)[0]), 0]), 0.0)
    aligned = found.apply(blobs(shifts, np.deg2rad(tilt)))
    assert np.abs(aligned - ideal).max() < 0.05 * ideal.max()


def test_noise_moves_the_alignment_little() -> None:
    shifts = np.random.default_rng(2).uniform(-2, 2, (len(ANGLES), 2))
    views = blobs(shifts, np.deg2rad(2.0))
    noisy = views + np.random.default_rng(3).normal(0, 0.02 * views.max(), views.shape).astype(np.float32)
    found = align_tilt_series(noisy, ANGLES)
    left = shifts + found.shifts
    assert np.rad2deg(found.tilt) == pytest.approx(2.0, abs=0.5)
    assert (left - left.mean(0)).std() < 0.5


def test_an_aligned_series_is_left_alone() -> None:
    views = blobs(np.zeros((len(ANGLES), 2)), 0.0)
    found = align_tilt_series(views, ANGLES)
    assert np.abs(found.shifts).max() < 0.02 and abs(np.rad2deg(found.tilt)) < 0.02
    np.testing.assert_allclose(Alignment(np.zeros((len(ANGLES), 2)), 0.0).apply(views), views, atol=1e-6)


@pytest.mark.parametrize(
    ("views", "angles", "said"),
    [
        (np.ones((3, 8, 8)), np.array([0.0, 1.0]), "shape"),
        (np.ones((2, 8)), np.array([0.0, 1.0]), "shape"),
        (np.full((2, 8, 8), np.nan), np.array([0.0, 1.0]), "finite"),
        (np.ones((2, 8, 8)), np.array([0.0, 0.1]), "spanning"),
        (np.ones((2, 8, 8)), np.array([0.0, 1.0]), "three different"),
        (np.zeros((3, 8, 8)), np.array([0.0, 0.5, 1.0]), "no mass"),
        (np.ones((3, 8, 8)), np.array([0.0, 0.5, 1.0]), "the same mass"),
        (np.ones((3, 1, 8)), np.array([0.0, 0.5, 1.0]), "1 rows"),
    ],
)
def test_what_cannot_be_aligned_is_refused(views, angles, said) -> None:
    with pytest.raises(LowdoseError, match=said):
        align_tilt_series(views, angles)
