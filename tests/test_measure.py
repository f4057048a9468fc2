"""Measures against cases whose answer is known."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, special
from skimage.transform import iradon

from lowdose_utils import acquire, correct, measure, resolution
from lowdose_utils.errors import LowdoseError

few = settings(max_examples=20, deadline=None)


@few
@given(st.floats(1e-3, 10), st.floats(0.1, 100))
def test_psnr_of_a_known_error(error, data_range):
    truth = np.random.default_rng(0).random((5, 6))
    expected = 20 * np.log10(data_range / error)
    assert measure.psnr(truth + error, truth, data_range) == pytest.approx(expected, abs=1e-6)


def test_psnr_and_ssim_look_only_where_told():
    truth = np.random.default_rng(1).random((3, 64, 64))
    mask = measure.disc_mask(64)
    image = truth + np.where(mask, 0.1, 50)
    assert measure.psnr(image, truth, 1.0, mask) == pytest.approx(20)
    assert measure.psnr(truth, truth, 1.0) == float("inf")
    spoilt = np.where(measure.disc_mask(64, 20), truth, 0)
    assert measure.ssim(spoilt, truth, 1.0, measure.disc_mask(64, 10)) == pytest.approx(1)
    assert measure.ssim(spoilt, truth, 1.0) < 0.6


def test_ssim_of_stacks_is_the_mean_over_slices_and_one_for_equals():
    rng = np.random.default_rng(2)
    truth = rng.random((3, 32, 40))
    image = truth + 0.2 * rng.standard_normal(truth.shape)
    each = [measure.ssim(one, other, 1.0) for one, other in zip(image, truth, strict=True)]
    assert measure.ssim(image, truth, 1.0) == pytest.approx(np.mean(each))
    assert measure.ssim(truth, truth, 1.0) == pytest.approx(1)
    assert measure.ssim_map(image, truth, 1.0).shape == truth.shape


def test_ssim_without_a_mask_is_that_of_scikit_image():
    from skimage.metrics import structural_similarity

    rng = np.random.default_rng(3)
    truth, image = rng.random((2, 30, 30))
    assert measure.ssim(image, truth, 1.0) == pytest.approx(
        structural_similarity(image, truth, data_range=1.0)
    )


def test_the_disc_mask_is_centred_and_has_the_area_of_a_disc():
    mask = measure.disc_mask(201)
    assert np.array_equal(mask, mask[::-1]) and np.array_equal(mask, mask.T)
    assert mask.sum() == pytest.approx(np.pi * (0.98 * 100.5) ** 2, rel=0.005)


@few
@given(st.floats(0.8, 5), st.floats(-3, 3), st.floats(-20, 20).filter(lambda height: abs(height) > 0.1))
def test_the_width_of_an_error_function_edge(sigma, position, height):
    at = np.arange(-25, 26) * 0.5
    profile = 2 + height / 2 * (1 + special.erf((at - position) / (np.sqrt(2) * sigma)))
    edge = measure.edge_width(profile, spacing=0.5)
    assert edge.width == pytest.approx(2.5631 * sigma, rel=1e-3)
    assert edge.fwhm == pytest.approx(2.3548 * sigma, rel=1e-3)
    assert edge.position == pytest.approx(position + 12.5, abs=1e-3)
    assert edge.contrast == pytest.approx(height, rel=1e-3)
    assert edge.residual < 1e-3


def test_the_rim_of_a_blurred_disc_away_from_the_centre():
    row, column = np.mgrid[:120, :130]
    blurred = ndimage.gaussian_filter((np.hypot(row - 55.3, column - 70.8) < 30).astype(float), 2.0)
    profile = measure.disc_profile(blurred, (55.3, 70.8), 30, 10, spacing=0.25)
    edge = measure.edge_width(profile, spacing=0.25)
    assert edge.width == pytest.approx(2.563 * np.hypot(2.0, 0.29), rel=0.03)
    assert 20 + edge.position == pytest.approx(30, abs=0.1)
    assert edge.contrast == pytest.approx(-1, abs=0.01)


def test_profiles_that_are_no_edge_are_refused():
    with pytest.raises(LowdoseError, match="profile"):
        measure.edge_width(np.ones(20))
    with pytest.raises(LowdoseError, match="profile"):
        measure.edge_width([0, 1, 2])
    with pytest.raises(LowdoseError, match="disc"):
        measure.disc_profile(np.ones((20, 20)), (10, 10), 8, 4)


@pytest.mark.parametrize("shape", [(64, 64), (65, 65), (24, 24, 24)])
@pytest.mark.parametrize("window", ["hann", "none"])
def test_an_image_correlates_with_itself_at_every_frequency_whatever_its_scale(shape, window):
    image = np.random.default_rng(4).random(shape)
    curve = measure.fourier_ring_correlation(image, 3 * image + 5, window=window)
    assert np.allclose(curve.correlation[1:], 1)
    assert curve.frequency[0] == 0 and 0.49 < curve.frequency[-1] <= 0.5
    assert measure.frc_resolution(curve) is None


def test_independent_noise_does_not_correlate():
    first, second = np.random.default_rng(5).standard_normal((2, 256, 256))
    curve = measure.fourier_ring_correlation(first, second, window="none")
    # A ring of n independent complex coefficients scatters with variance 1 / (2 n).
    spread = curve.correlation[10:] * np.sqrt(2 * curve.n_independent[10:])
    assert abs(spread.mean()) < 0.5 and spread.std() == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("ratio", [0.2, 1.0, 4.0])
def test_a_known_signal_to_noise_ratio_gives_its_correlation(ratio):
    signal, first, second = np.random.default_rng(6).standard_normal((3, 256, 256))
    images = [np.sqrt(ratio) * signal + noise for noise in (first, second)]
    curve = measure.fourier_ring_correlation(*images)
    assert curve.correlation[20:].mean() == pytest.approx(ratio / (1 + ratio), abs=0.02)


def test_shifting_both_images_changes_nothing_and_one_does():
    rng = np.random.default_rng(7)
    signal = ndimage.gaussian_filter(rng.standard_normal((64, 64)), 1.5, mode="wrap")
    first, second = signal + 0.02 * rng.standard_normal((2, 64, 64))

    def correlate(by: int, other: int) -> np.ndarray:
        moved = np.roll(first, by, axis=(0, 1)), np.roll(second, other, axis=(0, 1))
        return measure.fourier_ring_correlation(*moved, window="none").correlation

    assert np.allclose(correlate(9, 9), correlate(0, 0))
    assert correlate(3, 0)[5:15].mean() < correlate(0, 0)[5:15].mean() - 0.3


def test_the_number_of_coefficients_in_a_ring_is_half_its_circumference():
    curve = measure.fourier_ring_correlation(*np.random.default_rng(8).random((2, 200, 200)))
    assert curve.n_independent[20:100].sum() == pytest.approx(np.pi / 2 * (99.5**2 - 19.5**2), rel=0.005)


def test_threshold_curves_of_van_heel_and_schatz():
    n = np.array([1.0, 4.0, 100.0, 1e12])
    root = np.sqrt(n)
    half = (0.2071 + 1.9102 / root) / (1.2071 + 0.9102 / root)
    one = (0.5 + 2.4142 / root) / (1.5 + 1.4142 / root)
    assert np.allclose(measure.frc_threshold(n), half, atol=1e-4)
    assert np.allclose(measure.frc_threshold(n, "one-bit"), one, atol=1e-4)
    assert measure.frc_threshold(n)[-1] == pytest.approx(0.1716, abs=1e-4)
    assert measure.frc_threshold(n, "one-bit")[-1] == pytest.approx(1 / 3, abs=1e-4)
    assert np.allclose(measure.frc_threshold(n, "1/7"), 1 / 7)


def test_the_resolution_is_where_a_known_curve_crosses():
    frequency = np.linspace(0, 0.5, 101)
    curve = measure.FourierCorrelation(frequency, 1 - 2 * frequency, np.full(101, 1e12))
    assert measure.frc_resolution(curve, threshold="1/7") == pytest.approx(1 / (3 / 7), rel=1e-6)
    assert measure.frc_resolution(curve, threshold="one-bit") == pytest.approx(3, rel=1e-3)


def test_more_blur_before_the_noise_is_less_resolution():
    rng = np.random.default_rng(9)
    scene = rng.standard_normal((256, 256))
    found = []
    for sigma in (1.0, 2.0, 4.0):
        signal = ndimage.gaussian_filter(scene, sigma, mode="wrap")
        halves = signal + 0.1 * signal.std() * rng.standard_normal((2, 256, 256))
        found.append(measure.frc_resolution(measure.fourier_ring_correlation(*halves)))
    assert found[0] < found[1] < found[2]
    # signal power exp(-(2 pi f sigma)^2) against white noise: 0.2071 is crossed at a known frequency
    sigma, noise = 2.0, 0.01 / (4 * np.pi * 2.0**2)
    frequency = np.sqrt(-np.log(0.2071 * noise)) / (2 * np.pi * sigma)
    assert found[1] == pytest.approx(1 / frequency, rel=0.1)


def test_the_tooth_loses_resolution_with_dose(real_data):
    with h5py.File(real_data("tooth/tooth.h5")) as scan:
        data, flats, darks = (scan[f"exchange/{name}"][:, 0] for name in ("data", "data_white", "data_dark"))
    counts = ((data - darks.mean(axis=0)) / 0.652)[:, :592].clip(
        0
    )  # the axis is in the middle of these columns
    beam = ((flats - darks.mean(axis=0)).mean(axis=0) / 0.652)[:592]
    degrees = np.arange(181) * 180 / 181
    found = []
    for fraction in (1.0, 0.001):
        thinned = acquire.thin_counts(counts, fraction, 0)
        sinogram = correct.count_log(thinned, fraction * beam).reshape(181, 148, 4).mean(axis=2)
        halves = [iradon(sinogram[start::2].T, degrees[start::2]) for start in (0, 1)]
        curve = measure.fourier_ring_correlation(*halves)
        assert curve.correlation[1:8].min() > 0.9
        found.append(measure.frc_resolution(curve) or 2.0)
    assert 2 <= found[0] < found[1] < 30


def test_histogram_peaks_of_three_materials():
    rng = np.random.default_rng(10)
    image = rng.choice([0.0, 0.3, 0.9], size=(200, 200), p=[0.6, 0.3, 0.1]) + 0.03 * rng.standard_normal(
        (200, 200)
    )
    peaks = measure.histogram_peaks(image, bins=200, prominence=0.3, value_range=(-0.2, 1.2))
    assert peaks == pytest.approx([0, 0.3, 0.9], abs=0.03)
    assert measure.histogram_peaks(np.zeros((10, 10)), value_range=(0, 1)).size == 1


def test_noise_of_a_region():
    image = 5 + 0.7 * np.random.default_rng(11).standard_normal((100, 100))
    image[:50] += 100
    mask = np.zeros((100, 100), dtype=bool)
    mask[50:] = True
    assert measure.noise_std(image, mask) == pytest.approx(0.7, rel=0.05)


@few
@given(st.floats(-3, 3), st.floats(0.01, 100))
def test_the_exponent_of_a_power_law(exponent, factor):
    x = np.geomspace(1, 100, 6)
    slope, error = measure.loglog_slope(x, factor * x**exponent)
    assert slope == pytest.approx(exponent, abs=1e-9) and error < 1e-6


def test_the_standard_error_of_the_slope_covers_the_scatter():
    rng = np.random.default_rng(12)
    x = np.geomspace(1, 100, 12)
    fits = np.array(
        [measure.loglog_slope(x, x**-0.5 * np.exp(0.1 * rng.standard_normal(12))) for _ in range(300)]
    )
    assert fits[:, 0].mean() == pytest.approx(-0.5, abs=0.01)
    assert fits[:, 0].std() == pytest.approx(fits[:, 1].mean(), rel=0.15)


@pytest.mark.parametrize(
    "call",
    [
        lambda: measure.psnr(np.ones((3, 3)), np.ones((3, 4)), 1),
        lambda: measure.psnr(np.full((3, 3), np.nan), np.ones((3, 3)), 1),
        lambda: measure.psnr(np.ones((3, 3)), np.ones((3, 3)), 0),
        lambda: measure.psnr(np.ones((3, 3)), np.ones((3, 3)), 1, np.zeros((3, 3))),
        lambda: measure.ssim(np.ones((3, 3)), np.ones((3, 3)), 1),
        lambda: measure.fourier_ring_correlation(np.ones((16, 20)), np.ones((16, 20))),
        lambda: measure.fourier_ring_correlation(np.ones((16, 16)), np.ones((16, 16)), window="box"),
        lambda: measure.frc_threshold(3, "two-bit"),
        lambda: measure.loglog_slope([1, 2], [1, 2]),
        lambda: measure.loglog_slope([1, 2, 3], [1, 2, -1]),
    ],
)
def test_bad_input_is_named(call):
    with pytest.raises(LowdoseError, match=r"found .*; expected "):
        call()


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_the_outline_of_a_blurred_ellipse_has_the_width_of_the_blur(sigma: float) -> None:
    y, x = np.mgrid[:400, :400] - 199.5
    sharp = ((x / 120) ** 2 + (y / 90) ** 2 < 1).astype(float)
    blurred = ndimage.gaussian_filter(sharp, sigma)
    profile = resolution.contour_profile(blurred, 0.5, reach=8, spacing=0.25)
    # 10 to 90 % of a step blurred by sigma; sampled at points, so no blur by the pixel comes on top
    assert measure.edge_width(profile, 0.25).width == pytest.approx(2.5631 * sigma, rel=0.03)


def test_an_image_without_an_outline_at_the_level_is_refused() -> None:
    with pytest.raises(LowdoseError, match="level"):
        resolution.contour_profile(np.zeros((32, 32)), 0.5, reach=4)
    with pytest.raises(LowdoseError, match="reach"):
        disc = np.pad(np.ones((20, 20)), 3)
        resolution.contour_profile(disc, 0.5, reach=8)
