"""Acquisition models against the laws they claim."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lowdose_utils import acquire
from lowdose_utils.errors import LowdoseError

few = settings(max_examples=20, deadline=None)


def poisson_law(sample: np.ndarray, mean: float) -> None:
    """Mean and variance within five standard errors of Poisson's; the whole law by chi-square."""
    assert abs(sample.mean() - mean) < 5 * np.sqrt(mean / sample.size)
    variance_error = np.sqrt((mean + 2 * mean**2) / sample.size)
    assert abs(sample.var() - mean) < 5 * variance_error
    values = np.arange(*stats.poisson(mean).ppf([0.001, 0.999]).astype(int))
    expected = stats.poisson(mean).pmf(values) * sample.size
    seen = np.array([(sample == value).sum() for value in values])
    assert stats.chi2.sf(((seen - expected) ** 2 / expected).sum(), values.size - 1) > 1e-6


def test_counts_follow_beer_and_poisson():
    counts = acquire.poisson_counts(np.full((200, 300), 0.7), 40.0, 1)
    poisson_law(counts, 40 * np.exp(-0.7))


def test_a_beam_profile_is_broadcast_over_the_projections():
    beam = np.array([10.0, 1000.0])
    counts = acquire.poisson_counts(np.zeros((4000, 2)), beam, 2)
    assert np.allclose(counts.mean(axis=0), beam, atol=5 * np.sqrt(beam / 4000))


def test_thinned_poisson_counts_are_poisson_and_thinning_composes():
    counts = np.random.default_rng(3).poisson(30, (300, 300))
    rng = np.random.default_rng(4)
    once = acquire.thin_counts(counts, 0.25, rng)
    twice = acquire.thin_counts(acquire.thin_counts(counts, 0.5, rng), 0.5, rng)
    poisson_law(once, 7.5)
    poisson_law(twice, 7.5)


def test_thinning_through_gain_and_dark_keeps_the_photon_statistics():
    gain, dark = 0.65, 105.0
    grey = gain * np.random.default_rng(5).poisson(400, (200, 200)) + dark
    thinned = acquire.thin_counts(grey, 0.1, 6, gain=gain, offset=dark)
    poisson_law(np.rint((thinned - dark) / gain), 40)


def test_whole_numbers_are_made_without_bias():
    thinned = acquire.thin_counts(np.full((300, 300), 2.3), 1.0, 7)
    assert set(np.unique(thinned)) == {2.0, 3.0}
    assert abs(thinned.mean() - 2.3) < 5 * 0.5 / 300


def test_electronic_noise_is_brought_back_to_its_full_strength():
    rng = np.random.default_rng(8)
    photons, gain, read = 2000, 2.0, 60.0
    grey = gain * rng.poisson(photons, (300, 300)) + 500 + read * rng.standard_normal((300, 300))
    thinned = acquire.thin_counts(grey, 0.2, rng, gain=gain, offset=500, read_noise=read)
    expected = gain**2 * photons * 0.2 + read**2
    # The measured read noise counts as photons too; thinning it adds nothing in the mean.
    assert thinned.var() == pytest.approx(expected, rel=0.03)


@few
@given(st.floats(0.01, 1.0), st.integers(0, 2**31))
def test_thinning_never_adds_photons(fraction, seed):
    counts = np.random.default_rng(seed).poisson(20, (5, 4, 6))
    thinned = acquire.thin_counts(counts, fraction, seed)
    assert thinned.shape == counts.shape and thinned.dtype == np.float32
    assert np.all((thinned >= 0) & (thinned <= counts))


@pytest.mark.parametrize("fraction", [0.0, 1.01, -1, np.nan])
def test_an_impossible_dose_is_refused(fraction):
    with pytest.raises(LowdoseError, match="fraction"):
        acquire.thin_counts(np.ones(3), fraction, 0)


def test_the_gain_is_found_although_beam_and_dark_vary():
    rng = np.random.default_rng(9)
    beam = 3000 * rng.uniform(0.5, 1.5, (60, 200))
    drift = rng.uniform(0.9, 1.1, (10, 1, 1))
    darks = 100 + 5 * rng.standard_normal((10, 60, 200))
    flats = 0.4 * rng.poisson(beam * drift) + 100 + 5 * rng.standard_normal((10, 60, 200))
    assert acquire.estimate_gain(flats, darks) == pytest.approx(0.4, rel=0.02)


def test_averaged_flats_have_no_gain():
    with pytest.raises(LowdoseError, match="repeats"):
        acquire.estimate_gain(np.ones((4, 4)), np.ones((4, 4)))


def test_tooth_counts_and_their_low_dose_twin(real_data):
    with h5py.File(real_data("tooth/tooth.h5")) as scan:
        flats, darks = scan["exchange/data_white"][:], scan["exchange/data_dark"][:]
    gain = acquire.estimate_gain(flats, darks)
    dark = darks.mean(axis=0)
    open_beam = (flats - dark).mean() / gain
    assert open_beam == pytest.approx(43_000, rel=0.02)
    thinned = acquire.thin_counts(flats, 0.01, 10, gain=gain, offset=dark)
    # A hundredth of the dose looks, to the same estimate, like a hundredth of the counts at the same gain.
    assert acquire.estimate_gain(thinned, np.stack([dark, dark])) == pytest.approx(gain, rel=0.05)
    assert (thinned - dark).mean() / gain == pytest.approx(open_beam / 100, rel=0.01)


