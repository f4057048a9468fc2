"""Denoising of images against what each method must do to noise, steps, outliers and offsets."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.restoration import denoise_tv_chambolle

from lowdose_utils import denoise as dn
from lowdose_utils.denoise.tuning import START
from lowdose_utils.errors import LowdoseError

has_bm3d = find_spec("bm3d") is not None
few = settings(max_examples=8, deadline=None)
methods = pytest.mark.parametrize(
    ("method", "setting"), [("gaussian", 1.3), ("median", 3.0), ("tv", 1.2), ("nlm", 0.8), ("bm3d", 1.0)]
)


@pytest.fixture(autouse=True)
def bm3d_or_a_stand_in(monkeypatch):
    """Where the optional package is absent, a stand-in that is linear in the image."""
    if not has_bm3d:
        stand_in = SimpleNamespace(
            BM3DProfile=SimpleNamespace,
            bm3d=lambda image, sigma, profile: image / (1 + sigma) if profile.num_threads == 1 else None,
        )
        monkeypatch.setitem(sys.modules, "bm3d", stand_in)


def bars(noise: float = 0.3, seed: int = 0, images: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Clean and noisy images of blocks."""
    clean = np.zeros((images, 24, 40))
    clean[:, 6:18, 8:20] = 1
    clean[:, 10:14, 26:36] = 2
    return clean, clean + noise * np.random.default_rng(seed).standard_normal(clean.shape)


@methods
def test_a_constant_is_kept(method, setting):
    constant = np.full((2, 20, 30), 7.25)
    assert dn.denoise(constant, method, setting, noise=0.5) == pytest.approx(constant, abs=1e-6)


@methods
@few
@given(st.floats(-50, 50).filter(lambda a: abs(a) > 0.02), st.floats(-300, 300))
def test_scale_sign_and_offset_do_not_matter(method, setting, scale, offset):
    _, noisy = bars()
    expected = scale * dn.denoise(noisy, method, setting, noise=0.3).astype(np.float64) + offset
    changed = dn.denoise(scale * noisy + offset, method, setting, noise=abs(scale) * 0.3)
    # The float32 of the result; BM3D itself computes in float32 as well.
    digits = 2e-4 if method == "bm3d" else 2e-6
    assert np.abs(changed - expected).max() < digits * (abs(scale) * 5 + abs(offset))


@methods
def test_an_estimated_noise_scales_with_the_images(method, setting):
    _, noisy = bars()
    expected = 100 * dn.denoise(noisy, method, setting) - 40
    assert dn.denoise(100 * noisy - 40, method, setting) == pytest.approx(expected, abs=2e-3)


@methods
def test_a_stack_is_its_images_one_by_one_whatever_the_threads(method, setting):
    _, noisy = bars(images=5)
    stack = dn.denoise(noisy, method, setting, noise=0.3, workers=3)
    assert stack.dtype == np.float32
    for image, result in zip(noisy, stack, strict=True):
        assert np.array_equal(dn.denoise(image, method, setting, noise=0.3, workers=1), result)
    assert np.array_equal(dn.denoise(noisy, method, setting, noise=0.3, workers=1), stack)


@methods
def test_images_are_enhanced_and_not_overwritten(method, setting):
    clean, noisy = bars()
    before = noisy.copy()
    result = dn.denoise(noisy, method, setting, noise=0.3)
    assert np.array_equal(noisy, before)
    if has_bm3d or method != "bm3d":
        assert np.mean((result - clean) ** 2) < 0.7 * np.mean((noisy - clean) ** 2)


@pytest.mark.parametrize(("method", "setting"), [("gaussian", 0), ("median", 1), ("tv", 0), ("nlm", 0)])
def test_no_smoothing_changes_nothing(method, setting):
    noisy = bars()[1].astype(np.float32)
    assert np.array_equal(dn.denoise(noisy, method, setting), noisy)


@few
@given(st.floats(1, 5))
def test_a_gaussian_leaves_the_known_share_of_white_noise(sigma):
    # The gain is the root of the kernel's sum of squares: no statistics needed.
    impulse = np.zeros((61, 61))
    impulse[30, 30] = 1
    gain = np.sqrt(np.sum(dn.gaussian(impulse, sigma).astype(np.float64) ** 2))
    assert gain == pytest.approx(1 / (2 * np.sqrt(np.pi) * sigma), rel=2e-3)


