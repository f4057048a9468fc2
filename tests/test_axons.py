"""The stand-in for stained cortex: geometry against what is drawn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lowdose_utils.errors import LowdoseError
from lowdose_utils.phantoms import axons
from lowdose_utils.phantoms.axons import Cortex, Tube, cortex


@pytest.fixture(scope="module")
def tissue():
    return cortex(96, 32, pixel_um=0.1, rng=3)


def straight(radius=1.0, inner=0.6, shift=(0.0, 0.0)):
    """One axon along z through a cortex of nothing else."""
    line = np.stack([np.arange(-3, 3.01, 0.05), *(np.full(121, s) for s in shift)], axis=1)
    tube = Tube(line, np.full(121, radius), np.full(121, inner), axons.MYELIN, axons.AXOPLASM)
    return Cortex(96, 12, 0.1, (tube,), 1, 0)


def test_a_straight_axon_is_a_ring_of_its_radii():
    drawn = straight().draw()
    plane = drawn.materials[6]
    voxel = 0.1**2
    assert (plane == axons.AXOPLASM).sum() * voxel == pytest.approx(np.pi * 0.6**2, rel=0.03)
    assert (plane == axons.MYELIN).sum() * voxel == pytest.approx(np.pi * (1 - 0.6**2), rel=0.03)
    assert np.array_equal(drawn.axons[6] == 1, np.isin(plane, (axons.MYELIN, axons.AXOPLASM)))


def test_mass_of_an_axon_is_that_of_its_geometry():
    """Voxels at the edge take shares: the integral is right to a fraction of a voxel's row."""
    with_axon, without = straight(), Cortex(96, 12, 0.1, (), 0, 0)
    values = [axons.ATTENUATION[k] for k in (axons.MYELIN, axons.AXOPLASM)]
    excess = []
    for finer in (1, 2, 4):
        more = with_axon.draw(finer=finer).attenuation.astype(float)
        inside = np.hypot(*(np.indices(more.shape[1:]) - (more.shape[1] - 1) / 2)) * 0.1 / finer < 1.5
        blank = without.draw(finer=finer).attenuation
        # What the texture has inside the tube is replaced, wholly or by the share at its rim.
        drawn = (more - np.where(more != blank, 0, blank))[:, inside].sum() * (0.1 / finer) ** 3
        excess.append(drawn)
    expected = 1.2 * (np.pi * (1 - 0.36) * values[0] + np.pi * 0.36 * values[1])
    assert excess[2] == pytest.approx(expected, rel=0.03)
    assert abs(excess[2] - expected) <= abs(excess[0] - expected) + 1e-4


def test_structures_do_not_touch(tissue):
    for i, one in enumerate(tissue.tubes):
        for other in tissue.tubes[i + 1 :]:
            away = np.linalg.norm(one.line[:, None] - other.line[None], axis=-1)
            clear = away - one.outer[:, None] - other.outer[None]
            assert clear.min() > axons.GAP - 0.01  # points 0.05 um apart: their clearance to a line's is less
    drawn = tissue.draw(slice(12, 20), finer=4).axons  # voxels of 0.025 um
    labels, count = ndimage.label(drawn > 0)
    # An axon may leave the tissue and come back, but no object holds two of them.
    held = ndimage.labeled_comprehension(drawn, labels, range(1, count + 1), np.ptp, int, 0)
    assert count >= 3 and not held.any()


def test_slabs_are_parts_of_the_whole(tissue):
    whole = tissue.draw()
    for part in (slice(0, 5), slice(11, 32)):
        slab = tissue.draw(part)
        for one, other in zip(slab, whole, strict=True):
            np.testing.assert_allclose(one, other[part], atol=1e-7)


def test_a_finer_grid_shows_the_same_tissue(tissue):
    coarse, fine = tissue.draw(), tissue.draw(finer=2)
    binned = fine.attenuation.reshape(32, 2, 96, 2, 96, 2).mean((1, 3, 5))
    assert np.corrcoef(binned.ravel(), coarse.attenuation.ravel())[0, 1] > 0.99
    same = fine.axons[1::2, 1::2, 1::2] == coarse.axons
    assert same.mean() > 0.98


def test_neuropil_has_the_stated_texture():
    drawn = Cortex(128, 64, 0.06, (), 0, 5).draw()
    inside = drawn.materials == axons.NEUROPIL
    inside = ndimage.binary_erosion(inside, iterations=2)
    values = drawn.attenuation[inside] / axons.ATTENUATION[axons.NEUROPIL]
    assert values.mean() == pytest.approx(1, abs=0.02)
    assert values.std() == pytest.approx(axons.TEXTURE, rel=0.1)


def test_a_tube_that_swells_is_drawn_with_its_own_radius():
    base = straight()
    tube = base.tubes[0]
    radii = np.linspace(0.6, 1.2, 121)
    swelling = Cortex(96, 60, 0.1, (tube._replace(outer=radii, inner=0.5 * radii),), 1, 0)
    drawn = swelling.draw()
    areas = (drawn.axons == 1).sum((1, 2)) * 0.01
    z = (np.arange(60) - 29.5) * 0.1
    expected = np.interp(z, tube.line[:, 0], radii)
    assert np.abs(np.sqrt(areas / np.pi) - expected)[3:-3].max() < 0.06  # um; a voxel is 0.1


def test_voxels_turn_places_into_indices():
    found = straight(shift=(0.5, -1.0)).voxels(np.array([[0.0, 0.5, -1.0]]))
    np.testing.assert_allclose(found, [[5.5, 52.5, 37.5]])


def test_more_filling_gives_more_axons():
    counts = [
        cortex(96, 16, pixel_um=0.1, filling=f, cells=0, vessels=0, rng=1).axons for f in (0, 0.05, 0.2)
    ]
    assert counts[0] == 0 < counts[1] < counts[2]


def test_seeds_decide():
    one, same, other = (cortex(64, 16, pixel_um=0.1, rng=seed).draw().attenuation for seed in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


@settings(max_examples=8, deadline=None)
@given(columns=st.integers(16, 40), slices=st.integers(1, 9), seed=st.integers(0, 50))
def test_any_size_can_be_drawn(columns, slices, seed):
    found = cortex(columns, slices, pixel_um=0.2, rng=seed)
    drawn = found.draw()
    assert drawn.attenuation.shape == (slices, columns, columns)
    assert np.isfinite(drawn.attenuation).all() and drawn.attenuation.min() >= 0
    assert drawn.attenuation.max() <= max(axons.ATTENUATION) * 1.3
    assert drawn.axons.max() <= found.axons
    assert set(np.unique(drawn.materials)) <= set(range(9))


@pytest.mark.parametrize(
    "wrong", [{"columns": 8}, {"slices": 0}, {"pixel_um": 0}, {"filling": 0.5}, {"rng": -1}, {"cells": 1.5}]
)
def test_impossible_tissue_is_refused(wrong):
    with pytest.raises(LowdoseError, match="columns, slices, pixel_um"):
        cortex(**{"columns": 32, "slices": 4, **wrong})


@pytest.mark.parametrize("wrong", [{"part": slice(3, 3)}, {"part": slice(0, 8, 2)}, {"finer": 0}])
def test_impossible_parts_are_refused(tissue, wrong):
    with pytest.raises(LowdoseError, match="part, finer"):
        tissue.draw(**wrong)
