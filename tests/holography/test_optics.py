"""Geometry: lengths that can be worked out by hand, and the field that fringes need."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowdose_utils.errors import LowdoseError
from lowdose_utils.holography import Optics
from lowdose_utils.holography.matter import (
    image_means,
    phase_per_density,
    refractive_decrement,
    volume_means,
)
from lowdose_utils.optics import fringe_reach


def test_four_distances():
    optics = Optics.four(120e-9)
    assert optics.focus_distances[0] == pytest.approx(120e-9 * 1.208 / 3e-6)
    ratios = np.array(optics.focus_distances) / optics.focus_distances[0]
    assert ratios == pytest.approx([1, 1.043, 1.2145, 1.571])
    assert optics.voxel_size == pytest.approx(120e-9)
    assert optics.pixel_sizes == pytest.approx([120e-9 * r for r in ratios])
    z = optics.focus_distances[3]
    assert optics.effective_distances[3] == pytest.approx(1 / (1 / z + 1 / (1.208 - z)))
    assert optics.magnification(3) == pytest.approx(1.208 / z)
    assert optics.wavelength == pytest.approx(3.7177e-11, rel=1e-4)
    expected = optics.pixel_sizes[2] ** 2 / (optics.wavelength * optics.effective_distances[2])
    assert optics.fresnel_numbers[2] == pytest.approx(expected)


def test_first_distances_and_no_magnification():
    optics = Optics.four(60e-9, 17.05)
    assert optics.first(2).pixel_sizes == optics.pixel_sizes[:2]
    flat = optics.without_magnification()
    assert flat.pixel_sizes == (optics.voxel_size,) * 4
    assert flat.effective_distances == optics.effective_distances


def test_parallel_beam():
    optics = Optics.parallel(0.0789, 105e-9, 11.0)
    assert optics.effective_distances == pytest.approx([0.0789])
    assert optics.pixel_sizes == pytest.approx([105e-9])


def test_needed_field_of_the_first_distance():
    optics = Optics.four(120e-9, distances=1)
    reach = fringe_reach(optics.effective_distances[0], optics.wavelength, 120e-9)
    assert optics.needed_columns(100) == math.ceil(100 + 2 * reach)
    assert optics.needed_columns(100, wander=3) == math.ceil(106 + 2 * reach)


@given(
    voxel=st.floats(3e-8, 4e-7),
    energy=st.floats(10, 40),
    sample=st.integers(16, 512),
    wander=st.floats(0, 10),
)
def test_what_is_needed_is_enough_and_no_more(voxel, energy, sample, wander):
    optics = Optics.four(voxel, energy)
    needed = optics.needed_columns(sample, wander)
    optics.check_field(needed, sample, wander)
    with pytest.raises(LowdoseError) as refused:
        optics.check_field(needed - 1, sample, wander)
    assert f"{needed} pixels" in str(refused.value)
    # The finest detail at either rim stays within each distance's field.
    for pixel, distance in zip(optics.pixel_sizes, optics.effective_distances, strict=True):
        half = needed * pixel / 2
        fringe = (sample / 2 + wander) * optics.voxel_size + optics.wavelength * distance / (2 * pixel)
        assert fringe <= half * (1 + 1e-9)


@pytest.mark.parametrize(
    "wrong",
    [
        {"focus_distances": ()},
        {"focus_distances": (0.05, 0.04)},
        {"focus_distances": (0.05, 2.0)},
        {"focus_distances": (0.05,), "detector_pixel": 0.0},
        {"focus_distances": (0.05,), "energy_kev": -1.0},
    ],
)
def test_geometry_that_is_none(wrong):
    with pytest.raises(LowdoseError):
        Optics(**({"energy_kev": 33.35} | wrong))


def test_recipe_refuses_large_voxels_and_five_distances():
    for wrong in ({"voxel_size": 3e-6}, {"voxel_size": 120e-9, "distances": 5}, {"voxel_size": 0.0}):
        with pytest.raises(LowdoseError):
            Optics.four(**wrong)


def test_phase_of_resin():
    """15 um of resin, 390 electrons per cubic nanometre: some -0.6 rad at 33.35 keV."""
    wavelength = Optics.four(120e-9).wavelength
    assert 390 * 125 * phase_per_density(wavelength, 120e-9) == pytest.approx(-0.613, abs=0.01)
    # The same by delta.
    by_delta = -2 * math.pi / wavelength * 390 * refractive_decrement(wavelength) * 15e-6
    assert 390 * 125 * phase_per_density(wavelength, 120e-9) == pytest.approx(by_delta)


def test_means_keep_the_mean():
    fine = np.random.default_rng(0).random((6, 8, 10)).astype(np.float32)
    assert image_means(fine, 2).shape == (6, 4, 5)
    assert volume_means(fine, 2).shape == (3, 4, 5)
    assert volume_means(fine, 2)[1, 2, 3] == pytest.approx(fine[2:4, 4:6, 6:8].mean())
    assert image_means(fine, 2)[1, 2, 3] == pytest.approx(fine[1, 4:6, 6:8].mean())
