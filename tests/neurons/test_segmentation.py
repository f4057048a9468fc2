"""Supervoxels, agglomeration, blocks, and the scores of what they give."""

from __future__ import annotations

import numpy as np
import pytest
import waterz
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from skimage.metrics import adapted_rand_error, variation_of_information

from lowdose_utils.errors import LowdoseError
from lowdose_utils.neurons.agglomerate import SCORINGS, agglomerate
from lowdose_utils.neurons.blocks import blocks, segment_blocks
from lowdose_utils.neurons.intensity import IntensityAffinities, feature, tissue_mask
from lowdose_utils.neurons.pictures import colours, like_truth, painted
from lowdose_utils.neurons.scores import best, score, score_all, scored_truth
from lowdose_utils.neurons.segment import Settings, choose, segment
from lowdose_utils.neurons.supervoxels import filled, supervoxels

from .tissues import blurred, ideal, membranes, voronoi

THRESHOLDS = [0.1, 0.3, 0.5, 0.7, 0.9]


def test_ideal_affinities_give_the_cells():
    labels = voronoi()
    pieces = supervoxels(ideal(labels))
    assert len(np.unique(pieces)) > labels.max()
    found = agglomerate(ideal(labels), pieces, THRESHOLDS)
    whole = filled(found.segments(0.5))
    assert score(whole, scored_truth(labels)).voi < 0.02
    # Every supervoxel is inside one cell.
    assert all(len(np.unique(labels[pieces == n])) == 1 for n in np.unique(pieces)[1:])


def test_without_grown_boundaries_cells_touch():
    """Why boundaries are grown: watershed sees cells where the affinity is 0 on one layer of edges only."""
    labels = voronoi()
    bare = agglomerate(ideal(labels, 0), supervoxels(ideal(labels, 0)), [0.5]).segments(0.5)
    assert score(filled(bare), scored_truth(labels)).voi > 1


def test_noisy_affinities_have_a_best_threshold():
    labels = voronoi(48, 20)
    found = blurred(labels, 0.5)
    agglomeration = agglomerate(found, supervoxels(found, threshold=0.4), THRESHOLDS, scoring="mean")
    scores = score_all(agglomeration, scored_truth(labels))
    assert [one.threshold for one in scores] == THRESHOLDS
    # The further pieces are joined, the less is split and the more is merged.
    assert all(np.diff([one.split for one in scores]) <= 1e-9)
    assert all(np.diff([one.merge for one in scores]) >= -1e-9)
    assert best(scores).voi < scores[0].voi


@pytest.mark.parametrize("scoring", ["mean", "quantile 50", "quantile 85"])
def test_nothing_is_printed_or_changed(scoring, capfd):
    labels = voronoi(24, 6)
    found = blurred(labels)
    pieces = supervoxels(found)
    kept = pieces.copy(), found.copy()
    result = agglomerate(found, pieces, [0.9, 0.1], scoring=scoring)
    print("after")
    assert capfd.readouterr().out == "after\n"
    np.testing.assert_array_equal(pieces, kept[0])
    np.testing.assert_array_equal(found, kept[1])
    assert result.thresholds == (0.1, 0.9)
    assert result.lookups[0] is not result.lookups[1]


def test_segments_are_those_of_waterz(capfd):
    labels = voronoi(24, 8)
    found = blurred(labels, 0.4)
    pieces = supervoxels(found)
    ours = agglomerate(found, pieces, [0.4, 0.6], scoring="mean")
    theirs = [
        one.copy()
        for one in waterz.agglomerate(
            found, [0.4, 0.6], fragments=pieces.copy(), scoring_function=SCORINGS["mean"]
        )
    ]
    np.testing.assert_array_equal(ours.segments(0.4), theirs[0])
    np.testing.assert_array_equal(ours.segments(0.6), theirs[1])


def test_every_scoring_comes_ready_made():
    from waterz._prebuilt import agglomerate as prebuilt

    ready = {function for function, queue in prebuilt.SPECS if queue == "0"}
    assert {function.replace(" ", "") for function in SCORINGS.values()} <= ready


def test_boundaries_are_given_to_the_nearest():
    pieces = np.zeros((1, 1, 9), int)
    pieces[0, 0, 1], pieces[0, 0, 7] = 5, 6
    assert filled(pieces, 2)[0, 0].tolist() == [5, 5, 5, 5, 0, 6, 6, 6, 6]


