"""Corrections against analytic truths and real scans."""

from __future__ import annotations

import h5py
import mrcfile
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import exp1

from lowdose_utils import correct
from lowdose_utils.errors import LowdoseError

few = settings(max_examples=15, deadline=None)
HALF_TURN = np.arange(120) * np.pi / 120


def discs(axis: float, columns: int = 160, angles: np.ndarray = HALF_TURN) -> np.ndarray:
    """Analytic sinogram (angle, column) of a big disc with small ones in it, about a known axis."""
    rng = np.random.default_rng(0)
    t = np.arange(columns) - axis
    sinogram = np.zeros((len(angles), columns))
    for value, radius, distance, turn in [(1.0, 50, 5, 1.0)] + [
        (rng.uniform(-0.5, 1), rng.uniform(2, 6), rng.uniform(0, 38), rng.uniform(0, 6)) for _ in range(25)
    ]:
        centre = distance * np.cos(angles - turn)
        sinogram += 2 * value * np.sqrt(np.maximum(radius**2 - (t - centre[:, None]) ** 2, 0))
    return sinogram


@pytest.fixture(scope="module")
def tooth(real_data):
    with h5py.File(real_data("tooth/tooth.h5")) as scan:
        parts = [scan[f"exchange/{name}"][:] for name in ("data", "data_white", "data_dark", "theta")]
    return correct.flat_field(*parts[:3]), np.deg2rad(parts[3])


@pytest.fixture(scope="module")
def savu(real_data):
    with mrcfile.open(real_data("savu24737/projections.mrc"), permissive=True) as scan:
        return np.array(scan.data), np.deg2rad(np.arange(91) * 2 - 88.2)


def test_flat_field_undoes_a_known_detector():
    rng = np.random.default_rng(1)
    truth, beam, dark = rng.random((4, 5, 6)), 1000 * (1 + rng.random((5, 6))), 90 + rng.random((5, 6))
    flats = np.stack([beam * 0.9 + dark, beam * 1.1 + dark])
    assert np.allclose(correct.flat_field(truth * beam + dark, flats, dark), truth, atol=1e-5)
    assert np.allclose(correct.flat_field(truth * beam, beam), truth, atol=1e-5)


def test_unlit_flats_are_counted_and_other_detectors_refused():
    flat = np.ones((3, 4))
    flat[1, :2] = 0
    with pytest.raises(LowdoseError, match="2 of 12 pixels"):
        correct.flat_field(np.ones((2, 3, 4)), flat)
    with pytest.raises(LowdoseError, match="detectors"):
        correct.flat_field(np.ones((2, 3, 4)), np.ones((3, 5)))


def test_air_becomes_one_whatever_the_beam_did():
    transmission = np.ones((3, 4, 20))
    transmission[..., 5:15] = 0.3
    drifted = transmission * np.array([0.5, 1.0, 1.7])[:, None, None]
    assert np.allclose(correct.renormalise_air(drifted, 4), transmission)
    with pytest.raises(LowdoseError, match="margin"):
        correct.renormalise_air(drifted, 11)


@few
@given(st.integers(0, 2**31), st.floats(0, 0.5))
def test_repair_touches_bad_pixels_alone_and_leaves_none(seed, share):
    rng = np.random.default_rng(seed)
    stack = rng.uniform(0.5, 0.6, (3, 6, 7)).astype(np.float32)
    bad = rng.random(stack.shape) < share
    bad[:, 0, 0] = False
    spoilt = np.where(bad, rng.choice([np.nan, np.inf, -np.inf, 0, -2], stack.shape), stack)
    repaired, mask = correct.repair_bad_pixels(spoilt)
    assert np.array_equal(mask, bad)
    assert np.array_equal(repaired[~bad], stack[~bad])
    assert repaired.min() >= 0.5 and repaired.max() <= 0.6


def test_a_hole_in_a_ramp_is_filled_from_its_own_projection():
    ramp = np.tile(np.arange(1.0, 10.0), (9, 1))
    stack = np.stack([ramp, 100 * ramp])
    stack[0, 3:6, 3:6] = np.nan
    repaired, mask = correct.repair_bad_pixels(stack)
    assert mask.sum() == 9
    assert np.abs(repaired[0] - ramp).max() <= 1.5


