"""Classifying volumes: from every kind of file, interrupted and resumed, with any number of threads."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from lowdose_utils.classify import FeatureSet, PixelClassifier, annotate, classify_volume, train_classifier
from lowdose_utils.errors import LowdoseError
from lowdose_utils.readers import read_attributes, read_volume, write_volume

FEW = FeatureSet(("original", "gaussian", "variance"), maximum_sigma=4.0)
z, y, x = np.mgrid[:4, :40, :32]
TRUTH = (1 + ((y - 20) ** 2 + (x - 16 - 2 * z) ** 2 < 120)).astype(np.uint8)
VOLUME = (60 * TRUTH + np.random.default_rng(0).normal(0, 25, TRUTH.shape)).astype(np.float32)
QUIET = {"device": "cpu", "workers": 1, "progress": False}


@pytest.fixture(scope="module")
def classifier() -> PixelClassifier:
    return train_classifier(
        VOLUME[0], annotate(TRUTH[0], 80, 0), features=FEW, trees=10, rng=0, device="cpu", workers=1
    )


@pytest.fixture(scope="module")
def expected(classifier):
    return classifier.classify(VOLUME, device="cpu", workers=1)


@pytest.fixture
def made(monkeypatch):
    """Slices that are classified, one entry each; a number put in `stop` interrupts after so many."""
    calls: dict[str, list] = {"slices": [], "stop": []}
    real = PixelClassifier.classify

    def classify(self, image, **more):
        if calls["stop"] and len(calls["slices"]) == calls["stop"][0]:
            raise KeyboardInterrupt
        calls["slices"].append(image)
        return real(self, image, **more)

    monkeypatch.setattr(PixelClassifier, "classify", classify)
    return calls


@pytest.mark.parametrize("source", ["in.h5", "in.zarr", "in.tif", "in"])
@pytest.mark.parametrize("out", ["out.h5", "out.tif"])
def test_every_kind_of_file_gives_the_arrays_classes(tmp_path, classifier, expected, source, out):
    path = write_volume(tmp_path / source, VOLUME)
    result = classify_volume(path, classifier, tmp_path / out, pixel_size=1e-6, **QUIET)
    found = read_volume(result)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)
    about = read_attributes(result)
    assert json.loads(about["classes"]) == ["1", "2"] and about["pixel_size"] == 1e-6
    assert about["classifier"] == classifier.fingerprint
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([source, out])


def test_threads_and_tiles_do_not_change_the_result(tmp_path, classifier, expected):
    threaded = classify_volume(VOLUME, classifier, tmp_path / "a.zarr", **{**QUIET, "workers": 3})
    np.testing.assert_array_equal(read_volume(threaded), expected)
    tiled = classify_volume(VOLUME, classifier, tmp_path / "b", tile=16, **QUIET)
    assert (read_volume(tiled) != expected).mean() < 0.01  # float32 rounding may cross a threshold


def test_an_interrupted_run_leaves_no_result_and_goes_on(tmp_path, classifier, expected, made):
    out = tmp_path / "out.h5"
    made["stop"].append(2)
    with pytest.raises(KeyboardInterrupt):
        classify_volume(VOLUME, classifier, out, **QUIET)
    assert [each.name for each in tmp_path.iterdir()] == [".out.h5.parts"]
    made["stop"].clear()
    np.testing.assert_array_equal(read_volume(classify_volume(VOLUME, classifier, out, **QUIET)), expected)
    assert len(made["slices"]) == len(VOLUME)  # none was made twice
    assert [each.name for each in tmp_path.iterdir()] == ["out.h5"]


@pytest.mark.parametrize("change", ["source", "classifier", "damage", "resume"])
def test_what_no_longer_fits_is_made_again(tmp_path, classifier, expected, made, change):
    out, volume, how = tmp_path / "out.h5", VOLUME.copy(), dict(QUIET)
    made["stop"].append(3)
    with pytest.raises(KeyboardInterrupt):
        classify_volume(volume, classifier, out, **how)
    made["stop"].clear()
    made["slices"].clear()
    again = {"source": 2, "classifier": 4, "damage": 2, "resume": 4}[change]
    if change == "source":
        volume[1] = volume[1][::-1]
        expected = classifier.classify(volume, device="cpu", workers=1)
        made["slices"].clear()
    elif change == "classifier":
        classifier = replace(classifier, fingerprint="another")
    elif change == "damage":
        part = tmp_path / ".out.h5.parts" / "slice_00001.npz"
        part.write_bytes(part.read_bytes()[:100])
    else:
        how["resume"] = False
    np.testing.assert_array_equal(read_volume(classify_volume(volume, classifier, out, **how)), expected)
    assert len(made["slices"]) == again


def test_an_older_result_stays_until_the_new_one_is_whole(tmp_path, classifier, made):
    out = write_volume(tmp_path / "out.h5", TRUTH)
    made["stop"].append(1)
    with pytest.raises(KeyboardInterrupt):
        classify_volume(VOLUME, classifier, out, **QUIET)
    np.testing.assert_array_equal(read_volume(out), TRUTH)


def test_only_one_slice_is_read_at_a_time(tmp_path, classifier, expected):
    class Source:
        shape, dtype = VOLUME.shape, VOLUME.dtype

        def __getitem__(self, key):
            part = VOLUME[key]
            assert part.size <= VOLUME[0].size
            return part

    found = read_volume(classify_volume(Source(), classifier, tmp_path / "out.h5", **QUIET))
    np.testing.assert_array_equal(found, expected)


def test_progress_is_shown_when_asked_for(tmp_path, classifier, capsys):
    classify_volume(VOLUME, classifier, tmp_path / "a.h5", **{**QUIET, "progress": True})
    assert "step 4 of 4" in capsys.readouterr().out
    classify_volume(VOLUME, classifier, tmp_path / "b.h5", **QUIET)
    assert capsys.readouterr().out == ""


def test_bad_volumes_are_refused(tmp_path, classifier, made):
    hole = VOLUME.copy()
    hole[2, 3, 3] = np.nan
    (tmp_path / "noise.h5").write_bytes(b"nothing")
    write_volume(tmp_path / "good.h5", VOLUME)
    for source, out, more, message in (
        (hole, "out.h5", {}, "image of slice 2: found 1 values that are NaN"),
        (VOLUME[0], "out.h5", {}, "source"),
        (VOLUME[:0], "out.h5", {}, "none empty"),
        (list(VOLUME), "out.h5", {}, "list"),
        (tmp_path / "none.h5", "out.h5", {}, "none.h5"),
        (tmp_path / "noise.h5", "out.h5", {}, "noise.h5"),
        (tmp_path / "good.h5", "out.h5", {"key": "other"}, "other"),
        (tmp_path / "none.zarr", "out.h5", {}, "none.zarr"),
        (tmp_path / "none", "out.h5", {}, "none"),
    ):
        with pytest.raises(LowdoseError, match=message):
            classify_volume(source, classifier, tmp_path / out, **{**QUIET, **more})
        assert not (tmp_path / "out.h5").exists()
    made["slices"].clear()
    with pytest.raises(LowdoseError, match=r"suffix \.raw"):
        classify_volume(VOLUME, classifier, tmp_path / "out.raw", **QUIET)
    assert made["slices"] == []  # refused before any work
