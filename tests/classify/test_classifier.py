"""Classifier, scribbles, simulated annotator, files and measures."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from roifile import ROI_TYPE, ImagejRoi, roiwrite
from scipy.ndimage import label as components
from skops import io

from lowdose_utils.classify import (
    FeatureSet,
    PixelClassifier,
    Stroke,
    annotate,
    compute,
    correct,
    label_image,
    load_classifier,
    names,
    read_rois,
    save_classifier,
    train_classifier,
)
from lowdose_utils.classify.measures import accuracy, confusion, dice, halo, speckle
from lowdose_utils.errors import LowdoseError

FEW = FeatureSet(("original", "gaussian", "variance"), maximum_sigma=4.0)
OTHER = replace(FEW, families=("original", "gaussian", "median"))
y, x = np.mgrid[:64, :64]
TRUTH = (1 + ((y - 32) ** 2 + (x - 32) ** 2 < 500) + ((y - 26) ** 2 + (x - 38) ** 2 < 60)).astype(np.uint8)
IMAGE = (60 * TRUTH + np.random.default_rng(0).normal(0, 25, TRUTH.shape)).astype(np.float32)
STACK = compute(IMAGE, FEW, device="cpu", workers=1)
SCRIBBLES = annotate(TRUTH, 40, 1)


def trained(labels=SCRIBBLES, stack=STACK, **more) -> PixelClassifier:
    settings = {"features": FEW, "computed": True, "trees": 15, "rng": 3, "workers": 1}
    return train_classifier(stack, labels, **{**settings, **more})


@pytest.fixture(scope="module")
def forest() -> PixelClassifier:
    return trained(class_names=["air", "shell", "core"])


# Training


@pytest.mark.parametrize("kind", ["forest", "boosting"])
def test_a_noisy_image_is_classified_better_than_by_its_best_thresholds(kind):
    thresholded = 1 + np.digitize(IMAGE, [90, 150])
    found = trained(kind=kind, labels=annotate(TRUTH, 100, 1)).classify(STACK, computed=True, workers=1)
    assert accuracy(TRUTH, found) > 0.9 > accuracy(TRUTH, thresholded)


def test_the_default_forest_is_the_plugins():
    model = trained(trees=None).model
    settings = model.n_estimators, model.max_features, model.criterion, model.max_depth, model.bootstrap
    assert settings == (200, 2, "entropy", None, True)
    assert model.class_weight is None and model.min_samples_leaf == 1


def test_probabilities_add_up_and_the_class_is_the_largest(forest):
    shares = forest.probabilities(STACK, computed=True, workers=1)
    assert shares.shape == (3, 64, 64) and shares.dtype == np.float32
    np.testing.assert_allclose(shares.sum(0), 1, atol=1e-6)
    classes = forest.classify(STACK, computed=True, workers=1)
    np.testing.assert_array_equal(classes, shares.argmax(0) + 1)
    np.testing.assert_array_equal(classes[SCRIBBLES > 0], SCRIBBLES[SCRIBBLES > 0])


def test_only_labelled_pixels_matter_and_the_seed_decides():
    stack = STACK.copy()
    stack[:, SCRIBBLES == 0] = 7
    one, two, three = trained(), trained(stack=stack), trained(rng=4)
    shares = [each.probabilities(STACK, computed=True, workers=1) for each in (one, two, three)]
    np.testing.assert_array_equal(shares[0], shares[1])
    assert (shares[0] != shares[2]).any()
    assert one.fingerprint == two.fingerprint != three.fingerprint


def test_image_tiles_threads_and_stack_give_the_same(forest, monkeypatch):
    monkeypatch.setattr("lowdose_utils.classify.classifier.BLOCK", 1000)
    want = forest.probabilities(STACK, computed=True, workers=1)
    np.testing.assert_array_equal(forest.probabilities(IMAGE, device="cpu", workers=3), want)
    tiled = forest.probabilities(IMAGE, device="cpu", workers=1, tile=20)
    assert np.mean(np.abs(tiled - want) > 1e-6) < 0.01  # float32 rounding may cross a threshold
    both = forest.probabilities(np.stack([IMAGE, IMAGE[::-1]]), device="cpu", workers=1)
    np.testing.assert_array_equal(both[:, 0], want)
    stacks = forest.classify(np.stack([STACK, STACK], 1), computed=True, workers=1)
    np.testing.assert_array_equal(stacks[1], want.argmax(0) + 1)


def test_training_on_slices_of_a_volume_uses_the_labelled_ones():
    volume = np.stack([np.full_like(IMAGE, np.nan), IMAGE])  # the first has no labels and is not looked at
    labels = np.stack([np.zeros_like(SCRIBBLES), SCRIBBLES])
    whole = trained(labels, volume, computed=False, device="cpu")
    assert whole.fingerprint == trained().fingerprint


def test_out_of_bag_accuracy_is_that_of_unseen_pixels_and_chance_for_random_labels():
    clean = trained(annotate(TRUTH, 150, 2), trees=40)
    random = np.where(SCRIBBLES > 0, np.random.default_rng(5).integers(1, 4, SCRIBBLES.shape), 0)
    assert clean.oob_accuracy > 0.85
    assert abs(trained(random, trees=40).oob_accuracy - 1 / 3) < 0.2
    assert trained(kind="boosting").oob_accuracy is None


def test_importances_go_by_name_and_noise_is_unimportant():
    stack = np.random.default_rng(0).normal(size=STACK.shape).astype(np.float32)
    at = names(FEW).index("Variance_2.0")
    stack[at] = TRUTH
    importances = trained(stack=stack).importances()
    assert sorted(importances) == sorted(names(FEW))
    assert next(iter(importances)) == "Variance_2.0"
    assert sum(importances.values()) == pytest.approx(1)
    with pytest.raises(LowdoseError, match="boosted"):
        trained(kind="boosting").importances()


def test_balance_helps_the_rare_class():
    labels = annotate(TRUTH, 300, 1)
    rare = np.argwhere(labels == 3)[10:]
    labels[tuple(rare.T)] = 0
    noisy = STACK + np.random.default_rng(1).normal(0, 40, STACK.shape).astype(np.float32)
    found = [
        trained(labels, noisy, kind="boosting", balance=balance).classify(noisy, computed=True, workers=1)
        for balance in (False, True)
    ]
    assert (found[1] == 3).sum() > (found[0] == 3).sum()


@pytest.mark.parametrize(
    ("labels", "more", "message"),
    [
        (np.zeros((64, 64), int), {}, "no labelled pixel"),
        (np.where(SCRIBBLES == 2, 2, 0), {}, "one class only, 2"),
        (SCRIBBLES[:60], {}, r"labels: found shape \(60, 64\); expected \(64, 64\)"),
        (np.where(SCRIBBLES == 2, 0, SCRIBBLES), {}, "no pixel of class 2"),
        (SCRIBBLES, {"class_names": ["a", "b", "c", "d"]}, "no pixel of class d"),
        (SCRIBBLES, {"class_names": ["a", "b"]}, "class_names"),
        (SCRIBBLES, {"class_names": ["a", "b", "b"]}, "class_names"),
        (SCRIBBLES - 1.0, {}, "from -1"),
        (SCRIBBLES / 2, {}, "fractions"),
        (SCRIBBLES[0], {}, "shape"),
        (SCRIBBLES, {"features": OTHER, "stack": STACK[:2]}, r"7 channels in front, original to Median_4"),
        (SCRIBBLES, {"stack": np.where(SCRIBBLES == 1, np.nan, STACK)}, "NaN"),
        (SCRIBBLES, {"stack": IMAGE * np.nan, "computed": False}, "NaN"),
        (SCRIBBLES, {"kind": "magic"}, "kind"),
        (SCRIBBLES, {"trees": 0}, "trees"),
        (SCRIBBLES, {"split_features": 0}, "split_features"),
    ],
)
def test_bad_training_input_is_refused(labels, more, message):
    with pytest.raises(LowdoseError, match=message):
        trained(labels, **more)


def test_bad_images_are_refused(forest):
    hole = STACK.copy()
    hole[3, 5, 5] = np.inf
    for given_, computed, message in (
        (STACK[:4], True, "channels in front"),
        (hole, True, "1 values that are NaN"),
        (np.where(x == 3, np.nan, IMAGE), False, "NaN"),
        (IMAGE[0], False, "image"),
        (STACK[:, 0], True, "feature stack"),
    ):
        with pytest.raises(LowdoseError, match=message):
            forest.classify(given_, computed=computed, workers=1)
    with pytest.raises(LowdoseError, match="3 classes"):
        replace(forest, class_names=("a", "b"))


def test_a_full_disk_is_noticed_before_tiles_are_kept_there(forest, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(LowdoseError, match="TMPDIR"):
        forest.classify(IMAGE, tile=32, device="cpu", workers=1)


# Files


@pytest.mark.parametrize("kind", ["forest", "boosting"])
def test_a_stored_classifier_is_the_same(tmp_path, kind):
    classifier = trained(kind=kind, class_names=["a", "b", "c"])
    read = load_classifier(save_classifier(tmp_path / "a.classifier", classifier), features=FEW)
    assert replace(read, model=classifier.model) == classifier
    one, two = (each.probabilities(STACK, computed=True, workers=1) for each in (classifier, read))
    np.testing.assert_array_equal(one, two)


def changed(path, model=None, honest=False, **header):
    """Rewrite a stored classifier; `honest` with a checksum that fits."""
    with zipfile.ZipFile(path) as file:
        about, kept = json.loads(file.read("classifier.json")), file.read("model.skops")
    about |= header
    model = model or kept
    if honest:
        rest = {name: value for name, value in about.items() if name != "sha256"}
        about["sha256"] = sha256(json.dumps(rest, sort_keys=True).encode() + model).hexdigest()
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("classifier.json", json.dumps(about))
        file.writestr("model.skops", model)


class Foreign:
    """A type that no classifier file may build."""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_names": ["core", "shell", "air"]}, "checksum"),
        ({"model": io.dumps([1])}, "checksum"),
        ({"model": io.dumps(Foreign()), "honest": True}, "[Uu]ntrusted.*Foreign"),
        ({"model": io.dumps([1]), "honest": True}, "list"),
        ({"format": 99, "honest": True}, "format 99"),
        ({"scikit-learn": "0.1.2", "honest": True}, "scikit-learn 0.1.2"),
        ({"feature_names": ["original", "Odd_1"], "honest": True}, "Odd_1 as channel 1"),
        ({"feature_names": names(FEW)[:-1], "honest": True}, "6 channels, Variance_4.0"),
        ({"features": {"unheard": 1}, "honest": True}, "unheard"),
    ],
)
def test_changed_files_are_refused(tmp_path, forest, change, message):
    path = save_classifier(tmp_path / "a.classifier", forest)
    changed(path, **change)
    with pytest.raises(LowdoseError, match=message):
        load_classifier(path)


def test_damaged_missing_and_unwanted_files_are_refused(tmp_path, forest):
    path = save_classifier(tmp_path / "a.classifier", forest)
    with pytest.raises(LowdoseError, match=r"Variance_1.0 as channel 2; expected Median_1.0"):
        load_classifier(path, features=OTHER)
    with pytest.raises(LowdoseError, match="compat"):
        load_classifier(path, features=replace(FEW, compat="weka"))
    path.write_bytes(path.read_bytes()[:-200])
    for wrong in (path, tmp_path / "none"):
        with pytest.raises(LowdoseError, match="written by save_classifier"):
            load_classifier(wrong)


# Scribbles


def test_strokes_are_drawn_where_they_are():
    strokes = [
        Stroke(1, ((2, 1), (2, 6))),
        Stroke(2, ((8, 8),), width=3),
        Stroke(3, ((11, 2), (11, 5), (14, 5), (14, 2)), filled=True),
        Stroke(4, ((2, 6), (30, 6))),
    ]
    want = np.zeros((16, 16), np.uint8)
    want[2, 1:7], want[7:10, 7:10], want[11:15, 2:6] = 1, 2, 3
    want[2:, 6] = 4
    np.testing.assert_array_equal(label_image((16, 16), strokes), want)
    stack = label_image((2, 16, 16), [replace(stroke, slice=1) for stroke in strokes])
    np.testing.assert_array_equal(stack, np.stack([np.zeros_like(want), want]))
    assert (label_image((2, 16, 16), strokes[:1]) == (want == 1)).any((1, 2)).all()


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-5, 24), st.integers(-5, 24)), min_size=1, max_size=4), st.integers(1, 7)
)
def test_a_line_labels_the_pixels_within_half_its_width(points, width):
    dense = np.concatenate(
        [np.linspace(a, b, 200) for a, b in zip(points, points[1:] or points, strict=False)]
    )
    rows, columns = np.mgrid[:20, :20]
    distance = np.hypot(rows[..., None] - dense[:, 0], columns[..., None] - dense[:, 1]).min(-1)
    try:
        drawn = label_image((20, 20), [Stroke(1, tuple(points), width=width)]) > 0
    except LowdoseError:
        drawn = np.zeros((20, 20), bool)
    # Lines on the pixel grid lie up to half a pixel beside the true ones.
    assert not drawn[distance > width / 2 + 0.51].any()
    assert drawn[distance < (width - 1) / 2 - 0.51].all()


def roi(kind, points=None, **more):
    made = ImagejRoi.frompoints(points) if points is not None else ImagejRoi()
    made.roitype = kind
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_regions_of_imagej_label_the_pixels_that_imagej_selects(tmp_path):
    square = [[3, 2], [7, 2], [7, 5], [3, 5]]  # corners (x, y): ImageJ selects columns 3..6, rows 2..4
    area = np.zeros((20, 20), np.uint8)
    area[2:5, 3:7] = 5
    for kind in (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED):
        roi(kind, square).tofile(tmp_path / "a.roi")
        np.testing.assert_array_equal(label_image((20, 20), read_rois(tmp_path / "a.roi", 5)), area)
    roi(ROI_TYPE.RECT, left=3, top=2, right=7, bottom=5).tofile(tmp_path / "r.roi")
    np.testing.assert_array_equal(label_image((20, 20), read_rois(tmp_path / "r.roi", 5)), area)
    many = [
        roi(ROI_TYPE.FREELINE, [[1, 10], [4, 10], [8, 10]], stroke_width=3, name="wide"),
        roi(ROI_TYPE.LINE, x1=2.0, y1=15.0, x2=2.0, y2=18.0, name="thin"),
        roi(ROI_TYPE.POINT, [[18, 1], [16, 1]], name="dots"),
        roi(ROI_TYPE.OVAL, left=12, top=12, right=19, bottom=19, name="oval"),
    ]
    roiwrite(tmp_path / "many.zip", many, name=[each.name for each in many])
    drawn = label_image((20, 20), read_rois(tmp_path / "many.zip", 2))
    assert (drawn[9:12, 1:9] == 2).all() and (drawn[15:19, 2] == 2).all()
    assert drawn[1, 18] == drawn[1, 16] == 2 and drawn[1, 17] == 0
    assert abs((drawn[12:, 12:] == 2).sum() - np.pi * 3.5**2) < 5
    on_slice = roi(ROI_TYPE.POLYGON, square, position=2)
    on_slice.tofile(tmp_path / "z.roi")
    assert read_rois(tmp_path / "z.roi", 1)[0].slice == 1


def test_bad_regions_and_strokes_are_refused(tmp_path):
    roi(ROI_TYPE.ANGLE, [[1, 1], [2, 2], [3, 1]]).tofile(tmp_path / "angle.roi")
    (tmp_path / "noise.roi").write_bytes(b"not a region")
    for path, message in (("angle.roi", "ANGLE"), ("noise.roi", "ImageJ"), ("none.roi", "ImageJ")):
        with pytest.raises(LowdoseError, match=message):
            read_rois(tmp_path / path, 1)
    for bad in (
        {"label": 0, "points": ((1, 1),)},
        {"label": 256, "points": ((1, 1),)},
        {"label": 1, "points": ()},
        {"label": 1, "points": ((1, np.nan),)},
        {"label": 1, "points": ((1, 1), (2, 2)), "filled": True},
        {"label": 1, "points": ((1, 1),), "width": 0},
    ):
        with pytest.raises(LowdoseError, match="stroke"):
            Stroke(**bad)
    for shape, stroke, message in (
        ((5, 5), Stroke(1, ((9, 9),)), "no pixel inside"),
        ((2, 5, 5), Stroke(1, ((1, 1),), slice=2), "slice 2"),
        ((5,), Stroke(1, ((1, 1),)), "shape"),
    ):
        with pytest.raises(LowdoseError, match=message):
            label_image(shape, [stroke])


# The simulated annotator


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 99), st.integers(1, 90), st.sampled_from([1.0, 3.0]), st.integers(1, 30))
def test_an_annotator_draws_inside_each_class_and_again_the_same(seed, count, brush, length):
    drawn = annotate(TRUTH, count, seed, brush=brush, length=length)
    np.testing.assert_array_equal(drawn, annotate(TRUTH, count, seed, brush=brush, length=length))
    assert (drawn[drawn > 0] == TRUTH[drawn > 0]).all()
    assert np.bincount(drawn.ravel())[1:].tolist() == [count] * 3


def test_a_stroke_ends_where_its_class_ends_and_keeps_off_old_labels():
    stripes = (1 + (x // 4) % 2).astype(np.uint8)
    for seed in range(20):
        stroke = annotate(np.where(stripes == 1, 0, stripes), 8, seed, length=8) > 0
        # A first stroke, however long, does not go on in the next stripe.
        first = annotate(np.where(stripes == 1, 0, stripes), 2, seed, length=60)
        assert stroke.sum() == 8 and len(np.unique(np.argwhere(first)[:, 1] // 8)) == 1
    old = np.zeros_like(TRUTH)
    old[2:12, 2:12] = 2  # another class by mistake: strokes so far stay as they are
    predicted = np.where(old > 0, 2, TRUTH)
    np.testing.assert_array_equal(correct(TRUTH, predicted, old, 0), old)


def test_small_classes_are_labelled_whole_and_class_0_is_left_alone():
    truth = np.where(TRUTH == 1, 0, TRUTH)
    drawn = annotate(truth, 10_000, 0)
    np.testing.assert_array_equal(drawn, truth)


def test_corrections_go_to_the_largest_mistakes_first():
    predicted = TRUTH.copy()
    predicted[2:12, 2:12] = 2  # 100 pixels
    predicted[50:54, 2:5] = 3  # 12 pixels
    added = correct(TRUTH, predicted, SCRIBBLES * 0, 0, per_class=1)
    assert (added[2:12, 2:12] == 1).sum() == 1 == (added > 0).sum()
    old = np.zeros_like(TRUTH)
    old[32, 32] = 2
    more = correct(TRUTH, predicted, old, 0, per_class=30, length=8)
    np.testing.assert_array_equal(more, correct(TRUTH, predicted, old, 0, per_class=30, length=8))
    wrong = predicted != TRUTH
    assert more[32, 32] == 2 and ((more > 0) & (more != old) & ~wrong).sum() == 0
    assert (more == 1).sum() == 30 and (more[50:54, 2:5] > 0).any()
    np.testing.assert_array_equal(correct(TRUTH, TRUTH, old, 0), old)
    every = correct(TRUTH, predicted, old, 0, per_class=5000)
    np.testing.assert_array_equal(every == 1, wrong)


def test_rounds_of_correction_mend_most_mistakes():
    strokes, scores = annotate(TRUTH, 4, 0), []
    for round_ in range(3):
        found = trained(strokes).classify(STACK, computed=True, workers=1)
        scores.append(accuracy(TRUTH, found))
        strokes = correct(TRUTH, found, strokes, round_, per_class=60)
    assert scores[0] < 0.99 and 1 - scores[2] < (1 - scores[0]) / 3


def test_bad_input_of_the_annotator_is_refused():
    for truth, more, message in (
        (TRUTH * 0, {}, "zeros only"),
        (TRUTH[None], {}, "one image"),
        (TRUTH, {"per_class": 0}, "per_class"),
        (TRUTH, {"brush": 0}, "brush"),
        (TRUTH, {"length": 0}, "length"),
    ):
        with pytest.raises(LowdoseError, match=message):
            annotate(truth, **{"per_class": 5, "rng": 0, **more})
    with pytest.raises(LowdoseError, match="predicted and strokes"):
        correct(TRUTH, TRUTH[1:], SCRIBBLES, 0)


# Measures


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_table_accuracy_and_dice_are_their_definitions(seed):
    rng = np.random.default_rng(seed)
    truth, found = rng.integers(0, 4, (9, 9)), rng.integers(1, 5, (9, 9))
    truth[0, 0] = 1
    table, inside = confusion(truth, found), truth > 0
    assert table.shape == (found.max(),) * 2 or truth.max() > found.max()
    for a in range(1, len(table) + 1):
        for b in range(1, len(table) + 1):
            assert table[a - 1, b - 1] == ((truth == a) & (found == b)).sum()
    assert accuracy(truth, found) == pytest.approx((truth == found)[inside].mean())
    for k, value in enumerate(dice(truth, found), 1):
        one, two = (truth == k) & inside, (found == k) & inside
        if one.any() or two.any():
            assert value == pytest.approx(2 * (one & two).sum() / (one.sum() + two.sum()))
        else:
            assert np.isnan(value)
    np.testing.assert_array_equal(dice([[1, 3]], [[1, 3]]), [1, np.nan, 1])


def test_speckle_counts_small_components_of_every_class():
    classes = np.ones((30, 30), int)
    classes[3:5, 3:5], classes[10, 10], classes[11, 11], classes[20:26, 20:26] = 2, 2, 2, 3
    classes[22:24, 22:24] = 1
    assert [speckle(classes, n) for n in (1, 2, 4, 5, 20, 33)] == [0, 2, 2, 4, 4, 5]
    smooth = np.where(components(classes == 3)[0] > 0, 3, 1)
    assert speckle(smooth, 5) == 1


@pytest.mark.parametrize("width", [0, 1, 2, 4])
def test_a_halo_is_as_wide_as_the_seam(width):
    truth = np.where(x < 4, 2, np.where(x < 32, 1, 3))  # the seam's class is at home elsewhere
    found = truth.copy()
    found[:, 32 - width // 2 : 32 - width // 2 + width] = 2
    assert halo(truth, found) == (64 * width, 128, width / 2)
    found[:, 15] = 2  # far from the boundaries: no halo
    found[:, 30] = np.where(width < 4, 3, 2)  # the neighbour's class: a shifted edge is no halo
    assert halo(truth, found).width == width / 2


def test_bad_class_maps_are_refused():
    for call, message in (
        (lambda: accuracy(TRUTH, TRUTH[1:]), "same image"),
        (lambda: dice(TRUTH * 0, TRUTH), "zeros only"),
        (lambda: confusion(TRUTH, TRUTH - 1), "class 0"),
        (lambda: speckle(TRUTH, 0), "smallest"),
        (lambda: speckle(TRUTH * -1.0), "from -3"),
        (lambda: halo(TRUTH[None], TRUTH[None]), "one image"),
        (lambda: halo(TRUTH, TRUTH, reach=0), "reach"),
        (lambda: halo(TRUTH * 0 + 1, TRUTH), "no boundary"),
    ):
        with pytest.raises(LowdoseError, match=message):
            call()
