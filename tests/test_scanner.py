"""The simulated scanner gives back, after correction, what was put in; noise drawn late is still noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowdose_utils import acquire, correct
from lowdose_utils.errors import LowdoseError
from lowdose_utils.scanner import NoisyProjections, simulated_scan


def lines() -> np.ndarray:
    return np.broadcast_to(np.linspace(0, 2, 40), (60, 3, 40)).copy()


def test_corrected_projections_are_the_line_integrals_within_their_noise() -> None:
    angles = acquire.uniform_angles(60)
    scan = simulated_scan(lines(), angles, photons=1e5, rng=0)
    found = correct.minus_log(correct.flat_field(scan.projections, scan.flats, scan.darks))
    error = (found - lines()).mean(axis=(0, 1))
    # 180 counts of 1e5 exp(-p) or more, and ten flats: five standard errors
    assert np.all(np.abs(error) < 5 * np.sqrt(np.exp(lines()[0, 0]) / 1e5 / 180 + 1e-5 / 30))


def test_the_gain_of_the_simulated_detector_is_one_grey_value_per_photon() -> None:
    scan = simulated_scan(np.zeros((4, 20, 400)), acquire.uniform_angles(4), photons=5000, flats=40, rng=1)
    assert acquire.estimate_gain(scan.flats, scan.darks) == pytest.approx(1.0, rel=0.03)


def test_same_seed_same_scan_and_other_seed_another() -> None:
    angles = acquire.uniform_angles(60)
    one, same, other = (
        simulated_scan(lines(), angles, photons=100, rng=seed).projections for seed in (3, 3, 4)
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_stripes_stay_after_the_flat_field_and_have_the_strength_asked_for() -> None:
    scan = simulated_scan(
        np.zeros((200, 2, 300)), acquire.uniform_angles(200), photons=1e6, stripes=0.01, rng=5
    )
    corrected = correct.flat_field(scan.projections, scan.flats, scan.darks)
    assert corrected.mean(axis=(0, 1)).std() == pytest.approx(0.01, rel=0.15)


def test_nonsense_is_refused() -> None:
    with pytest.raises(LowdoseError, match="photons"):
        simulated_scan(lines(), acquire.uniform_angles(60), photons=0)
    with pytest.raises(LowdoseError, match="shape"):
        simulated_scan(np.zeros(4), acquire.uniform_angles(4), photons=10)


RAMP = np.linspace(-1, 3, 7 * 5 * 6, dtype=np.float32).reshape(7, 5, 6)


def test_noisy_projections_look_like_the_clean_ones() -> None:
    noisy = NoisyProjections(RAMP, sigma=0.5, seed=2)
    assert len(noisy) == 7
    assert noisy.shape == noisy[:].shape == RAMP.shape
    assert noisy[:].dtype == noisy[3].dtype == np.float32
    assert np.array_equal(list(noisy), noisy[:])


places = st.integers(-5, 4), st.slices(5)
projections = st.one_of(
    st.integers(-7, 6), st.slices(7).filter(lambda s: range(7)[s]), st.lists(st.integers(-7, 6), min_size=1)
)


@settings(deadline=None, max_examples=60)
@given(st.one_of(projections, st.tuples(projections), st.tuples(projections, st.one_of(places))))
def test_noise_is_the_same_whichever_way_it_is_asked_for(key) -> None:
    noisy = NoisyProjections(RAMP, sigma=0.5, seed=2)
    one_by_one = np.stack([noisy[i] for i in range(7)])
    assert np.array_equal(noisy[key], one_by_one[key])


def test_noise_has_the_stated_standard_deviation_mean_zero_and_no_structure() -> None:
    clean = np.broadcast_to(np.linspace(0, 4, 40, dtype=np.float32), (30, 50, 40))
    noise = (NoisyProjections(clean, sigma=0.7, seed=0)[:] - clean).astype(np.float64) / 0.7
    five = 5 / np.sqrt(noise.size)  # standard errors
    assert abs(noise.mean()) < five
    assert abs(noise.std() - 1) < five / np.sqrt(2)
    assert abs(np.mean(noise**4) - 3) < five * np.sqrt(96)
    for axis in (1, 2):
        assert abs(np.mean(noise * np.roll(noise, 1, axis=axis))) < five


def test_projections_and_seeds_have_noise_of_their_own() -> None:
    nothing = np.zeros((12, 40, 50))
    # Seeds and numbers that have the same sum must not meet in the same noise.
    drawn = np.concatenate([NoisyProjections(nothing, sigma=1.0, seed=seed)[:] for seed in (0, 1, 2)])
    likeness = np.corrcoef(drawn.reshape(36, -1)) - np.eye(36)
    assert np.abs(likeness).max() < 5.5 / np.sqrt(2000)


def test_a_memory_map_is_read_and_not_written(tmp_path) -> None:
    np.save(tmp_path / "clean.npy", RAMP)
    mapped = np.load(tmp_path / "clean.npy", mmap_mode="r+")
    noisy = NoisyProjections(mapped, sigma=0.5, seed=2)
    plain = NoisyProjections(RAMP, sigma=0.5, seed=2)
    for key in (3, slice(1, 5), [6, 0], (2, slice(1, 3))):
        assert np.array_equal(noisy[key], plain[key])
    noisy[4][:] = 0  # what is handed out is the caller's own
    assert np.array_equal(noisy[4], plain[4])
    mapped.flush()
    assert np.array_equal(np.load(tmp_path / "clean.npy"), RAMP)


@pytest.mark.parametrize(("sigma", "seed"), [(-1.0, 0), (float("nan"), 0), (1.0, -1)])
def test_noise_of_negative_size_is_refused(sigma, seed):
    with pytest.raises(LowdoseError, match="numbers from 0 up"):
        NoisyProjections(np.zeros((2, 3, 4), np.float32), sigma, seed)
