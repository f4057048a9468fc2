"""Rounds of drawing and training, in a program and through the panel's mouse events."""

from __future__ import annotations

import base64
import sys

import numpy as np
import pytest
from matplotlib.backend_bases import MouseEvent

from lowdose_utils import classify
from lowdose_utils.errors import LowdoseError

FEATURES = classify.FeatureSet(("gaussian", "sobel"), maximum_sigma=2.0)
ROWS, COLUMNS = np.mgrid[:48, :60]
TRUTH = 1 + (np.hypot(ROWS - 24, COLUMNS - 30) < 12).astype(np.uint8)
IMAGE = 100.0 * TRUTH + np.random.default_rng(0).normal(0, 10, TRUTH.shape)
AROUND = classify.Stroke(1, ((4, 4), (4, 55)), slice=0)
DISC = classify.Stroke(2, ((20, 25), (28, 35)), slice=0)


def session(images: np.ndarray = IMAGE, **given: object) -> classify.Session:
    return classify.Session(images, ["around", "disc"], features=FEATURES, trees=10, device="cpu", **given)


def test_two_strokes_find_the_disc_and_the_same_strokes_the_same_classifier() -> None:
    drawn = session(strokes=[AROUND, DISC])
    first = drawn.train()
    assert np.mean(drawn.classify() == TRUTH) > 0.97
    assert drawn.train().fingerprint == first.fingerprint
    settings = {"features": FEATURES, "trees": 10, "rng": 0, "device": "cpu"}
    whole = classify.train_classifier(IMAGE, drawn.labels[0], **settings)
    np.testing.assert_array_equal(whole.classify(IMAGE, device="cpu"), drawn.classify())
    drawn.undo()
    assert drawn.strokes == [AROUND] and not (drawn.labels == 2).any()


def test_strokes_on_several_slices_teach_one_classifier() -> None:
    drawn = session(np.stack([IMAGE, 255 - IMAGE]), strokes=[AROUND, DISC])
    drawn.train()
    before = np.mean(drawn.classify(1) == TRUTH)
    for stroke in (AROUND, DISC):
        drawn.draw(classify.Stroke(stroke.label, stroke.points, slice=1))
    drawn.train()
    assert np.mean(drawn.classify(1) == TRUTH) > 0.97 > before
    assert np.mean(drawn.classify(0) == TRUTH) > 0.97


def test_other_strokes_are_tried_on_the_same_features() -> None:
    first = session(strokes=[AROUND, DISC])
    first.train()
    other = first.with_strokes([AROUND, classify.Stroke(2, ((24, 30),), slice=0)], trees=5)
    assert other.stack(0) is first.stack(0) and len(first.strokes) == len(other.strokes) == 2
    assert len(other.train().model.estimators_) == 5 and other.labels.sum() < first.labels.sum()


def test_stacks_are_kept_as_long_as_there_is_room(monkeypatch) -> None:
    many = session(np.repeat(IMAGE[None], 5, axis=0))
    monkeypatch.setattr("lowdose_utils.classify.session.ROOM", 3 * many.stack(0).nbytes)
    first = many.stack(0)
    for number in (1, 2):
        many.stack(number)
    assert many.stack(0) is first  # used last, so 1 goes next
    many.stack(3)
    assert list(many._stacks) == [2, 0, 3]


def test_training_again_computes_only_slices_with_new_strokes(monkeypatch) -> None:
    drawn = session(np.stack([IMAGE] * 4))
    for number in range(4):
        for stroke in (AROUND, DISC):
            drawn.draw(classify.Stroke(stroke.label, stroke.points, slice=number))
    first = drawn.train()
    asked = []
    monkeypatch.setattr("lowdose_utils.classify.session.ROOM", 0)
    monkeypatch.setattr(
        "lowdose_utils.classify.session.compute",
        lambda image, *_, **__: asked.append(1) or first_stack(image),
    )
    drawn._stacks.clear()
    assert drawn.train().fingerprint == first.fingerprint and not asked
    drawn.draw(classify.Stroke(2, ((24, 30), (24, 36)), slice=2))
    assert drawn.train().fingerprint != first.fingerprint and len(asked) == 1


def first_stack(image: np.ndarray) -> np.ndarray:
    return classify.compute(image, FEATURES, device="cpu")


def test_clearing_forgets_what_was_learned() -> None:
    drawn = session(strokes=[AROUND, DISC])
    drawn.train()
    drawn.clear()
    assert drawn.classifier is None and not drawn.strokes and not drawn.labels.any()


