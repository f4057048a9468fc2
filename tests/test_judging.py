"""The error of a denoised image without its truth."""

from __future__ import annotations

import numpy as np
import pytest

from lowdose_utils.errors import LowdoseError
from lowdose_utils.noise2inverse import error_without_truth


def test_it_is_the_mean_squared_error_whatever_the_noise_of_the_two() -> None:
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((4, 200, 200)).cumsum(axis=2)
    estimate = truth + 0.3 * rng.standard_normal(truth.shape) + 0.2  # variance and bias
    first = truth + 2.0 * rng.standard_normal(truth.shape)
    second = truth + 1.0 * rng.standard_normal(truth.shape)
    found = error_without_truth(estimate, first, second)
    # Its own standard error is about 2 * 1 / sqrt(160,000) = 0.005.
    assert found == pytest.approx(0.3**2 + 0.2**2, abs=0.02)
    assert error_without_truth(truth, first, second) == pytest.approx(0, abs=0.02)


def test_an_estimate_that_holds_the_noise_of_one_looks_too_good() -> None:
    rng = np.random.default_rng(1)
    truth = np.zeros((300, 300))
    first, second = (truth + rng.standard_normal(truth.shape) for _ in range(2))
    honest = (truth + rng.standard_normal(truth.shape)) / 2
    assert error_without_truth(honest, first, second) == pytest.approx(0.25, abs=0.02)
    assert error_without_truth(first / 2, first, second) == pytest.approx(-0.25, abs=0.02)


def test_the_mask_chooses_pixels_and_broadcasts() -> None:
    estimate, first, second = np.zeros((2, 3, 3)), np.ones((2, 3, 3)), 2 * np.ones((2, 3, 3))
    first[:, 0] = 100
    mask = np.ones((3, 3), bool)
    mask[0] = False
    assert error_without_truth(estimate, first, second, mask) == 2


@pytest.mark.parametrize(
    ("shape", "mask", "value"),
    [((3, 4), None, 0.0), ((4, 4), np.zeros((4, 4), bool), 0.0), ((4, 4), None, np.nan)],
)
def test_what_does_not_fit_is_refused(shape, mask, value) -> None:
    with pytest.raises(LowdoseError, match="expected one shape"):
        error_without_truth(np.full(shape, value), np.zeros((4, 4)), np.zeros((4, 4)), mask)
