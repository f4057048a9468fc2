"""The drawn needle and the drawn cells, which stand in for measured data."""

from __future__ import annotations

import numpy as np
import pytest

from lowdose_utils.align import align_tilt_series
from lowdose_utils.errors import LowdoseError
from lowdose_utils.phantoms.cells import cell_plane
from lowdose_utils.phantoms.needle import needle_projections
from lowdose_utils.reconstruct import fbp

ANGLES = np.deg2rad(np.arange(0, 180, 6.0))


def test_a_needle_is_its_chords_and_its_layers_come_back() -> None:
    lines = needle_projections(ANGLES, noise=0.0)
    assert lines.shape == (30, 160, 256) and lines.dtype == np.float32
    # Mass of a round layer: its value times its area, here 38 pixels wide at the substrate.
    assert lines[0, 0].sum() == pytest.approx(0.15 * np.pi * 38**2, rel=0.01)
    assert (lines == lines[0]).all() and lines[:, 144:].max() == 0
    volume = fbp(lines.transpose(1, 0, 2), ANGLES, axis=127.5, size=96, device="cpu")
    middle = volume[[10, 36, 53, 71, 88], 44:52, 44:52].mean((1, 2))
    np.testing.assert_allclose(middle, [0.15, 0.6, 1.0, 0.6, 1.0], rtol=0.05)


def test_a_needle_has_noise_of_the_width_asked_for_and_is_aligned() -> None:
    noisy = needle_projections(ANGLES, noise=2.0, rng=3)
    assert (noisy - needle_projections(ANGLES, noise=0.0)).std() == pytest.approx(2.0, rel=0.01)
    found = align_tilt_series(needle_projections(ANGLES, noise=0.1), ANGLES)
    assert np.abs(found.shifts).max() < 0.2 and abs(np.rad2deg(found.tilt)) < 0.1


def test_planes_cut_the_same_cells_and_borders_are_dark() -> None:
    picture, bodies = cell_plane(20, noise=0.0)
    _, next_bodies = cell_plane(21, noise=0.0)
    assert picture.shape == bodies.shape == (250, 250) and bodies.min() >= 1
    assert 0.9 < (bodies == next_bodies).mean() < 1
    inside = np.ones(bodies.shape, bool)
    for axis in (0, 1):
        inside &= (bodies == np.roll(bodies, 6, axis)) & (bodies == np.roll(bodies, -6, axis))
    edge = bodies != np.roll(bodies, 1, 1)
    assert picture[edge].mean() < 110 and picture[inside].mean() > 140
    again, _ = cell_plane(20, noise=20.0)
    np.testing.assert_array_equal(again, cell_plane(20, noise=20.0)[0])
    assert again.min() >= 0 and again.max() <= 255


@pytest.mark.parametrize(
    "bad", [{"rows": 100}, {"axis": 10.0}, {"noise": -1.0}, {"columns": 150, "axis": 127.5}], ids=str
)
def test_needles_outside_the_picture_are_refused(bad) -> None:
    with pytest.raises(LowdoseError, match="rows, columns"):
        needle_projections(ANGLES, **bad)


@pytest.mark.parametrize("bad", [{"cells": 1}, {"size": 0}, {"noise": -1.0}], ids=str)
def test_cells_that_are_none_are_refused(bad) -> None:
    with pytest.raises(LowdoseError, match="size, cells, noise"):
        cell_plane(1, **bad)
