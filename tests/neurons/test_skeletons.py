"""Centre lines of solids whose lines are known."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from lowdose_utils.errors import LowdoseError
from lowdose_utils.neurons.skeletons import Skeleton, skeletons


def tube(points, radius, shape=(40, 40, 60)):
    """A mask of all voxels within a distance of a polyline."""
    grid = np.stack(np.indices(shape), axis=-1).astype(float)
    away = np.full(shape, np.inf)
    for a, b in pairwise(points):
        a, b = np.array(a, float), np.array(b, float)
        along = np.clip((grid - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)[..., None]
        away = np.minimum(away, np.linalg.norm(grid - a - along * (b - a), axis=-1))
    return away <= radius


def branches(line):
    """Branch points and tips."""
    degree = np.bincount(line.parents[line.parents >= 0], minlength=len(line.nodes)) + (line.parents >= 0)
    return int((degree > 2).sum()), int((degree == 1).sum())


def test_a_straight_tube_is_one_line_of_its_length():
    labels = tube([(20, 20, 10), (20, 20, 50)], 4).astype(int) * 7
    (line,) = skeletons(labels, 0.1)
    assert line.segment == 7 and branches(line) == (0, 2)
    assert line.lengths().sum() == pytest.approx(4.0, abs=0.6)  # its round ends are 0.4 each
    middle = np.array([20, 20]) - 19.5
    assert np.abs(line.nodes[:, :2] / 0.1 - middle).max() < 1.01
    assert np.median(line.radii) == pytest.approx(0.45, abs=0.06)


def test_nodes_are_in_um_from_the_middle_parents_first():
    labels = tube([(5, 10, 10), (30, 10, 50)], 3).astype(np.uint16)
    (line,) = skeletons(labels, 0.2)
    ends = (np.array([[5, 10, 10], [30, 10, 50]]) - [19.5, 19.5, 29.5]) * 0.2
    for end in ends:
        assert np.linalg.norm(line.nodes - end, axis=1).min() < 0.8
    assert line.parents[0] == -1 and (line.parents[1:] < np.arange(1, len(line.parents))).all()


def test_a_slanted_line_is_not_longer_than_it_is():
    labels = tube([(5, 10, 10), (30, 25, 50)], 3).astype(int)
    (line,) = skeletons(labels, 1.0, spur=(1.5, 0))
    straight = np.linalg.norm(line.nodes[0] - line.nodes[-1])
    assert line.lengths().sum() == pytest.approx(straight, rel=0.04)
    (rough,) = skeletons(labels, 1.0, spur=(1.5, 0), smoothing=0)
    assert rough.lengths().sum() > 1.02 * line.lengths().sum()


def test_a_fork_has_one_branch_point_where_it_parts():
    mask = tube([(20, 20, 5), (20, 20, 30)], 3) | tube([(20, 20, 30), (20, 5, 52)], 3)
    mask |= tube([(20, 20, 30), (20, 35, 52)], 3)
    (line,) = skeletons(mask.astype(int), 1.0, spur=(1.5, 0))
    assert branches(line) == (1, 3)
    degree = np.bincount(line.parents[1:], minlength=len(line.nodes))
    node = line.nodes[np.argmax(degree)] + [19.5, 19.5, 29.5]
    assert np.linalg.norm(node - [20, 20, 30]) < 5


def test_bumps_are_no_branches_but_long_ones_are():
    stem = tube([(20, 20, 5), (20, 20, 55)], 5)
    bump = stem | tube([(20, 20, 30), (20, 27, 30)], 3)
    assert branches(skeletons(bump.astype(int), 1.0, spur=(1.5, 0))[0]) == (0, 2)
    branch = stem | tube([(20, 20, 30), (20, 37, 30)], 2)
    assert branches(skeletons(branch.astype(int), 1.0, spur=(1.5, 0))[0]) == (1, 3)
    assert branches(skeletons(branch.astype(int), 1.0, spur=(1.5, 20))[0]) == (0, 2)


def test_a_ring_is_opened():
    z, y, x = np.indices((20, 40, 40)) - np.array([10, 20, 20])[:, None, None, None]
    ring = (np.hypot(y, x) - 12) ** 2 + z**2 <= 9
    (line,) = skeletons(ring.astype(int), 1.0)
    assert (line.parents < 0).sum() == 1
    assert line.lengths().sum() == pytest.approx(2 * np.pi * 12, rel=0.15)


def test_cavities_do_not_make_shells():
    mask = tube([(20, 20, 10), (20, 20, 50)], 8)
    mask &= ~tube([(20, 20, 25), (20, 20, 30)], 3)
    (line,) = skeletons(mask.astype(int), 1.0, spur=(1.5, 0))
    assert branches(line) == (0, 2)


def test_pieces_of_a_segment_are_trees_of_their_own():
    mask = tube([(10, 10, 5), (10, 10, 50)], 3) | tube([(30, 30, 5), (30, 30, 50)], 3)
    (line,) = skeletons(mask.astype(int), 1.0)
    assert (line.parents < 0).sum() == 2
    assert line.lengths().max() < 4  # nothing is counted between them


def test_every_segment_is_found_under_its_own_number_and_specks_are_not():
    labels = np.zeros((40, 40, 60), np.int64)
    labels[tube([(10, 10, 5), (10, 10, 50)], 3)] = 10**12
    labels[tube([(30, 30, 5), (30, 30, 50)], 3)] = 5
    labels[2, 2, 2] = 77
    assert [line.segment for line in skeletons(labels, 1.0)] == [5, 10**12]
    assert [line.segment for line in skeletons(labels, 1.0, smallest=1)] == [5, 77, 10**12]
    assert skeletons(np.zeros((4, 4, 4), int), 1.0) == []


def test_a_volume_without_background_is_traced_too():
    labels = np.ones((12, 12, 30), int)
    labels[:, 6:] = 2
    assert [line.segment for line in skeletons(labels, 1.0)] == [1, 2]


def test_lines_lie_in_their_segments():
    rng = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(rng.standard_normal((30, 30, 30)), 3)
    labels, _ = ndimage.label(noise > 0.02)
    for line in skeletons(labels, 1.0, smoothing=0):
        places = np.rint(line.nodes + 14.5).astype(int)
        assert (ndimage.grey_dilation(labels == line.segment, 3)[tuple(places.T)] > 0).all()
        assert isinstance(line, Skeleton)


@pytest.mark.parametrize(
    "wrong",
    [
        {"labels": np.zeros((4, 4), int)},
        {"labels": np.zeros((4, 4, 4))},
        {"voxel_um": 0},
        {"smallest": 0},
        {"spur": (-1, 0)},
    ],
)
def test_nonsense_is_refused(wrong):
    with pytest.raises(LowdoseError, match="labels, voxel_um"):
        skeletons(**{"labels": np.ones((8, 8, 8), int), "voxel_um": 1.0, **wrong})
