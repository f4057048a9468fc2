"""Otsu's thresholds for several classes, beside a search through all and scikit-image."""

from __future__ import annotations

from itertools import combinations, combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.filters import threshold_multiotsu, threshold_otsu

from lowdose_utils.classify.thresholds import best_thresholds, multi_otsu
from lowdose_utils.errors import LowdoseError


def within(image: np.ndarray, cuts: np.ndarray) -> float:
    """Sum of squares within the classes."""
    parts = np.digitize(image, cuts)
    return sum(((image[parts == k] - image[parts == k].mean()) ** 2).sum() for k in np.unique(parts))


@given(st.integers(0, 10_000), st.integers(2, 4), st.sampled_from([8, 12]))
def test_no_other_thresholds_are_better(seed: int, classes: int, bins: int) -> None:
    rng = np.random.default_rng(seed)
    image = np.concatenate([rng.normal(m, rng.uniform(1, 9), 80) for m in rng.uniform(0, 100, classes)])
    counts, edges = np.histogram(image, bins)
    centres = (edges[1:] + edges[:-1]) / 2
    binned = np.repeat(centres, counts)
    if np.count_nonzero(counts) < classes:
        return
    best = min(within(binned, np.array(cuts)) for cuts in combinations(edges[1:-1], classes - 1))
    found = multi_otsu(image, classes, bins=bins)
    assert within(binned, found) == pytest.approx(best, rel=1e-9)
    assert len(found) == classes - 1 and (np.diff(found) > 0).all()


def test_on_a_full_histogram_it_is_scikit_images() -> None:
    rng = np.random.default_rng(0)
    levels = rng.choice([0, 60, 120, 180, 250], 40_000, p=[0.5, 0.08, 0.33, 0.05, 0.04])
    image = levels + rng.normal(0, 12, 40_000)
    for classes, bins, theirs in (
        (5, 64, threshold_multiotsu(image, 5, 64)),
        (2, 256, threshold_otsu(image)),
    ):
        half_a_bin = np.ptp(image) / bins / 2  # theirs are centres of bins
        np.testing.assert_allclose(multi_otsu(image, classes, bins=bins) - half_a_bin, theirs, atol=1e-9)


def test_clear_classes_are_parted() -> None:
    greys = np.repeat([10.0, 60.0, 100.0, 180.0, 255.0], [500, 80, 300, 40, 60])
    cuts = multi_otsu(greys + np.random.default_rng(0).normal(0, 3, greys.size), 5)
    np.testing.assert_array_equal(np.digitize(greys, cuts), np.repeat(range(5), [500, 80, 300, 40, 60]))


@pytest.mark.parametrize(
    ("image", "classes", "said"),
    [
        (np.array([1.0, np.nan]), 2, "finite"),
        (np.empty(0), 2, "0 values"),
        (np.ones(9), 2, "1 bins"),
        (np.arange(9.0), 1, "2 or more"),
    ],
)
def test_what_cannot_be_parted_is_refused(image, classes, said) -> None:
    with pytest.raises(LowdoseError, match=said):
        multi_otsu(image, classes)


@given(st.integers(0, 10_000), st.integers(2, 4))
def test_no_thresholds_give_more_pixels_their_class(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(1, classes + 1, 200)
    truth[:classes] = np.arange(1, classes + 1)
    image = rng.uniform(0, 60, classes)[truth - 1] + rng.normal(0, 9, truth.size)
    cuts, order = best_thresholds(image, truth, bins=10)
    found = np.mean(order[np.digitize(image, cuts)] == truth)
    edges = np.histogram_bin_edges(image, 10)
    tried = combinations_with_replacement(edges, classes - 1)
    best = max(np.mean(order[np.digitize(image, np.array(each))] == truth) for each in tried)
    assert found >= best - 1 / truth.size  # the largest value itself lies on the last edge


def test_an_oracle_refuses_what_has_no_truth() -> None:
    for image, truth in (
        (np.ones(3), np.ones(4)),
        (np.ones(3), np.ones(3)),
        (np.full(2, np.nan), np.arange(2)),
    ):
        with pytest.raises(LowdoseError, match="image and truth"):
            best_thresholds(image, truth)
