"""Foam packed as tightly as random points allow."""

import numpy as np
import pytest

from lowdose_utils.errors import LowdoseError
from lowdose_utils.phantoms.foam import foam
from lowdose_utils.phantoms.packed_foam import packed_foam


def test_bubbles_neither_overlap_nor_leave_the_cylinder_and_have_the_sizes_asked_for():
    found = packed_foam(4000, smallest=0.02, largest=0.25, radius=0.8, height=0.5, rng=1)
    apart = np.linalg.norm(found.centres[:, None] - found.centres, axis=2)
    np.fill_diagonal(apart, np.inf)
    assert (apart >= found.radii[:, None] + found.radii - 1e-12).all()
    assert (np.hypot(*found.centres[:, 1:].T) + found.radii <= 0.8 + 1e-12).all()
    assert found.radii.min() >= 0.02 and found.radii.max() == 0.25
    assert (np.diff(found.radii) <= 0).all()
    assert np.abs(found.centres[:, 0]).max() <= 0.25


def test_every_bubble_touches_another_or_the_wall_or_is_of_the_largest_size():
    found = packed_foam(3000, smallest=0.03, largest=0.2, height=0.3, rng=2)
    gaps = np.linalg.norm(found.centres[:, None] - found.centres, axis=2)
    gaps -= found.radii[:, None] + found.radii
    np.fill_diagonal(gaps, np.inf)
    wall = found.radius - np.hypot(*found.centres[:, 1:].T) - found.radii
    assert ((gaps.min(axis=1) < 1e-9) | (wall < 1e-9) | (found.radii == 0.2)).all()


def test_it_holds_more_void_than_the_plain_foam():
    packed = packed_foam(20_000, smallest=0.01, largest=0.15, radius=0.9, height=0.2, rng=0)
    plain = foam(800, smallest=0.01, largest=0.15, radius=0.9, height=0.2, rng=0)
    shares = [np.mean(found.labels(128)[found.labels(128) > 0] == 2) for found in (packed, plain)]
    assert shares[0] > shares[1] + 0.1


def test_the_seed_decides():
    one, same, other = (packed_foam(500, rng=seed) for seed in (4, 4, 5))
    assert (one.centres == same.centres).all() and not np.array_equal(one.radii, other.radii)


@pytest.mark.parametrize("wrong", [{"smallest": 0.3}, {"largest": 1.0}, {"trials": 0}, {"height": -1.0}])
def test_sizes_that_make_no_sense_are_refused(wrong):
    with pytest.raises(LowdoseError, match="smallest, largest"):
        packed_foam(**wrong)
