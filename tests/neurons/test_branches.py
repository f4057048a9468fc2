"""Shapes of trees drawn by hand, and groups of many of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from lowdose_utils.errors import LowdoseError
from lowdose_utils.neurons.branches import branch_features, group, most_of
from lowdose_utils.neurons.skeletons import Skeleton
from lowdose_utils.phantoms import neurites


def tree(*arms):
    """Arms as (parent node, end point), each in ten pieces; node 0 lies at 0."""
    nodes, parents = [np.zeros(3)], [-1]
    for parent, end in arms:
        start = nodes[parent]
        for share in np.arange(1, 11) / 10:
            nodes.append(start + share * (np.array(end, float) - start))
            parents.append(parent if share == 0.1 else len(nodes) - 2)
    return Skeleton(0, np.array(nodes), np.array(parents), np.ones(len(nodes)))


LINE = tree((0, (0, 0, 10)))
FORK = tree((0, (0, 0, 6)), (10, (0, 3, 10)), (10, (0, -3, 10)))
COMB = tree((0, (0, 0, 10)), (4, (0, 1.5, 4)), (6, (0, 1.5, 6)), (8, (0, 1.5, 8)))
BUSH = tree(
    (0, (0, 0, 8)),
    (10, (0, 2, 10)),
    (10, (0, -2, 10)),
    *((20, (2, 3, 12)), (20, (-2, 3, 12)), (30, (2, -3, 12)), (30, (-2, -3, 12))),
)


def test_features_counted_by_hand():
    np.testing.assert_allclose(branch_features(LINE), [0, 1, 1])
    np.testing.assert_allclose(branch_features(FORK), [np.log(2), 11 / 16, 1])
    np.testing.assert_allclose(branch_features(COMB), [np.log(4), 10 / 14.5, 1])
    found = branch_features(BUSH)
    twig = 3.0
    first = np.sqrt(8)
    assert found[0] == pytest.approx(np.log(4)) and found[2] == pytest.approx(1)
    assert found[1] == pytest.approx((8 + first + twig) / (8 + 2 * first + 4 * twig))


def test_a_path_need_not_pass_all_branch_points():
    arms = [(0, (0, 0, 9))]
    for side in (1, -1, 2):
        arms.append((10, (0, 3 * side, 12)))
    middle = tree(
        *arms,
        (40, (0, 9, 15)),
        (40, (3, 6, 15)),
        (20, (0, 5, 15)),
        (20, (2, 3, 15)),
        (30, (1, -5, 15)),
        (30, (0, -3, 16)),
    )
    # Of four branch points, three lie on any path that can pass most.
    assert branch_features(middle)[2] == pytest.approx(3 / 4)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(0.2, 5.0))
def test_place_direction_size_calibre_and_the_order_of_nodes_do_not_matter(seed, scale):
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    for one in (FORK, COMB, BUSH):
        order = rng.permutation(len(one.nodes))
        place = np.argsort(order)
        links = [(place[k], place[p]) for k, p in enumerate(one.parents) if p >= 0]
        # Hang the tree up at another node.
        parents, left, front = np.full(len(order), -1), set(links), [int(rng.integers(len(order)))]
        while front:
            node = front.pop()
            for a, b in [pair for pair in left if node in pair]:
                other = b if a == node else a
                parents[other] = node
                left.discard((a, b))
                front.append(other)
        moved = Skeleton(
            0, (scale * one.nodes @ turn + rng.uniform(-9, 9, 3))[order], parents, np.ones(len(order))
        )
        np.testing.assert_allclose(branch_features(moved), branch_features(one), rtol=1e-9)


def test_short_end_branches_can_be_left_out():
    np.testing.assert_allclose(branch_features(COMB, shortest=1.8), branch_features(LINE))
    np.testing.assert_allclose(branch_features(COMB, shortest=1.2), branch_features(COMB))
    assert branch_features(BUSH, shortest=3.1)[0] < branch_features(BUSH)[0]


def test_of_pieces_the_longest_is_taken():
    both = Skeleton(
        0,
        np.concatenate([COMB.nodes, LINE.nodes[:3] + 50]),
        np.concatenate([COMB.parents, [-1, len(COMB.nodes), len(COMB.nodes) + 1]]),
        np.ones(len(COMB.nodes) + 3),
    )
    np.testing.assert_allclose(branch_features(both), branch_features(COMB))


def test_groups_of_clear_shapes_are_found():
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0, 0], [4, 0, 4], [0, 4, 4]])
    given = np.concatenate([c + 0.3 * rng.standard_normal((12, 3)) for c in centres])
    found = group(given)
    assert found.number == 3 and adjusted_rand_score(np.repeat(range(3), 12), found.labels) == 1
    assert set(found.labels) == {1, 2, 3} and max(found.silhouettes.values()) == found.silhouettes[3]


def test_groups_do_not_depend_on_units():
    rng = np.random.default_rng(1)
    given = rng.standard_normal((30, 3)) + np.repeat([[0], [5]], 15, axis=0)
    scaled = group(given * [1, 1000, 0.001] + [5, 0, 1])
    assert np.array_equal(scaled.labels, group(given).labels)


def test_neurons_all_alike_are_one_group():
    assert group(np.ones((6, 3))).number == 1


def test_the_phantom_s_types_differ_by_their_true_lines():
    """A ceiling: what clustering makes of lines traced without an error."""
    tissue = neurites.tissue(96, 96, nuclei=0, labelled=0, calibres_um=(0.5, 2.0), rng=3)
    found = group([branch_features(n) for n in tissue.neurons])
    assert adjusted_rand_score([n.kind for n in tissue.neurons], found.labels) > 0.8


def test_a_segment_is_called_by_what_it_holds_most_of():
    segments = np.array([1, 1, 1, 1, 2, 2, 2, 3, 3, 0])
    truth = np.array([7, 7, 5, 0, 5, 7, 7, 0, 0, 5])
    assert most_of(segments, truth) == {1: 7, 2: 7}
    assert most_of([4, 4], [9, 8]) == {4: 8}
    with pytest.raises(LowdoseError, match="segments, truth"):
        most_of(np.zeros(3, int), np.zeros(4, int))


def test_nonsense_is_refused():
    with pytest.raises(LowdoseError, match="line"):
        branch_features(Skeleton(0, np.zeros((1, 3)), np.array([-1]), np.ones(1)))
    with pytest.raises(LowdoseError, match="features, most"):
        group(np.full((8, 3), np.nan))
    with pytest.raises(LowdoseError, match="features, most"):
        group(np.ones((3, 3)))