@pytest.mark.parametrize(
    ("of", "reference"),
    [("max", 4.0), ("range", 6.0), ("mean", 1.0), ("std", np.sqrt(5.0)), ("projection_max", 4.0)],
)
def test_the_per_cent_are_of_what_was_said(of, reference):
    clean = np.tile([4.0, -2.0, 2.0, 0.0], (2, 100, 100))
    noise = acquire.gaussian_noise(clean, 20, 11, of=of) - clean
    assert noise.std() == pytest.approx(0.2 * reference, rel=0.02)
    assert abs(noise.mean()) < 5 * 0.2 * reference / np.sqrt(noise.size)


def test_noise_relative_to_the_pixel_leaves_air_alone():
    clean = np.zeros((1, 50, 50))
    clean[0, :, 25:] = 3
    noise = acquire.gaussian_noise(clean, 10, 12, of="pixel") - clean
    assert not noise[0, :, :25].any()
    assert noise[0, :, 25:].std() == pytest.approx(0.3, rel=0.1)


def test_noise_of_each_projections_own_maximum():
    clean = np.ones((2, 100, 100)) * np.array([1.0, 5.0])[:, None, None]
    noise = acquire.gaussian_noise(clean, 10, 13, of="projection_max") - clean
    assert noise.std(axis=(1, 2)) == pytest.approx([0.1, 0.5], rel=0.05)


def test_the_same_seed_gives_the_same_noise():
    clean = np.ones((2, 5, 5))
    assert np.array_equal(acquire.gaussian_noise(clean, 5, 1), acquire.gaussian_noise(clean, 5, 1))
    assert np.array_equal(acquire.poisson_counts(clean, 50, 1), acquire.poisson_counts(clean, 50, 1))


def test_misalignment_moves_by_the_shifts_it_reports():
    row, column = np.mgrid[:40, :50]
    blob = np.exp(-((row - 20) ** 2 + (column - 25) ** 2) / 30)
    moved, shifts = acquire.misalign(np.stack([blob] * 6), 3.0, 14)
    assert np.abs(shifts).max() <= 3 and shifts.std() > 0.5
    for view, (down, right) in zip(moved, shifts, strict=True):
        assert (view * row).sum() / view.sum() == pytest.approx(20 + down, abs=0.01)
        assert (view * column).sum() / view.sum() == pytest.approx(25 + right, abs=0.01)


def test_misalignment_takes_given_shifts_and_refuses_too_few():
    stack = np.random.default_rng(15).random((3, 8, 8)).astype(np.float32)
    whole = np.array([[0, 0], [1, 0], [0, -2]])
    moved, _ = acquire.misalign(stack, whole)
    assert np.allclose(moved[0], stack[0], atol=1e-5)
    assert np.allclose(moved[1, 1:], stack[1, :-1], atol=1e-5)
    assert np.allclose(moved[2, :, :-2], stack[2, :, 2:], atol=1e-5)
    with pytest.raises(LowdoseError, match="shifts"):
        acquire.misalign(stack, whole[:2])


def test_a_missing_wedge_leaves_the_tilts_of_a_real_holder():
    angles = np.deg2rad(np.arange(-90, 90, 2))
    kept = np.rad2deg(angles[acquire.missing_wedge(angles, np.deg2rad(28))])
    assert kept.min() == pytest.approx(-76) and kept.max() == pytest.approx(76) and kept.size == 77
    assert acquire.missing_wedge(angles, 0).all()


@few
@given(st.floats(0, 3.1), st.floats(-4, 4))
def test_the_wedge_takes_its_share_and_repeats_after_half_a_turn(wedge, centre):
    angles = acquire.uniform_angles(2000)
    kept = acquire.missing_wedge(angles, wedge, centre)
    assert np.mean(~kept) == pytest.approx(wedge / np.pi, abs=2e-3)
    assert np.mean(kept != acquire.missing_wedge(angles + np.pi, wedge, centre)) < 2e-3


@few
@given(st.integers(1, 12), st.integers(1, 20), st.sampled_from(["sequential", "van_der_corput"]))
def test_interlaced_steps_add_up_to_one_even_scan(steps, per_step, order):
    angles = acquire.interlaced_angles(steps, per_step, order=order)
    assert angles.shape == (steps, per_step)
    assert np.allclose(np.sort(angles.ravel()), acquire.uniform_angles(steps * per_step))
    assert np.allclose(np.diff(angles, axis=1), np.pi / per_step)


def test_bit_reversed_neighbours_are_spread():
    angles = acquire.interlaced_angles(8, 10, order="van_der_corput")
    for first in range(0, 8, 2):
        pair = np.sort(angles[first : first + 2].ravel())
        assert np.allclose(np.diff(pair), np.pi / 20)


@pytest.mark.parametrize(
    "call",
    [
        lambda: acquire.poisson_counts([np.nan], 10),
        lambda: acquire.poisson_counts([1.0], 0),
        lambda: acquire.gaussian_noise([1.0], -3),
        lambda: acquire.gaussian_noise([1.0], 3, of="median"),
        lambda: acquire.missing_wedge([0.1], 28),
        lambda: acquire.interlaced_angles(0, 4),
        lambda: acquire.interlaced_angles(3, 4, order="random"),
        lambda: acquire.thin_counts([1.0], 0.5, gain=0),
    ],
)
def test_bad_input_is_named(call):
    with pytest.raises(LowdoseError, match=r"found .*; expected "):
        call()
