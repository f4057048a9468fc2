"""Affinities of labels against their definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from lowdose_utils.errors import LowdoseError
from lowdose_utils.neurons.affinities import affinities, balance_weights, grow_boundary, neighbours

volumes = arrays(np.int32, st.tuples(*3 * [st.integers(1, 6)]), elements=st.integers(0, 3))


def test_neighbours_are_those_of_the_published_network():
    assert neighbours(1, 3).tolist() == [
        [-1, 0, 0],
        [0, -1, 0],
        [0, 0, -1],
        [-3, 0, 0],
        [0, -3, 0],
        [0, 0, -3],
    ]
    assert len(neighbours(1, 3, 9, 27)) == 12
    for bad in ((), (3, 1), (1, 0), (1, 2.5)):
        with pytest.raises(LowdoseError, match="reaches"):
            neighbours(*bad)


@settings(deadline=None)
@given(volumes, st.tuples(*3 * [st.integers(-7, 7)]))
def test_affinity_by_its_definition(labels, offset):
    found, known = affinities(labels, [offset])
    for place in np.ndindex(labels.shape):
        other = tuple(np.add(place, offset))
        inside = all(0 <= a < n for a, n in zip(other, labels.shape, strict=True))
        assert known[(0, *place)] == inside
        same = inside and labels[place] == labels[other] and labels[place] > 0
        assert found[(0, *place)] == same


@settings(deadline=None)
@given(volumes, st.integers(0, 2))
def test_grown_boundary_is_an_erosion_of_each_cell(labels, steps):
    """By scikit-image's neighbours: each label eroded by itself, the volume's faces being no boundary."""
    expected = np.zeros_like(labels)
    for number in np.unique(labels[labels > 0]):
        cell = labels == number
        kept = ndimage.binary_erosion(cell, iterations=steps, border_value=1) if steps else cell
        expected[kept] = number
    before = labels.copy()
    np.testing.assert_array_equal(grow_boundary(labels, steps), expected)
    np.testing.assert_array_equal(labels, before)


@settings(deadline=None)
@given(volumes)
def test_zeros_and_ones_weigh_alike(labels):
    found, known = affinities(labels, neighbours(1))
    weights = balance_weights(found, known)
    assert not weights[~known].any()
    for ones, there, weight in zip(found, known, weights, strict=True):
        if there.any() and 0.05 <= ones[there].mean() <= 0.95:
            assert weight[ones].sum() == pytest.approx(weight[there & ~ones].sum(), rel=1e-4)
            assert weight[there].mean() == pytest.approx(1, rel=1e-4)


def test_rare_affinities_are_not_blown_up():
    """One voxel in a thousand weighs ten times as much as others, not a thousand times."""
    known = np.ones((1, 10, 10, 10), bool)
    rare = np.zeros_like(known)
    rare[0, 0, 0, 0] = True
    weights = balance_weights(rare, known)
    assert weights[0, 0, 0, 0] == pytest.approx(10)


@pytest.mark.parametrize("bad", [np.zeros((2, 2)), np.zeros((2, 2, 2)), -np.ones((2, 2, 2), int)])
def test_what_is_no_labels_is_refused(bad):
    with pytest.raises(LowdoseError, match="labels"):
        grow_boundary(bad)
