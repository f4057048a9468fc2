"""Features of volumes: against what mathematics says, part by part as at once, and in the classifier."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import permutations

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lowdose_utils.classify import (
    DEFAULT,
    SOLID_FAMILIES,
    FeatureSet,
    PixelClassifier,
    Session,
    SolidFeatures,
    Stroke,
    annotate,
    classify_volume,
    compute,
    load_classifier,
    names,
    save_classifier,
    slabs,
    train_classifier,
)
from lowdose_utils.classify.solid_filters import eigenvalues, kernel
from lowdose_utils.errors import LowdoseError
from lowdose_utils.readers import read_attributes, read_volume, write_volume

ALL = SolidFeatures(SOLID_FAMILIES, (1, 2.5))
ONE = {"device": "cpu", "workers": 1}
MATRIX = np.array([[3.0, -1, 0.5], [-1, -2, 0.7], [0.5, 0.7, 1]])  # along slices, rows, columns


def grid(*shape: int, aspect: float = 1) -> tuple[np.ndarray, ...]:
    """Coordinates from the middle, in pixels, when slices are `aspect` apart."""
    z, y, x = np.meshgrid(*(np.arange(size) - size // 2 for size in shape), indexing="ij")
    return z * aspect, y * 1.0, x * 1.0


def noisy(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 20, shape).astype(np.float32)


def channels(volume: np.ndarray, features: SolidFeatures = ALL, **more) -> dict[str, np.ndarray]:
    return dict(zip(names(features), compute(volume, features, **ONE, **more), strict=True))


def middle(channel: np.ndarray, margin: int) -> np.ndarray:
    return channel[(slice(margin, -margin),) * 3]


def triple(found: dict[str, np.ndarray], start: str, end: str) -> list[np.ndarray]:
    return [found[f"{start}_3D_{rank}_{end}"] for rank in ("largest", "middle", "smallest")]


# The stack


def test_names_say_what_is_there_in_an_order_of_their_own():
    assert names(SolidFeatures(("structure", "hessian", "original"), (2,))) == [
        "original",
        *(f"Hessian_3D_{rank}_2.0" for rank in ("largest", "middle", "smallest")),
        *(f"Structure_3D_{rank}_2.0_{i}.0" for i in (1, 3) for rank in ("largest", "middle", "smallest")),
    ]
    assert names(SolidFeatures(("difference_of_gaussians",), (1, 2, 4))) == [
        f"Difference_of_gaussians_3D_{pair}" for pair in ("2.0_1.0", "4.0_1.0", "4.0_2.0")
    ]
    assert names(ALL) == names(replace(ALL, families=SOLID_FAMILIES[::-1]))
    assert len(set(names(ALL))) == len(names(ALL)) == 1 + 2 * 16 + 1
    assert set(names(ALL)) & set(names(DEFAULT)) == {"original"}
    stack = compute(noisy(5, 6, 7), ALL, **ONE)
    assert stack.shape == (len(names(ALL)), 5, 6, 7) and stack.dtype == np.float32


def test_a_constant_volume_has_no_features_but_its_level():
    for name, channel in channels(np.full((7, 9, 8), 1000.0)).items():
        level = name.startswith(("orig", "Gauss", "Mean", "Min", "Max"))
        np.testing.assert_allclose(channel, 1000 if level else 0, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("aspect", [0.7, 2.2])
def test_parts_threads_and_types_give_the_same_numbers(aspect, monkeypatch, tmp_path):
    features = replace(ALL, scales=(0.8, 2), aspect=aspect)
    volume = noisy(18, 14, 15)
    whole = compute(volume, features, **ONE)
    steep = np.abs(whole).max((1, 2, 3))
    monkeypatch.setattr(slabs, "VOXELS", 14 * 15 * 4)
    np.testing.assert_array_equal(
        compute(volume, features, device="cpu", workers=3), parts := compute(volume, features, **ONE)
    )
    out = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", np.float32, whole.shape)
    assert compute(volume.astype(float).tolist(), features, tile=8, out=out, **ONE) is out
    for found in (parts, out):
        assert (np.abs(found - whole).max((1, 2, 3)) <= 2e-6 * steep).all()


def test_only_a_slab_and_what_it_looks_at_is_read():
    features = SolidFeatures(("gaussian", "minimum"), (1.5,))
    assert slabs.solid_reach(features) == (6, 6, 6)
    holed = noisy(30, 8, 8)
    holed[:8], holed[22:] = np.nan, np.nan
    box = (slice(14, 16), slice(0, 8), slice(0, 8))
    assert np.isfinite(slabs.solid_stack(holed, features, box, workers=1)).all()
    with pytest.raises(LowdoseError, match="NaN"):
        slabs.solid_stack(holed, features, (slice(13, 16), *box[1:]), workers=1)


def test_far_from_zero_the_numbers_stay_exact():
    volume = np.round(noisy(12, 12, 12) * 64) / 64
    near = channels(volume)
    for name, channel in channels(volume + 60000).items():
        expected = near[name]
        level = 60000 if name.startswith(("orig", "Gauss", "Mean", "Min", "Max")) else 0
        assert np.abs(channel - level - expected).max() <= (0.01 if level else 1e-4 * np.abs(expected).max())


# Truths


@pytest.mark.parametrize("aspect", [1, 2])
def test_a_point_becomes_a_gaussian_and_its_derivatives(aspect):
    z, y, x = grid(25, 33, 33, aspect=aspect)
    point = np.zeros(z.shape)
    point[12, 16, 16] = 1
    found = channels(point, SolidFeatures(("gaussian", "gradient", "hessian"), (3,), aspect))
    square = z**2 + y**2 + x**2
    bell = aspect * np.exp(-square / 18) / (18 * np.pi) ** 1.5  # a slice stands for `aspect` pixels
    peak = bell.max()
    # The kernel ends at 4 standard deviations, where the Gaussian is 3e-4 of its peak.
    np.testing.assert_allclose(found["Gaussian_3D_3.0"], bell, atol=1e-3 * peak)
    np.testing.assert_allclose(found["Gradient_3D_3.0"], np.sqrt(square) / 9 * bell, atol=3e-3 * peak / 3)
    across = -bell / 9  # twice an eigenvalue, and once along the radius
    radial = bell * (square / 9 - 1) / 9
    expected = np.sort([across, across, radial], axis=0)[::-1]
    for channel, truth in zip(triple(found, "Hessian", "3.0"), expected, strict=True):
        np.testing.assert_allclose(channel, truth, atol=0.01 * peak / 9)


@pytest.mark.parametrize("aspect", [0.5, 1, 3, 20])
@pytest.mark.parametrize("scale", [0.3, 1, 2])
def test_a_quadratic_has_its_own_matrix_as_hessian(aspect, scale):
    position = np.stack(grid(33, 23, 23, aspect=aspect))
    volume = 0.5 * np.einsum("i...,ij,j...->...", position, MATRIX, position)
    features = SolidFeatures(("hessian", "laplacian"), (scale,), aspect)
    inner = (slice(16, 17), *[slice(8, -8)] * 2)
    found = {name: channel[inner] for name, channel in channels(volume, features).items()}
    hessian = triple(found, "Hessian", str(float(scale)))
    rounding = 1e-6 * np.ptp(volume) * max(1, 1 / scale**2)
    for channel, truth in zip(hessian, np.linalg.eigvalsh(MATRIX)[::-1], strict=True):
        np.testing.assert_allclose(channel, truth, atol=0.02 * rounding + 2e-3)
    np.testing.assert_allclose(found[f"Laplacian_3D_{scale:.1f}"], np.trace(MATRIX), atol=rounding / 9 + 2e-3)
    np.testing.assert_allclose(found[f"Laplacian_3D_{scale:.1f}"], sum(hessian), atol=1e-3)


@pytest.mark.parametrize("aspect", [0.5, 1, 3])
def test_a_ramp_has_its_slope_as_gradient(aspect):
    z, y, x = grid(20, 20, 20, aspect=aspect)
    features = SolidFeatures(("gradient", "hessian", "structure"), (0.5,), aspect)
    found = channels(2 * z - 3 * y + 6 * x, features)
    inner = (slice(9, 11), slice(9, 11), slice(9, 11))
    np.testing.assert_allclose(found["Gradient_3D_0.5"][inner], 7, rtol=1e-4)
    for channel in triple(found, "Hessian", "0.5"):
        assert np.abs(channel[inner]).max() < 1e-3
    for channel, truth in zip(triple(found, "Structure", "0.5_1.0"), (49, 0, 0), strict=True):
        np.testing.assert_allclose(channel[inner], truth, atol=0.01)


def test_a_plane_wave_has_one_direction():
    z, y, x = grid(40, 40, 40)
    found = channels(10 * np.sin(0.3 * z + 0.5 * y - 0.4 * x), SolidFeatures(("structure",), (1, 2)))
    for end in ("1.0_1.0", "1.0_3.0", "2.0_3.0"):
        largest, *others = (middle(channel, 19) for channel in triple(found, "Structure", end))
        assert largest.min() > 0.1
        assert np.abs(others).max() < 1e-5 * largest.max()


@pytest.mark.parametrize("family", [each for each in SOLID_FAMILIES if each not in ("minimum", "maximum")])
def test_slices_further_apart_give_the_same_numbers(family):
    """A smooth volume sampled at each and at each second slice, the second with aspect 2."""
    z, y, x = grid(49, 33, 33)
    volume = 100 * np.exp(-(z**2 + 2 * y**2 + 0.7 * (x - 3) ** 2) / 200)
    features = SolidFeatures((family,), (3, 5))
    # Standard deviation 1 is half a slice there, where samples of a Gaussian have 15 % less variance than it
    # has, and a ball of radius 3 has three slices instead of seven.
    share = {"structure": 0.16, "mean": 0.06, "variance": 0.15}.get(family, 0.02)
    near, far = channels(volume, features), channels(volume[::2], replace(features, aspect=2))
    for name, channel in near.items():
        expected = channel[::2]
        assert np.abs(far[name] - expected).max() < share * np.abs(expected).max(), name


def test_balls_hold_the_voxels_within_their_radius():
    volume, count = noisy(9, 12, 11), 0
    for aspect in (1, 1.6):
        found = channels(volume, replace(ALL, families=SOLID_FAMILIES[-4:], aspect=aspect))
        for radius in ALL.scales:
            z, y, x = grid(7, 7, 7, aspect=aspect)
            ball = z**2 + y**2 + x**2 <= radius**2
            for name, function in (
                ("Mean", np.mean),
                ("Variance", np.var),
                ("Minimum", np.min),
                ("Maximum", np.max),
            ):
                truth = ndimage.generic_filter(volume.astype(float), function, footprint=ball, mode="nearest")
                np.testing.assert_allclose(found[f"{name}_3D_{radius:.1f}"], truth, rtol=1e-5, err_msg=name)
                count += 1
    assert count == 16


@pytest.mark.parametrize("axes", list(permutations(range(3)))[1:])
def test_turning_a_volume_turns_its_features(axes):
    volume = noisy(14, 15, 16)
    found, turned = channels(volume), channels(np.flip(volume.transpose(axes), 0))
    for name, channel in found.items():
        expected = np.flip(channel.transpose(axes), 0)
        assert np.abs(turned[name] - expected).max() <= 1e-5 * np.abs(expected).max(), name


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=6, max_size=6), st.sampled_from([1, 1e-12, 1e12]))
def test_eigenvalues_are_those_of_the_matrix(elements, unit):
    given_ = [np.full((1, 1, 1), value * unit, np.float32) for value in elements]
    a, b, c, d, e, f = (float(value[0, 0, 0]) for value in given_)
    truth = np.linalg.eigvalsh([[a, d, e], [d, b, f], [e, f, c]])[::-1]
    found = [float(value[0, 0, 0]) for value in eigenvalues(tuple(given_))]
    np.testing.assert_allclose(found, truth, atol=2e-7 * max(np.abs(truth).max(), 1e-30))


@settings(max_examples=30, deadline=None)
@given(st.floats(1e-3, 9))
def test_kernels_are_exact_for_polynomials(sigma):
    for order in range(3):
        weights = kernel(sigma, order)
        x = np.arange(len(weights)) - len(weights) // 2
        for power in range(order + 1):
            truth = [1, 1, 2][order] if power == order else 0
            assert (weights * x**power).sum() == pytest.approx(truth, abs=1e-9)


# The classifier


def balls_of_two_kinds(noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[:24, :48, :48]
    truth = np.ones(z.shape, np.uint8)
    for k in range(14):
        a, b, c = rng.uniform(0, truth.shape)
        truth[(z - a) ** 2 + (y - b) ** 2 + (x - c) ** 2 < rng.uniform(4, 8) ** 2] = 2 + k % 2
    levels = np.array([0, 60, 100, 140], np.float32)
    return truth, (levels[truth] + rng.normal(0, noise, truth.shape)).astype(np.float32)


FEW = SolidFeatures(("original", "gaussian", "hessian"), (1, 2), 1.5)
TRUTH, VOLUME = balls_of_two_kinds(25, 0)
LABELS = np.zeros_like(TRUTH)
LABELS[8], LABELS[9] = annotate(TRUTH[8], 40, 0), annotate(TRUTH[9], 10, 0)
LABELS[15] = annotate(TRUTH[15], 10, 1)


@pytest.fixture(scope="module")
def classifier() -> PixelClassifier:
    return train_classifier(VOLUME, LABELS, features=FEW, trees=10, rng=0, **ONE)


@pytest.mark.parametrize("seed", [0, 1])
def test_in_noise_slices_not_trained_are_classified_better_than_by_features_of_images(seed):
    # Noise of 1.5 times the step between materials. At half the step, and with few scribbles, both are alike.
    truth, volume = balls_of_two_kinds(60, seed)
    labels = np.zeros_like(truth)
    labels[8] = annotate(truth[8], 300, seed)
    solid = SolidFeatures(SOLID_FAMILIES, (1, 2, 4))
    shares = []
    # The second are the same features with slices so far apart that they know nothing of one another.
    for features in (solid, replace(solid, aspect=1e6), DEFAULT):
        learned = train_classifier(volume, labels, features=features, trees=30, rng=0, **ONE)
        found = learned.classify(volume, slices=slice(15, 18), **ONE)
        shares.append(np.mean(found == truth[15:18]))
    assert shares[0] > 0.02 + max(shares[1:])


def test_training_and_use_on_images_and_on_stacks_agree(classifier):
    stack = compute(VOLUME, FEW, **ONE)
    other = train_classifier(stack, LABELS, features=FEW, computed=True, trees=10, rng=0, workers=1)
    shares = classifier.probabilities(VOLUME, **ONE)
    assert shares.shape == (3, *VOLUME.shape)
    for found in (
        other.probabilities(VOLUME, **ONE),
        classifier.probabilities(stack, computed=True, workers=2),
        classifier.probabilities(VOLUME, tile=17, **ONE),
    ):
        assert np.mean(np.abs(found - shares) > 1e-6) < 1e-3  # float32 rounding may cross a threshold
    classes = classifier.classify(VOLUME, **ONE)
    np.testing.assert_array_equal(classes, shares.argmax(0) + 1)
    assert np.mean(classes == TRUTH) > 0.8


def test_some_slices_are_those_of_the_whole(classifier, tmp_path):
    shares = classifier.probabilities(VOLUME, **ONE)
    with h5py.File(write_volume(tmp_path / "a.h5", VOLUME), "r") as file:
        for found in (
            classifier.probabilities(next(iter(file.values())), slices=slice(7, 9), **ONE),
            classifier.probabilities(
                compute(VOLUME, FEW, **ONE), slices=slice(7, 9), computed=True, workers=1
            ),
        ):
            assert np.mean(np.abs(found - shares[:, 7:9]) > 1e-6) < 1e-3
    flat = train_classifier(VOLUME, LABELS, features=FeatureSet(("gaussian",)), trees=3, rng=0, **ONE)
    np.testing.assert_array_equal(
        flat.classify(VOLUME, slices=slice(-3, None), **ONE), flat.classify(VOLUME, **ONE)[-3:]
    )


def test_a_session_draws_on_slices_and_learns_from_the_volume():
    drawn = Session(VOLUME, ["air", "a"], features=FEW, trees=5, device="cpu")
    for label in (1, 2):
        row, column = np.argwhere(TRUTH[8] == label)[20]
        drawn.draw(Stroke(label, ((int(row), int(column)),), width=3, slice=8))
    learned = drawn.train()
    expected = learned.classify(VOLUME, slices=slice(9, 10), **ONE)[0]
    assert np.mean(drawn.classify(9) == expected) > 0.999
    with pytest.raises(LowdoseError, match="images: found shape"):
        Session(VOLUME[0], ["air", "a"], features=FEW)


def test_a_stored_classifier_is_the_same_and_keeps_its_selection(tmp_path, classifier):
    path = save_classifier(tmp_path / "a.classifier", classifier)
    read = load_classifier(path, features=FEW)
    assert read.features == FEW and asdict(read.features) == asdict(FEW)
    np.testing.assert_array_equal(
        read.classify(VOLUME, slices=slice(4, 5), **ONE),
        classifier.classify(VOLUME, slices=slice(4, 5), **ONE),
    )
    for other, message in (
        (replace(FEW, aspect=1), "aspect 1.5; expected aspect 1.0"),
        (replace(FEW, scales=(1, 3)), "Gaussian_3D_2.0 as channel 5; expected Gaussian_3D_3.0"),
        (DEFAULT, "Gaussian_3D_1.0 as channel 1"),
    ):
        with pytest.raises(LowdoseError, match=message):
            load_classifier(path, features=other)
    plain = train_classifier(VOLUME, LABELS, features=FeatureSet(("original",)), trees=2, rng=0, **ONE)
    path = save_classifier(tmp_path / "b.classifier", plain)
    with pytest.raises(LowdoseError, match="found compat None; expected aspect 1"):
        load_classifier(path, features=SolidFeatures(("original",), (1,)))


class Watched:
    """A volume that remembers the most slices read at once."""

    shape, dtype, most = VOLUME.shape, VOLUME.dtype, 0

    def __getitem__(self, key):
        part = VOLUME[key]
        self.most = max(self.most, len(part))
        return part


def test_a_volume_goes_slab_by_slab_from_disk_to_disk(tmp_path, classifier, monkeypatch, capsys):
    monkeypatch.setattr(slabs, "VOXELS", 5 * 48 * 48)
    expected = classifier.classify(VOLUME, **ONE)
    path = write_volume(tmp_path / "in.tif", VOLUME)
    result = classify_volume(path, classifier, tmp_path / "out.h5", **ONE)
    np.testing.assert_array_equal(read_volume(result), expected)
    assert read_attributes(result)["classifier"] == classifier.fingerprint
    assert "step 24 of 24" in capsys.readouterr().out
    watched = Watched()
    classify_volume(watched, classifier, tmp_path / "out", progress=False, **ONE)
    reach = slabs.solid_reach(FEW)[0]
    assert reach == 5 and watched.most == 5 + 2 * reach
    tiled = classify_volume(VOLUME, classifier, tmp_path / "b.zarr", tile=16, progress=False, **ONE)
    assert np.mean(read_volume(tiled) != expected) < 1e-3


@pytest.mark.parametrize(("change", "again"), [("none", 2), ("near", 5), ("slabs", 6)])
def test_an_interrupted_volume_goes_on(tmp_path, classifier, monkeypatch, change, again):
    """Five slabs, of which three are done; a changed slice makes those anew that look at it."""
    monkeypatch.setattr(slabs, "VOXELS", 5 * 48 * 48)
    real, calls, most = PixelClassifier.classify, [], [3]

    def classify(self, image, **more):
        if len(calls) == most[0]:
            raise KeyboardInterrupt
        calls.append(image)
        return real(self, image, **more)

    monkeypatch.setattr(PixelClassifier, "classify", classify)
    out, volume = tmp_path / "out.h5", VOLUME.copy()
    with pytest.raises(KeyboardInterrupt):
        classify_volume(volume, classifier, out, progress=False, **ONE)
    assert not out.exists()
    calls.clear()
    most[0] = 99
    if change == "near":
        volume[7] += 1  # in the second slab; the first and the third look at it
    elif change == "slabs":
        monkeypatch.setattr(slabs, "VOXELS", 4 * 48 * 48)
    classify_volume(volume, classifier, out, progress=False, **ONE)
    assert len(calls) == again
    np.testing.assert_array_equal(read_volume(out), real(classifier, volume, **ONE))


# Refusals


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"families": ("hessian", "median")}, "families: found median"),
        ({"families": ()}, "families: found none"),
        ({"families": "hessian"}, "families: found hessian"),
        ({"scales": ()}, "scales"),
        ({"scales": (2, 1)}, "rising"),
        ({"scales": (1, 1)}, "rising"),
        ({"scales": (0, 1)}, "positive"),
        ({"scales": (1, np.inf)}, "positive"),
        ({"aspect": 0}, "aspect"),
        ({"aspect": np.nan}, "aspect"),
    ],
)
def test_bad_selections_are_refused(change, message):
    with pytest.raises(LowdoseError, match=message):
        replace(ALL, **change)


def test_equal_selections_are_equal_however_they_are_written():
    other = SolidFeatures(list(SOLID_FAMILIES), np.array([1, 2.5]), np.float32(1))
    assert other == ALL and hash(other) == hash(ALL) and repr(other) == repr(ALL)


def test_bad_volumes_are_refused(classifier, tmp_path):
    hole = VOLUME.copy()
    hole[3, 4, 5] = np.inf
    flat = r"shape \(48, 48\); expected a volume \(slice, row, column\)"
    for call, message in (
        (lambda: compute(VOLUME[0], FEW), flat),
        (lambda: compute(VOLUME[:0], FEW), "expected a volume"),
        (lambda: compute(hole, FEW, **ONE), "1 values that are NaN or infinite"),
        (lambda: compute(VOLUME, FEW, tile=0), "tile"),
        (lambda: compute(VOLUME, FEW, out=np.empty(VOLUME.shape, np.float32)), "out"),
        (lambda: classifier.classify(VOLUME[0]), flat),
        (lambda: classifier.classify(VOLUME, slices=slice(5, 5)), "slices"),
        (lambda: classifier.classify(VOLUME, slices=slice(0, 5, 2)), "neighbouring"),
        (lambda: classifier.classify(VOLUME[0, 0]), "image"),
        (lambda: train_classifier(VOLUME[8], LABELS[8], features=FEW, rng=0), flat),
        (lambda: train_classifier(hole[:9], LABELS[:9], features=FEW, rng=0, **ONE), "NaN"),
        (lambda: train_classifier(VOLUME, LABELS[1:], features=FEW, rng=0), "labels"),
        (
            lambda: classify_volume(hole, classifier, tmp_path / "a.h5", progress=False, **ONE),
            "slices 0 to 23",
        ),
        (lambda: classify_volume(VOLUME[0], classifier, tmp_path / "a.h5"), "source"),
    ):
        with pytest.raises(LowdoseError, match=message):
            call()
