"""Scores of lines so short that they can be counted by hand."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowdose_utils.errors import LowdoseError
from lowdose_utils.neurons.skeletons import Skeleton
from lowdose_utils.neurons.tracing_scores import resampled, segments_along, tracing_score


def line(length, y=0.0):
    """A straight line along x with a node at every um."""
    nodes = np.array([[0.0, y, x] for x in range(length + 1)])
    return Skeleton(0, nodes, np.arange(length + 1) - 1, np.ones(length + 1))


def test_a_perfect_segmentation():
    lines = [line(4), line(8, 1.0)]
    score = tracing_score(lines, [np.full(5, 1), np.full(9, 2)])
    assert score.edge_accuracy == 1 and score.splits == score.merges == score.merged_pairs == 0
    assert score.rand_split == score.rand_merge == 1
    # 4 of 12 um lie in a run of 4, 8 in one of 8.
    assert score.expected_run_length == score.longest_run_length == pytest.approx((16 + 64) / 12)
    assert score.normalised_run_length == pytest.approx((16 + 64) / 12 / 6)
    assert score.neurons == 2 and score.length == 12


def test_a_split_in_the_middle():
    score = tracing_score([line(8)], [np.array([1, 1, 1, 1, 1, 2, 2, 2, 2])])
    # Runs of 4 and 3; the piece between them is lost.
    assert score.splits == 1 and score.edge_accuracy == pytest.approx(7 / 8)
    assert score.expected_run_length == pytest.approx((16 + 9) / 8)
    assert score.rand_split == pytest.approx((25 + 16) / 81) and score.rand_merge == 1


def test_a_merge_voids_the_segment_or_the_neuron():
    lines = [line(8), line(8, 1.0)]
    along = [np.array([1, 1, 1, 1, 1, 3, 3, 3, 3]), np.array([3, 3, 2, 2, 2, 2, 2, 2, 2])]
    loose = tracing_score(lines, along, void="segment")
    assert loose.merges == loose.merged_pairs == 1 and loose.splits == 2
    assert loose.edge_accuracy == pytest.approx((4 + 6) / 16)
    assert loose.expected_run_length == pytest.approx((16 + 36) / 16)
    strict = tracing_score(lines, along)
    assert strict.expected_run_length == 0 and strict.edge_accuracy == loose.edge_accuracy
    assert strict.rand_merge == pytest.approx((25 + 16 + 4 + 49) / (25 + 36 + 49))


def test_three_neurons_in_one_segment_are_two_merges_and_three_pairs():
    score = tracing_score([line(3, y) for y in range(3)], [np.full(4, 1)] * 3)
    assert score.merges == 2 and score.merged_pairs == 3 and score.edge_accuracy == 0


def test_strays_can_be_forgiven():
    lines = [line(30), line(30, 1.0)]
    along = [np.full(31, 1), np.full(31, 2)]
    along[1][10] = 1  # one voxel over the membrane
    assert tracing_score(lines, along).merges == 1
    score = tracing_score(lines, along, stray=0.05)
    assert score.merges == 0 and score.splits == 2
    assert score.edge_accuracy == pytest.approx(58 / 60)
    assert score.expected_run_length == pytest.approx((30**2 + (9 + 19) ** 2) / 60)


def test_two_strays_side_by_side_are_no_right_run():
    lines = [line(60), line(30, 1.0)]
    along = [np.full(61, 1), np.full(31, 2)]
    along[1][10:12] = 1
    score = tracing_score(lines, along, stray=0.05)
    assert score.merges == 0 and score.edge_accuracy == pytest.approx(87 / 90)


def test_background_splits_and_does_not_merge():
    lines = [line(4), line(4, 1.0)]
    along = [np.array([1, 1, 0, 0, 1]), np.array([2, 0, 0, 2, 2])]
    score = tracing_score(lines, along)
    assert score.merges == 0 and score.splits == 3 + 3
    assert score.edge_accuracy == pytest.approx(2 / 8)
    assert score.expected_run_length == pytest.approx((1 + 1) / 8)
    # Runs of one neuron's segment count together, as its identity is right on either side.
    joined = tracing_score([line(5)], [np.array([1, 1, 0, 1, 1, 1])])
    assert joined.expected_run_length == pytest.approx(3**2 / 5)


def test_outside_nodes_are_left_out_and_cut_the_line():
    score = tracing_score([line(8)], [np.array([1, 1, 1, -1, -1, 1, 1, 1, 1])])
    assert score.neurons == 2 and score.length == 2 + 3
    assert score.splits == 0
    assert score.merges == 1  # two lines as far as the volume tells
    with pytest.raises(LowdoseError, match="inside the volume"):
        tracing_score([line(2)], [np.full(3, -1)])


def test_a_branched_line_is_counted_by_its_pieces():
    nodes = np.array([[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 2, 1]], float)
    fork = Skeleton(0, nodes, np.array([-1, 0, 1, 1]), np.ones(4))
    score = tracing_score([fork], [np.array([1, 1, 1, 2])])
    assert score.splits == 1 and score.length == 4 and score.edge_accuracy == pytest.approx(0.5)
    assert score.expected_run_length == pytest.approx(2**2 / 4)


def test_segments_at_the_nodes():
    volume = np.zeros((2, 3, 5), np.uint64)
    volume[0, 0] = [1, 1, 0, 7, 7]
    found = segments_along([line(4)], volume, [line(4).nodes])
    np.testing.assert_array_equal(found[0], [1, 1, 0, 7, 7])
    found = segments_along([line(4)], volume, [line(4).nodes + np.array([0, 0, 1.4])])
    np.testing.assert_array_equal(found[0], [1, 0, 7, 7, -1])
    with pytest.raises(LowdoseError, match="places"):
        segments_along([line(4)], volume, [line(3).nodes])


def test_resampling_keeps_the_line():
    nodes, parents = resampled(line(3), 0.4)
    assert len(nodes) == 1 + 3 * 3
    lengths = [np.linalg.norm(nodes[k] - nodes[p]) for k, p in enumerate(parents) if p >= 0]
    assert sum(lengths) == pytest.approx(3) and max(lengths) <= 0.4
    with pytest.raises(LowdoseError, match="step"):
        resampled(line(3), 0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=5, max_size=30), st.sampled_from(["neuron", "segment"]))
def test_against_counting(ids, void):
    """The formula, written out, on one line."""
    along = np.array(ids)
    score = tracing_score([line(len(ids) - 1)], [along], void=void)
    good = [a for a, b in pairwise(ids) if a == b and a]
    assert score.edge_accuracy == pytest.approx(len(good) / (len(ids) - 1))
    assert score.splits == len(ids) - 1 - len(good)
    assert score.expected_run_length == pytest.approx(
        sum(good.count(k) ** 2 for k in set(good)) / (len(ids) - 1)
    )
    assert 0 <= score.expected_run_length <= score.longest_run_length + 1e-9
    assert 0 < score.rand_split <= 1 and score.rand_merge == 1


def test_nonsense_is_refused():
    with pytest.raises(LowdoseError, match="stray"):
        tracing_score([line(2)], [np.ones(3, int)], stray=0.6)
    with pytest.raises(LowdoseError, match="lines, along"):
        tracing_score([line(2)], [np.ones(5, int)])
