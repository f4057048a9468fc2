"""Tracing axons and measuring their sheaths, on tubes of known make."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lowdose_utils.errors import LowdoseError
from lowdose_utils.tracing import match, sheath_thickness, trace


def tubes(centres, radius=4.0, shape=(20, 60, 60)):
    """Probability volume of upright tubes."""
    y, x = np.indices(shape[1:])
    plane = np.zeros(shape[1:])
    for row, column in centres:
        plane = np.maximum(plane, np.hypot(y - row, x - column) < radius)
    return np.repeat(plane[None], shape[0], 0)


def test_separate_tubes_are_separate_objects():
    found = trace(tubes([(15, 15), (15, 40), (45, 30)]), threshold=0.5)
    assert found.max() == 3
    sizes = np.bincount(found.ravel())[1:]
    assert (np.diff(sizes) <= 0).all()


def test_opening_parts_what_barely_touches():
    volume = tubes([(20, 20), (20, 40)])
    volume[10, 20, 20:40] = 1.0  # a bridge of one voxel
    assert trace(volume, opening=0).max() == 1
    assert trace(volume, opening=1).max() == 2


def test_an_axon_that_leaves_the_volume_keeps_its_ends():
    volume = tubes([(30, 30)])
    assert (trace(volume, opening=2)[0] > 0).sum() == (trace(volume, opening=2)[10] > 0).sum()


def test_specks_are_dropped_and_holes_filled():
    volume = tubes([(30, 30)])
    volume[5, 3, 3] = 1.0
    volume[10, 30, 30] = 0.0
    found = trace(volume, opening=0, smallest=10)
    assert found.max() == 1 and found[10, 30, 30] == 1 and found[5, 3, 3] == 0


def test_nothing_sure_gives_nothing():
    assert trace(np.full((4, 8, 8), 0.5), threshold=0.92).max() == 0


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), threshold=st.floats(0.1, 1.0))
def test_objects_are_numbered_through_and_large_enough(seed, threshold):
    volume = np.random.default_rng(seed).random((5, 12, 12))
    found = trace(volume, threshold=threshold, opening=0, smallest=4)
    sizes = np.bincount(found.ravel())[1:]
    assert (sizes >= 4).all() and found.dtype == np.int32


def test_found_merged_and_invented_are_counted():
    truth = np.zeros((4, 20, 40), int)
    truth[:, 2:8, 2:10], truth[:, 2:8, 12:20], truth[:, 12:18, 2:10] = 1, 2, 3
    traced = np.zeros_like(truth)
    traced[:, 2:8, 2:20] = 5  # over the first two
    traced[:, 12:18, 2:4] = 6  # a quarter of the third
    traced[:, 12:18, 30:38] = 7  # where nothing is
    found = match(traced, truth)
    assert found == (3, 2, 2, 1)


@pytest.mark.parametrize(("width", "expected"), [(3, (1, 0, 0, 0)), (5, (1, 1, 0, 0))])
def test_more_than_half_of_an_object_finds_it(width, expected):
    truth = np.zeros((4, 20, 20), int)
    truth[:, 2:8, 2:10] = 1
    traced = np.zeros_like(truth)
    traced[:, 2:8, 2 : 2 + width] = 1
    assert match(traced, truth) == expected


@pytest.mark.parametrize(("start", "invented"), [(7, 1), (5, 0)])
def test_an_object_less_than_half_in_true_ones_is_invented(start, invented):
    truth = np.zeros((4, 20, 20), int)
    truth[:, 2:8, 2:10] = 1
    traced = np.zeros_like(truth)
    traced[:, 2:8, start : start + 8] = 1
    assert match(traced, truth).invented == invented


def test_a_perfect_tracing_has_no_fault():
    labels, count = ndimage.label(tubes([(15, 15), (15, 40), (45, 30)]))
    renamed = np.where(labels, count + 1 - labels, 0)
    assert match(renamed, labels) == (count, count, 0, 0)
    assert match(np.zeros_like(labels), labels) == (count, 0, 0, 0)
    assert match(labels, np.zeros_like(labels)).invented == count


def ring(inner, outer, blur=0.0, tilt=0.0, shape=(40, 64, 64)):
    """A sheath around a line through the middle, tilted towards the columns."""
    z, y, x = np.indices(shape, dtype=float) - (np.array(shape)[:, None, None, None] - 1) / 2
    away = np.hypot(y, x * np.cos(tilt) - z * np.sin(tilt))
    share = np.clip(outer - away + 0.5, 0, 1) - np.clip(inner - away + 0.5, 0, 1)
    s = np.arange(-18, 18.5, 0.5)
    middle = (np.array(shape) - 1) / 2
    line = middle + np.stack([s * np.cos(tilt), 0 * s, s * np.sin(tilt)], axis=1)
    return ndimage.gaussian_filter(share, blur) if blur else share, line


@pytest.mark.parametrize("tilt", [0.0, 0.5])
@pytest.mark.parametrize(("inner", "outer"), [(5.0, 8.0), (7.0, 12.0)])
def test_a_sharp_sheath_has_its_thickness(inner, outer, tilt):
    volume, line = ring(inner, outer, tilt=tilt)
    found = sheath_thickness(volume, line, reach=outer + 4)
    assert np.isfinite(found[:, 1]).mean() > 0.5
    assert np.nanmedian(found[:, 1]) == pytest.approx(outer - inner, abs=0.2)


def test_blur_makes_a_thin_sheath_seem_thicker():
    sharp, line = ring(5.0, 7.0)
    blurred, _ = ring(5.0, 7.0, blur=1.5)
    readings = [np.nanmedian(sheath_thickness(v, line, reach=12)[:, 1]) for v in (sharp, blurred)]
    # Full width at half height of a box of 2 px blurred by a Gaussian of 1.5 px.
    assert readings[0] == pytest.approx(2, abs=0.2)
    assert 3.4 < readings[1] < 4.4


def test_where_no_sheath_is_there_is_no_reading():
    flat = np.zeros((40, 64, 64))
    _, line = ring(5.0, 8.0)
    assert np.isnan(sheath_thickness(flat, line, reach=10)[:, 1]).all()


def test_places_whose_rays_leave_the_volume_have_no_reading():
    volume, line = ring(5.0, 8.0)
    assert np.isnan(sheath_thickness(volume, line, reach=40)[:, 1]).all()


def test_wrong_input_is_refused():
    volume, line = ring(5.0, 8.0)
    with pytest.raises(LowdoseError, match="probability"):
        trace(np.full((4, 4, 4), 2.0))
    with pytest.raises(LowdoseError, match="traced, truth"):
        match(np.zeros((2, 2), int), np.zeros((3, 2), int))
    with pytest.raises(LowdoseError, match="volume, line"):
        sheath_thickness(volume, line[:, :2], reach=5)
