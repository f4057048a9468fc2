"""A scan holds together, and reads only what it is asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowdose_utils.errors import LowdoseError
from lowdose_utils.readers import Scan
from lowdose_utils.readers.stack import Stack

ARRAY = np.random.default_rng(0).integers(0, 1000, (7, 5, 6)).astype(np.uint16)


class Counting:
    """An array that remembers how many values were asked of it."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.read = array, array.shape, array.dtype, 0

    def __getitem__(self, key):
        part = self.array[key]
        self.read += part.size
        return part


def scan(**changes):
    parts = {"projections": ARRAY, "angles": np.linspace(0, 3, 7), "flats": ARRAY[:2], "darks": ARRAY[:1]}
    return Scan(**{**parts, **changes})


def test_rows_are_float32_with_their_fields():
    part = scan().rows(1, 3)
    np.testing.assert_array_equal(part.projections, ARRAY[:, 1:3])
    np.testing.assert_array_equal(part.flats, ARRAY[:2, 1:3])
    np.testing.assert_array_equal(part.darks, ARRAY[:1, 1:3])
    assert part.projections.dtype == part.flats.dtype == np.float32
    assert part.provenance["notes"] == ["rows 1 to 2 of 5"]


@pytest.mark.parametrize("chosen", [slice(1, None, 2), [4, 0, 3], np.arange(7) > 3, -1])
def test_select_keeps_angles_with_their_projections(chosen):
    for source in (ARRAY, Counting(ARRAY)):
        part = scan(projections=source).select(chosen)
        np.testing.assert_array_equal(part.projections[:], np.atleast_2d(ARRAY[chosen].T).T.reshape(-1, 5, 6))
        np.testing.assert_array_equal(part.angles, np.atleast_1d(np.linspace(0, 3, 7)[chosen]))


def test_select_reads_nothing_and_rows_only_their_part():
    source = Counting(ARRAY)
    part = scan(projections=source).select(slice(0, 4))
    assert source.read == 0
    part.rows(2, 3)
    assert source.read == 4 * 1 * 6


def test_sinograms_put_the_slice_first():
    np.testing.assert_array_equal(scan().sinograms(slice(1, 4)), ARRAY[:, 1:4].transpose(1, 0, 2))
    for row in (-1, np.int64(4)):
        np.testing.assert_array_equal(scan().sinograms(row), ARRAY[:, -1:].transpose(1, 0, 2))


INDEX = {
    size: st.one_of(
        st.integers(-size, size - 1),
        st.slices(size),
        st.lists(st.integers(-size, size - 1), max_size=4).map(lambda k: np.array(k, dtype=int)),
    )
    for size in (5, 6, 7)
}


@settings(max_examples=80, deadline=None)
@given(st.tuples(INDEX[7], INDEX[5], INDEX[6]), st.permutations(["angle", "row", "column"]))
def test_a_stack_indexes_as_its_array_in_any_order_of_axes(key, order):
    axes = [("angle", "row", "column").index(name) for name in order]
    stack = Stack(ARRAY.transpose(axes), order=order)
    expected = ARRAY
    for axis in (2, 1, 0):  # each axis on its own; integers drop theirs
        expected = expected[(slice(None),) * axis + (key[axis],)]
    got = stack[key]
    assert got.dtype == ARRAY.dtype
    np.testing.assert_array_equal(got, expected)


@settings(max_examples=30, deadline=None)
@given(st.floats(-1e4, 1e4, width=32), st.floats(0.125, 1e3, width=32))
def test_offset_scale_and_background(offset, scale):
    stack = Stack(ARRAY, offset=offset, scale=scale).without_background(2)
    plain = (ARRAY.astype(float) + offset) / scale
    edges = np.concatenate([plain[..., :2], plain[..., -2:]], axis=2)
    expected = plain - np.median(edges, axis=(0, 2))[:, None]
    np.testing.assert_allclose(stack[2:, 1:4], expected[2:, 1:4], rtol=1e-4, atol=1e-6 * abs(plain).max())


def test_too_many_indices_are_an_index_error():
    with pytest.raises(IndexError, match="4 indices"):
        Stack(ARRAY)[0, 0, 0, 0]
    with pytest.raises(IndexError):
        Stack(ARRAY)[99]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"angles": np.zeros(6)}, r"angles: found shape \(6,\); expected \(7,\)"),
        ({"angles": np.zeros((7, 1))}, "angles"),
        ({"angles": np.full(7, np.nan)}, "7 of 7 not finite"),
        ({"projections": ARRAY[0]}, "projections"),
        ({"projections": ARRAY[:, :0]}, "none empty"),
        ({"projections": ARRAY.astype(complex)}, "complex"),
        ({"flats": ARRAY[:, :3]}, r"flats: found shape \(7, 3, 6\)"),
        ({"darks": ARRAY[:0]}, "darks"),
        ({"axis": 99.0}, "axis: found 99.0; expected a column of 0 to 5"),
        ({"axis": np.nan}, "axis"),
        ({"pixel_size": -1.0}, "pixel_size"),
        ({"energy": 0.0}, "energy"),
        ({"provenance": {"values": "photons"}}, "values: found 'photons'"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, word):
    with pytest.raises(LowdoseError, match=word):
        scan(**changes)


@pytest.mark.parametrize("rows", [(0, 6), (-1, 2), (3, 3), (4, 2)])
def test_rows_outside_are_refused(rows):
    with pytest.raises(LowdoseError, match="rows"):
        scan().rows(*rows)
    with pytest.raises(LowdoseError, match="rows"):
        scan().sinograms(slice(9, 12))


@pytest.mark.parametrize("chosen", [[7], [0.5], np.ones(6, bool), slice(3, 3)])
def test_projections_that_are_not_there_cannot_be_selected(chosen):
    with pytest.raises(LowdoseError):
        scan().select(chosen)


def test_repr_is_short_and_close_closes():
    closed = []
    with scan(closers=(lambda: closed.append(1),)) as opened:
        assert len(repr(opened)) < 120 and "7 angles 0.0 to 171.9 deg" in repr(opened)
        assert opened.select([0]).closers == ()
    assert closed == [1]
