"""The whole chain on a ball of small balls, and the measures that judge it."""

import numpy as np
import pytest

from lowdose_utils.errors import LowdoseError
from lowdose_utils.holography.agreement import (
    resolution_against_truth,
    rim_edge,
    ring_agreement,
    truth_threshold,
)
from lowdose_utils.holography.camera import Camera
from lowdose_utils.holography.matter import (
    fine_density,
    image_means,
    projected_phase,
    volume_means,
)
from lowdose_utils.holography.scan import camera_for, central, image_tissue, take_phases
from lowdose_utils.resolution import FourierCorrelation, fourier_ring_correlation

ANGLES = np.arange(40) * np.pi / 40


@pytest.fixture(scope="module")
def truth(blobs):
    return volume_means(fine_density(blobs), 2)


def similarity(volume, truth):
    return np.corrcoef(volume.ravel(), truth.ravel())[0, 1]


def test_refined_volume_and_halves(blobs, optics, truth):
    whole, odd, even = image_tissue(blobs, optics, ANGLES, 2e4, halves=True, rng=1, device="cpu")
    assert whole.shape == truth.shape
    assert similarity(whole, truth) > 0.98
    assert np.abs(whole - (odd + even) / 2).max() < 0.02 * whole.max()
    assert not np.allclose(odd, even)
    # Quantitative: electrons per cubic nanometre.
    inside = truth > 380
    assert whole[inside].mean() == pytest.approx(truth[inside].mean(), rel=0.02)


def test_order_of_the_methods(blobs, optics, truth):
    found = {
        method: similarity(
            image_tissue(blobs, optics, ANGLES, 2e4, method=method, rng=1, device="cpu"), truth
        )
        for method in ("paganin", "ctf", "refine")
    }
    assert found["paganin"] < found["ctf"] < found["refine"]


def test_the_crime_flatters(blobs, optics):
    density = fine_density(blobs)
    fine = projected_phase(density, ANGLES[:6], optics.wavelength, optics.voxel_size / 2, device="cpu")
    flat = image_means(fine, 2)
    camera = camera_for(optics, blobs, 2e4)
    honest = take_phases(fine, optics, camera, rng=1, device="cpu")
    crime = take_phases(flat, optics.without_magnification(), camera.crime(), finer=1, rng=1, device="cpu")
    assert not crime.shifts.any() and not crime.true_shifts.any()
    errors = [np.square(central(one.phase, 40, 40) - flat).mean() for one in (crime, honest)]
    assert errors[0] < errors[1]


def test_chunks_do_not_matter(blobs, optics):
    fine = projected_phase(
        fine_density(blobs), ANGLES[:3], optics.wavelength, optics.voxel_size / 2, device="cpu"
    )
    camera = Camera(120, 1e4)
    one, two = (take_phases(fine, optics, camera, chunk=k, method="ctf", device="cpu") for k in (1, 3))
    assert np.allclose(one.phase, two.phase, atol=1e-4)
    assert np.allclose(one.shifts, two.shifts, atol=1e-3)


def test_refuses(blobs, optics):
    with pytest.raises(LowdoseError, match="voxel_um"):
        image_tissue(blobs, type(optics).four(100e-9), ANGLES, 1e4)
    with pytest.raises(LowdoseError, match="method"):
        take_phases(np.zeros((1, 4, 4)), optics, Camera(64), method="guess")
    with pytest.raises(LowdoseError, match="pixels or more"):
        image_tissue(blobs, optics, ANGLES[:3], 1e4, columns=60, device="cpu")
    with pytest.raises(LowdoseError, match="rows, columns"):
        central(np.zeros((4, 4), np.float32), 5, 4)


def test_agreement_over_rings():
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((3, 32, 32))
    assert ring_agreement(truth, truth).correlation[1:] == pytest.approx(1)
    assert ring_agreement(-truth, truth).correlation[1:] == pytest.approx(-1)
    noisy = truth + rng.standard_normal(truth.shape)
    curve = ring_agreement(noisy, truth)
    assert curve.correlation[4:].mean() == pytest.approx(np.sqrt(0.5), abs=0.05)
    # A stack of one is a plain ring correlation.
    single = ring_agreement(noisy[:1], truth[:1])
    plain = fourier_ring_correlation(noisy[0], truth[0], window="none")
    assert single.correlation[1:] == pytest.approx(plain.correlation[1:])
    assert single.n_independent == pytest.approx(plain.n_independent)


def test_threshold_against_truth_asks_for_the_same_noise():
    """Halves with noise of variance 2 s each, the whole with s: both thresholds are met at the same s."""
    counts = np.array([1e9])
    halves = 0.2071 / 1.2071  # half a bit
    signal_to_noise = 2 * halves / (1 - halves)  # of the whole
    assert truth_threshold(counts)[0] == pytest.approx(
        np.sqrt(signal_to_noise / (1 + signal_to_noise)), abs=1e-3
    )


def test_resolution_against_truth():
    f = np.arange(33) / 64
    curve = FourierCorrelation(f, np.where(f < 0.25, 1.0, 0.0), np.full(33, 1e9))
    assert 3.9 < resolution_against_truth(curve) < 4.3
    assert resolution_against_truth(FourierCorrelation(f, np.ones(33), np.full(33, 1e9))) is None


def test_edge_of_a_blurred_cylinder():
    from scipy import ndimage

    y, x = np.indices((80, 80)) - 39.5
    disc = np.clip(30.5 - np.hypot(y, x), 0, 1)
    volume = np.broadcast_to(ndimage.gaussian_filter(disc, 1.5), (5, 80, 80))
    assert rim_edge(volume, 30, slices=3).fwhm == pytest.approx(2.3548 * np.hypot(1.5, 0.3), rel=0.05)


def test_ring_agreement_refuses():
    with pytest.raises(LowdoseError):
        ring_agreement(np.zeros((2, 16, 18)), np.zeros((2, 16, 18)))
