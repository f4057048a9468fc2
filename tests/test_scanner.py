"""The simulated scanner gives back, after correction, what was put in."""

from __future__ import annotations

import numpy as np
import pytest

from lowdose_utils import acquire, correct
from lowdose_utils.errors import LowdoseError
from lowdose_utils.scanner import simulated_scan


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