def test_a_median_removes_single_outliers_exactly():
    rows, _ = np.mgrid[:21, :30]
    damaged = rows.astype(np.float32)
    damaged[5::5, 4::6] += 1000
    # Three rows of three: with any one of the nine lifted, the fifth in order is still of the middle row.
    assert np.array_equal(dn.median(damaged, 3)[1:-1], rows[1:-1])


@few
@given(st.floats(0.5, 20), st.floats(0.05, 3), st.floats(0.1, 2))
def test_total_variation_shrinks_a_step_by_the_known_amount_and_keeps_it_sharp(height, weight, noise):
    step = np.zeros((6, 30))
    step[:, 10:] = height
    left, right = weight * noise / 10, weight * noise / 20  # each plateau moves by weight / width
    expected = np.where(np.arange(30) < 10, left, height - right)
    if left + right >= height:
        expected = np.full(30, height * 2 / 3)  # they have met at the mean
    error = dn.tv(step, weight, noise) - expected
    assert np.sqrt(np.mean(error**2)) < 0.01 * noise


@pytest.mark.parametrize("weight", [0.5, 4.0, 16.0])
def test_total_variation_has_converged_where_the_smoothing_is_strong(weight):
    """Against scikit-image's iteration, run a hundred times longer than its limit and without its stop."""
    noisy = bars(noise=1.0, images=1)[1][0]
    reference = denoise_tv_chambolle(noisy - noisy.mean(), weight, eps=0, max_num_iter=20_000) + noisy.mean()

    def objective(image):
        rows, columns = (
            np.diff(image, axis=0, append=image[-1:]),
            np.diff(image, axis=1, append=image[:, -1:]),
        )
        return np.sum((image - noisy) ** 2) / 2 + weight * np.hypot(rows, columns).sum()

    ours = dn.tv(noisy, weight, 1.0).astype(np.float64)
    # An objective above its minimum by no more than the documented bound allows, or below the reference's.
    assert objective(ours) < objective(reference) + noisy.size * 0.01**2 / 2
    assert np.sqrt(np.mean((ours - reference) ** 2)) < 0.02


def test_total_variation_that_did_not_converge_says_so():
    with pytest.warns(RuntimeWarning, match="not within"):
        dn.tv(bars(noise=1e-6, images=1)[1], 1e5, 1e-5)


def test_nonlocal_means_averages_what_is_alike_and_keeps_what_is_not():
    clean, noisy = bars(noise=0.05)
    result = dn.nonlocal_means(noisy, 0.8, 0.05)
    assert np.std((result - clean)[0, :, :4]) < 0.3 * 0.05
    assert result[0, 12, 19] - result[0, 12, 20] > 0.9


def test_blank_images_do_not_lower_the_estimated_noise():
    _, noisy = bars(images=1)
    with_blank = np.concatenate([noisy, np.zeros_like(noisy)])
    assert np.array_equal(dn.denoise(with_blank, "tv", 1.0)[0], dn.denoise(noisy, "tv", 1.0)[0])


def test_the_best_gaussian_is_found_although_the_start_excludes_it():
    # A cosine of angular frequency w and amplitude A in white noise s: the mean squared error is
    # (1 - exp(-(sigma w)^2 / 2))^2 A^2 / 2 + s^2 / (4 pi sigma^2).
    rng = np.random.default_rng(1)
    frequency, amplitude, noise = 2 * np.pi / 64, 1.0, 0.8
    clean = np.tile(amplitude * np.cos(frequency * np.arange(192)), (2, 192, 1))
    noisy = clean + noise * rng.standard_normal(clean.shape)
    sigmas = np.geomspace(0.5, 20, 2000)
    errors = (1 - np.exp(-((sigmas * frequency) ** 2) / 2)) ** 2 * amplitude**2 / 2
    errors += noise**2 / (4 * np.pi * sigmas**2)
    best = sigmas[errors.argmin()]
    for start in ([0.25, 0.5], [20.0], [1, 2, 4, 8]):
        found = dn.best_setting("gaussian", noisy, clean, start=start)
        assert found.setting == pytest.approx(best, rel=0.25) and not found.at_edge
        assert found.error == pytest.approx(errors.min(), rel=0.1)
        assert found.error == min(found.tried.values()) == found.tried[found.setting]