@settings(deadline=None, max_examples=30)
@given(
    arrays(np.int64, (3, 4, 5), elements=st.integers(0, 3)),
    arrays(np.int64, (3, 4, 5), elements=st.integers(0, 4)),
)
def test_scores_are_those_of_scikit_image(true, found):
    if not true.any():
        return
    split, merge = variation_of_information(true, found, ignore_labels=(0,))
    ours = score(found, true)
    assert (ours.split, ours.merge) == (pytest.approx(split), pytest.approx(merge))
    if np.bincount(found[true > 0]).max() > 1 and np.bincount(true[true > 0]).max() > 1:
        assert ours.rand == pytest.approx(adapted_rand_error(true, found)[0])


def test_split_and_merge_are_what_they_say():
    true = np.ones((2, 2, 2), int)
    true[1] = 2
    halves = np.arange(8).reshape(2, 2, 2) // 2 + 1
    assert score(halves, true)[1:3] == (1.0, 0.0)  # one bit: which half of its cell
    assert score(np.ones_like(true), true)[1:3] == (0.0, 1.0)


def test_scores_of_all_thresholds_are_those_of_each():
    labels = voronoi(32, 10)
    found = blurred(labels, 0.4)
    agglomeration = agglomerate(found, supervoxels(found), THRESHOLDS)
    truth = scored_truth(labels)
    for one in score_all(agglomeration, truth):
        each = score(agglomeration.segments(one.threshold), truth)
        assert one[1:] == pytest.approx(each[1:])


def test_what_a_cut_parts_is_scored_apart():
    labels = np.zeros((9, 9, 9), int)
    labels[:, :3], labels[:, 6:] = 7, 7
    assert len(np.unique(scored_truth(labels, grow=0))) == 3


def test_blocks_tile_the_volume():
    seen = np.zeros((20, 9, 33), int)
    values = np.random.default_rng(0).random(seen.shape)
    for core, around, inner in blocks(seen.shape, 8, 3):
        seen[core] += 1
        np.testing.assert_array_equal(values[around][inner], values[core])
    assert (seen == 1).all()


@pytest.mark.parametrize("scoring", ["mean", "quantile 50"])
def test_stitched_blocks_are_the_whole(scoring, tmp_path):
    """Cells larger than a block come out whole; of ideal affinities nothing else may differ either."""
    labels = voronoi(56, 12)
    found = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.float32, (3, *labels.shape))
    found[:] = ideal(labels)
    pieces = np.lib.format.open_memmap(tmp_path / "f.npy", "w+", np.uint64, labels.shape)
    cells = np.lib.format.open_memmap(tmp_path / "s.npy", "w+", np.uint64, labels.shape)
    settings = Settings(scoring=scoring)
    number = segment_blocks(found, pieces, cells, settings=settings, block=20, context=10)
    assert number == len(np.unique(cells)) - (0 in cells)
    assert np.count_nonzero(np.bincount(cells.ravel().astype(int))[1:] > 200) == labels.max()  # slivers
    assert score(cells, scored_truth(labels)).voi < 0.02


def test_stitched_blocks_of_noisy_affinities_are_nearly_the_whole():
    labels = voronoi(56, 25)
    found = blurred(labels, 0.3)
    pieces, cells = np.zeros((2, *labels.shape), np.uint64)
    settings = Settings(0.5, 5, "mean", 0.6)
    segment_blocks(found, pieces, cells, settings=settings, block=24, context=12)
    whole = segment(found, settings).segments(0.6)
    truth = scored_truth(labels)
    assert score(cells, truth).voi == pytest.approx(score(whole, truth).voi, abs=0.1)


def test_intensity_finds_membranes_of_either_sign():
    labels = voronoi(40, 12)
    other = voronoi(40, 10, rng=1)
    for sign in (1, -1):
        for kind in ("grey", "sheet"):
            rule = IntensityAffinities.fit(sign * membranes(labels), labels, 1.0, kind)
            assert rule.bright == (sign < 0) if kind == "grey" else rule.bright == (sign > 0)
            found = rule(sign * membranes(other, 1))
            assert found.shape == (3, *other.shape) and found.min() >= 0 and found.max() <= 1
            exact = ideal(other) > 0
            assert found[exact].mean() > found[:, 1:, 1:, 1:][~exact[:, 1:, 1:, 1:]].mean() + 0.2


def test_sheets_are_told_from_steps():
    plane = np.zeros((21, 21, 21), np.float32)
    plane[10] = 1.0
    found = feature(plane, 1.5, "sheet")
    assert found[10, 10, 10] == found.min() < 0
    rising = np.broadcast_to(np.arange(21, dtype=np.float32)[:, None, None], plane.shape)
    assert np.abs(feature(rising, 1.5, "sheet")[8:13]).max() < 0.01 * -found.min()