def test_hot_pixels_are_found_only_when_asked():
    stack = np.random.default_rng(2).normal(1, 0.01, (2, 30, 30))
    stack[1, 4, 5] = 3
    assert not correct.find_bad_pixels(stack).any()
    assert np.argwhere(correct.find_bad_pixels(stack, hot_sigma=15)).tolist() == [[1, 4, 5]]


def test_a_projection_without_a_good_pixel_is_named():
    stack = np.ones((3, 4, 4))
    stack[1] = np.nan
    with pytest.raises(LowdoseError, match=r"projections \[1\]"):
        correct.repair_bad_pixels(stack)


def test_savu_has_one_nan_in_each_projection(savu):
    projections, _ = savu
    repaired, mask = correct.repair_bad_pixels(projections)
    assert (mask.sum(axis=(1, 2)) == 1).all() and np.isnan(projections[mask]).all()
    assert np.array_equal(repaired[~mask], projections[~mask].astype(np.float32))
    assert repaired[mask].min() > 0.03 and repaired[mask].max() < 0.8


def test_minus_log_inverts_beer_and_refuses_what_has_no_logarithm():
    integrals = np.linspace(0, 5, 7)
    assert np.allclose(correct.minus_log(np.exp(-integrals)), integrals, atol=1e-6)
    for endless in (np.inf, -np.inf):
        with pytest.raises(LowdoseError, match="1 of 2"):
            correct.minus_log([1, endless])
    with pytest.raises(LowdoseError, match="2 of 4"):
        correct.minus_log([1, 0, -1, 0.5])
    with pytest.raises(LowdoseError, match="1 of 2"):
        correct.minus_log([np.nan, 1], floor=1e-3)
    assert correct.minus_log([0.0, 1.0], floor=np.exp(-3))[0] == pytest.approx(3)


def bias(mean: float, estimator: str) -> float:
    """Exact mean error of the line integral 0.4 for Poisson counts, by summing over the distribution."""
    from scipy.stats import poisson

    counts = np.arange(600)
    line = correct.count_log(counts, mean * np.exp(0.4), estimator).astype(float)
    return float(poisson(mean).pmf(counts) @ line - 0.4)


@pytest.mark.parametrize("mean", [0.5, 1.0, 2.0, 3.0, 5.0])
def test_the_digamma_estimator_is_biased_by_the_exponential_integral(mean):
    assert bias(mean, "digamma") == pytest.approx(-exp1(mean), abs=1e-6)


@pytest.mark.parametrize("mean", [3.0, 5.0, 10.0, 30.0, 100.0])
def test_both_corrections_are_far_less_biased_than_the_plain_logarithm(mean):
    plain = abs(bias(mean, "plain"))
    assert plain > 0.4 / mean
    assert abs(bias(mean, "half")) < plain / 10
    assert abs(bias(mean, "digamma")) < plain / 10


@few
@given(st.floats(1, 1e5), st.sampled_from(["half", "digamma"]))
def test_zero_counts_give_a_finite_line_integral_that_falls_with_counts(beam, estimator):
    line = correct.count_log(np.arange(50), beam, estimator)
    assert np.isfinite(line).all() and (np.diff(line) < 0).all()


def test_counts_below_zero_or_no_beam_are_refused():
    for counts, beam in [
        *(
            ([-1, 2], 10),
            ([np.nan], 10),
            ([1], 0),
            ([np.inf, 1], 10),
            ([1], np.inf),
            ([1], np.nan),
            ([-1], []),
        ),
        (np.ones((5, 3)), np.ones(4)),
    ]:
        with pytest.raises(LowdoseError, match="counts and open_beam"):
            correct.count_log(counts, beam)
    with pytest.raises(LowdoseError, match="estimator"):
        correct.count_log([1], 10, "exact")