@pytest.mark.parametrize("method", ["gaussian", "median", "tv", "nlm"])
def test_the_search_repeats_itself_and_beats_its_start(method):
    clean, noisy = bars(noise=0.8)
    first = dn.best_setting(method, noisy, clean, noise=0.8)
    assert first == dn.best_setting(method, noisy, clean, noise=0.8, workers=1)
    assert list(first.tried) == sorted(first.tried)
    for tried in START[method]:
        error = np.mean((dn.denoise(noisy, method, tried, noise=0.8) - clean) ** 2)
        assert first.error <= error * (1 + 1e-6)
    result = dn.denoise(noisy, method, first.setting, noise=0.8)
    assert np.mean((result - clean) ** 2) == pytest.approx(first.error)


def test_the_search_is_bounded_and_says_so():
    clean, _ = bars()
    found = dn.best_setting("gaussian", clean, clean, start=[1.0])
    assert found.at_edge and found.setting == min(found.tried) == 2.0**-8
    noise = np.random.default_rng(2).standard_normal((20, 27))
    window = dn.best_setting("median", noise, np.zeros_like(noise), start=[3])
    assert window.setting == 19 and window.at_edge
    assert all(size % 2 == 1 for size in window.tried)


def test_another_criterion_finds_another_best():
    clean, noisy = bars()
    steep = dn.best_setting(
        "gaussian", noisy, clean, criterion=lambda image, truth: float(np.abs(image - truth).max())
    )
    assert steep.error == pytest.approx(np.abs(dn.gaussian(noisy, steep.setting) - clean).max(), rel=1e-5)
    with pytest.raises(LowdoseError, match="criterion"):
        dn.best_setting("gaussian", noisy, clean, criterion=lambda image, truth: float("nan"))


def test_bm3d_that_is_not_installed_names_its_licence(monkeypatch):
    monkeypatch.setitem(sys.modules, "bm3d", None)
    with pytest.raises(LowdoseError, match=r"non-commercial.*pip install bm3d"):
        dn.denoise(bars()[1], "bm3d", 1.0)


image = np.random.default_rng(3).random((8, 9))


@pytest.mark.parametrize(
    "call",
    [
        lambda: dn.denoise(np.where(image > 0.5, np.nan, image), "gaussian", 1),
        lambda: dn.denoise(image[0], "gaussian", 1),
        lambda: dn.denoise(image[None, None], "tv", 1),
        lambda: dn.denoise(image[None][:0], "median", 3),
        lambda: dn.denoise(image.astype(complex), "gaussian", 1),
        lambda: dn.denoise(image, "wiener", 1),
        lambda: dn.denoise(image, "median", 4),
        lambda: dn.denoise(image, "median", 9),
        lambda: dn.denoise(image, "median", 2.5),
        lambda: dn.denoise(image, "median", np.nan),
        lambda: dn.denoise(image, "gaussian", -1),
        lambda: dn.denoise(image, "tv", -1, noise=1),
        lambda: dn.denoise(image, "nlm", np.inf, noise=1),
        lambda: dn.denoise(image, "bm3d", -1, noise=1),
        lambda: dn.denoise(image, "tv", 1, noise=0),
        lambda: dn.denoise(image, "nlm", 1, noise=np.nan),
        lambda: dn.denoise(np.ones((8, 9)), "tv", 1),
        lambda: dn.denoise(image, "gaussian", 1, workers=0),
        lambda: dn.best_setting("gaussian", image, image[1:]),
        lambda: dn.best_setting("gaussian", image, image, start=[]),
        lambda: dn.best_setting("gaussian", image, image, start=[0, 1]),
        lambda: dn.best_setting("wiener", image, image),
    ],
)
def test_bad_input_is_named(call):
    with pytest.raises(LowdoseError, match=r"found .*; expected "):
        call()