def test_tissue_is_what_is_bright_less_a_rim():
    ball = np.linalg.norm(np.indices((48, 48, 48)) - 23.5, axis=0)
    found = tissue_mask((ball < 18).astype(np.float32), rim=2)
    assert not found[ball > 17].any()
    assert found[ball < 14].all()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: supervoxels(np.zeros((2, 4, 4, 4))), "affinities"),
        (lambda: supervoxels(np.full((3, 4, 4, 4), 2.0)), "affinities"),
        (lambda: supervoxels(np.zeros((3, 4, 4, 4)), threshold=1.0), "threshold"),
        (lambda: agglomerate(np.zeros((3, 4, 4, 4)), np.zeros((4, 4, 4), int), []), "thresholds"),
        (lambda: agglomerate(np.zeros((3, 4, 4, 4)), np.zeros((4, 4, 3), int), [0.5]), "fragments"),
        (
            lambda: agglomerate(np.zeros((3, 4, 4, 4)), np.zeros((4, 4, 4), int), [0.5], scoring="best"),
            "scoring",
        ),
        (lambda: score(np.zeros((2, 2, 2), int), np.zeros((2, 2, 2), int)), "truth"),
        (lambda: score(np.zeros((2, 2, 2), int), np.ones((2, 2, 3), int)), "truth"),
        (lambda: feature(np.zeros((3, 3, 3)), 0.0, "sheet"), "sigma"),
        (lambda: IntensityAffinities.fit(np.zeros((9, 9, 9)), np.ones((9, 9, 9), int), 1.0), "labels"),
        (lambda: segment_blocks(*np.zeros((3, 4, 4, 4)), settings=Settings()), "fragments"),
    ],
)
def test_bad_input_is_refused(call, says):
    with pytest.raises(LowdoseError, match=says):
        call()


def test_sheets_are_the_strongest_eigenvalue():
    raw = np.random.default_rng(0).standard_normal((9, 10, 11)).astype(np.float32)
    hessian = np.zeros((*raw.shape, 3, 3))
    for i in range(3):
        for j in range(3):
            order = np.bincount([i, j], minlength=3)
            hessian[..., i, j] = ndimage.gaussian_filter(raw.astype(float), 1.3, order=order)
    values = np.linalg.eigvalsh(hessian)
    strongest = np.take_along_axis(values, abs(values).argmax(-1)[..., None], -1)[..., 0]
    np.testing.assert_allclose(feature(raw, 1.3, "sheet"), strongest, atol=2e-6)
    with np.errstate(all="raise", under="ignore"):
        assert not feature(np.zeros((5, 5, 5)), 1.0, "sheet").any()
        assert np.isfinite(feature(np.full((5, 5, 5), -4.0) + 1e-15 * raw[:5, :5, :5], 1.0, "sheet")).all()


def test_settings_are_those_that_do_best():
    labels = voronoi(40, 14)
    found = blurred(labels, 0.5)
    truth = scored_truth(labels)
    settings, reached = choose(found, truth, membranes=(0.3, 0.5), thresholds=THRESHOLDS)
    for membrane in (0.3, 0.5):
        for scoring in ("mean", "quantile 50"):
            tried = segment(found, Settings(membrane, 5, scoring), THRESHOLDS)
            assert best(score_all(tried, truth)).voi >= reached.voi - 1e-9
    again = segment(found, settings)
    assert score(again.segments(settings.threshold), truth).voi == pytest.approx(reached.voi)


def test_nothing_inside_is_no_error():
    nothing = np.zeros((3, 6, 6, 6), np.float32)
    truth = np.ones((6, 6, 6), int)
    settings, reached = choose(nothing, truth)
    assert not segment(nothing, settings).segments(settings.threshold).any()
    assert reached.voi == 0  # one cell, one piece


def test_colours_show_splits_and_merges():
    truth = np.zeros((1, 2, 6), int)
    truth[0, :, :3], truth[0, :, 3:] = 1, 2
    split, merged = np.full_like(truth, 9), np.full_like(truth, 9)
    split[0, :, 2:4], split[0, :, 4:] = 4, 5
    found = like_truth(split, truth)[0, 0].tolist()
    assert found[:2] == [1, 1] and found[4:] == [2, 2] and found[2] > 2
    assert set(np.unique(like_truth(merged, truth))) <= {1, 2}
    assert np.unique(colours(30), axis=0).shape == (31, 3)
    picture = painted(truth[0], np.arange(12.0).reshape(2, 6))
    assert picture.shape == (2, 6, 3) and picture.min() >= 0 and picture.max() <= 1