@pytest.mark.parametrize("method", ["sorting", "filtering", "all"])
def test_stripes_are_mostly_removed(method):
    clean = np.stack([discs(79.5), discs(79.5)])
    stripes = np.zeros(160)
    stripes[20:140:9] = 5.0
    cleaned = correct.remove_rings(clean + stripes, method)
    error = np.abs(cleaned - clean)[:, :, 20:140:9].mean()
    assert cleaned.shape == clean.shape and np.isfinite(cleaned).all()
    assert error < 0.4 * 5


def test_an_unknown_ring_method_is_refused():
    with pytest.raises(LowdoseError, match="sorting, filtering, all"):
        correct.remove_rings(np.ones((1, 4, 4)), "magic")


@pytest.mark.parametrize("axis", [60.3, 79.5, 88.85])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_the_axis_is_found_to_a_quarter_pixel(axis, noise):
    sinogram = discs(axis)
    noisy = sinogram + noise * sinogram.max() * np.random.default_rng(3).standard_normal(sinogram.shape)
    assert correct.find_axis(noisy, HALF_TURN) == pytest.approx(axis, abs=0.1 if noise == 0 else 0.25)


def test_many_slices_find_the_axis_in_strong_noise():
    sinogram = discs(82.2)
    stack = sinogram + 0.2 * sinogram.max() * np.random.default_rng(4).standard_normal((20, *sinogram.shape))
    assert correct.find_axis(stack, HALF_TURN) == pytest.approx(82.2, abs=0.25)


def test_stripes_do_not_pull_the_axis():
    stripes = 5.0 * (np.random.default_rng(5).random(160) < 0.1)
    assert correct.find_axis(discs(75.0) + stripes, HALF_TURN, method="wedge") == pytest.approx(
        75.0, abs=0.25
    )


@pytest.mark.parametrize("angles", ["closed", "shuffled", "full turn", "uneven", "offset"])
def test_the_axis_is_found_for_any_order_of_angles_that_cover_a_half_turn(angles):
    rng = np.random.default_rng(6)
    theta = {
        "closed": np.linspace(0, np.pi, 121),
        "shuffled": rng.permutation(HALF_TURN),
        "full turn": np.arange(240) * np.pi / 120,
        "uneven": HALF_TURN + 0.3 * np.sin(2 * HALF_TURN) + rng.uniform(0, 0.5, 120) * np.pi / 120,
        "offset": HALF_TURN - 1.54,
    }[angles]
    assert correct.find_axis(discs(84.6, angles=theta), theta) == pytest.approx(84.6, abs=0.15)


def test_an_object_wider_than_the_detector_still_gives_an_axis():
    cut = discs(80.0)[:, 45:-35]
    assert correct.find_axis(cut, HALF_TURN) == pytest.approx(35.0, abs=0.5)


@pytest.mark.parametrize(
    "angles", [HALF_TURN * 0.8, np.rad2deg(HALF_TURN), np.where(HALF_TURN > 1.5, HALF_TURN + 0.5, HALF_TURN)]
)
def test_angles_that_do_not_cover_a_half_turn_are_refused(angles):
    with pytest.raises(LowdoseError, match="half turn"):
        correct.find_axis(discs(80), angles)


def test_axis_input_of_the_wrong_shape_is_refused():
    with pytest.raises(LowdoseError, match="sinograms and angles"):
        correct.find_axis(discs(80).T, HALF_TURN)
    with pytest.raises(LowdoseError, match="method"):
        correct.find_axis(discs(80), HALF_TURN, method="guess")


def test_the_axis_of_the_tooth(tooth):
    transmission, angles = tooth
    sinograms = correct.minus_log(transmission).swapaxes(0, 1)
    assert 295.5 <= correct.find_axis(sinograms, angles) <= 296.0


def test_the_axis_of_the_savu_scan(savu):
    projections, angles = savu
    transmission = correct.renormalise_air(correct.repair_bad_pixels(projections)[0], 4)
    sinograms = correct.minus_log(transmission).swapaxes(0, 1)
    assert correct.find_axis(sinograms[20:110:5], angles) == pytest.approx(86.0, abs=0.25)