@pytest.mark.parametrize(
    ("images", "stroke", "said"),
    [
        (IMAGE, classify.Stroke(3, ((1, 1),)), "class 1 to 2"),
        (np.stack([IMAGE] * 2), classify.Stroke(1, ((1, 1),)), "slice from 0 to 1"),
        (IMAGE, classify.Stroke(1, ((1, 1),), slice=1), "slice 1"),
        (IMAGE, classify.Stroke(1, ((99, 99),)), "no pixel inside"),
    ],
)
def test_strokes_that_do_not_fit_are_refused_and_not_kept(images, stroke, said) -> None:
    drawn = session(images)
    with pytest.raises(LowdoseError, match=said):
        drawn.draw(stroke)
    assert not drawn.strokes


def test_what_comes_too_early_is_said() -> None:
    drawn = session()
    with pytest.raises(LowdoseError, match="Draw into each class"):
        drawn.train()
    with pytest.raises(LowdoseError, match=r"Call train\(\) first"):
        drawn.classify()
    drawn.draw(AROUND)
    with pytest.raises(LowdoseError, match="one class only"):
        drawn.train()
    with pytest.raises(LowdoseError, match="one channel"):
        session(np.zeros((2, 2, 8, 8)))


def mouse(panel: classify.Panel, *points: tuple[float, float], button: int = 1) -> None:
    """Press at the first point, move over the others, release at the last."""
    to_screen = panel.figure.axes[0].transData.transform
    names = ["button_press_event", *["motion_notify_event"] * (len(points) - 1), "button_release_event"]
    for name, (row, column) in zip(names, [*points, points[-1]], strict=True):
        event = MouseEvent(name, panel.figure.canvas, *to_screen((column, row)), button=button)
        panel.figure.canvas.callbacks.process(name, event)


def test_the_panel_draws_trains_and_says_what_is_missing() -> None:
    panel = classify.Panel(session())
    panel._train.click()
    assert "Draw into each class" in panel._status.value
    mouse(panel, (4, 4), (4, 30), (4, 55))
    panel._class.value = 2
    mouse(panel, (20, 25), (28, 35))
    assert [(s.label, len(s.points), s.width) for s in panel.session.strokes] == [(1, 3, 3), (2, 2, 3)]
    np.testing.assert_allclose(panel.session.strokes[1].points, [(20, 25), (28, 35)], atol=1e-6)
    empty = np.array(panel._picture.get_array())
    panel._train.click()
    assert "Learned from" in panel._status.value and not panel._train.disabled
    assert np.abs(np.array(panel._picture.get_array()) - empty).max() > 0.1  # the map is laid over
    assert np.mean(panel.session.classify() == TRUTH) > 0.97
    panel._undo.click()
    assert len(panel.session.strokes) == 1
    panel._clear.click()
    assert "Choose a class" in panel._status.value and panel.session.classifier is None
    assert np.ptp(np.array(panel._picture.get_array()), axis=2).max() == 0  # nothing but grey


def test_other_buttons_and_zooming_draw_nothing() -> None:
    panel = classify.Panel(session())
    mouse(panel, (4, 4), (4, 30), button=3)
    panel._canvas.toolbar.zoom()
    mouse(panel, (4, 4), (4, 30))
    assert not panel.session.strokes


def test_the_panel_shows_each_slice_with_its_strokes() -> None:
    panel = classify.Panel(session(np.stack([IMAGE, IMAGE]), strokes=[AROUND, DISC]))
    first = np.array(panel._picture.get_array())
    panel._slice.value = 1
    second = np.array(panel._picture.get_array())
    marked = panel.session.labels[0] > 0
    assert np.abs(first - second)[marked].max() > 0.1 and np.abs(first - second)[~marked].max() == 0
    mouse(panel, (30, 5))
    assert panel.session.strokes[-1].slice == 1


def test_a_page_without_a_kernel_has_a_picture_of_the_panel() -> None:
    bundle, about = classify.Panel(session())._repr_mimebundle_()
    assert "0 strokes" in about["image/png"]["alt"]
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")


def test_more_classes_than_colours_are_refused_by_the_panel() -> None:
    many = classify.Session(IMAGE, [f"class {k}" for k in range(9)], features=FEATURES)
    with pytest.raises(LowdoseError, match="7 at most"):
        classify.Panel(many)


def test_without_its_packages_the_panel_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ipympl.backend_nbagg", None)
    with pytest.raises(LowdoseError, match="pip install ipywidgets ipympl"):
        classify.Panel(session())
