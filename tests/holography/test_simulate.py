"""Holograms: known waves, area means, motion, counts."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy import ndimage

from lowdose_utils.errors import LowdoseError
from lowdose_utils.holography.camera import Camera, pixel_weights, positions
from lowdose_utils.holography.simulate import expose
from lowdose_utils.phase import phase_contrast


def padded(images, side):
    before = (side - images.shape[-1]) // 2
    after = side - images.shape[-1] - before
    return np.pad(images, ((0, 0), (before, after), (before, after)))


def test_nothing_makes_an_even_field(optics, still):
    holograms = expose(np.zeros((2, 40, 40)), optics, still, device="cpu")
    assert holograms.images.shape == (4, 2, 128, 128)
    assert np.abs(holograms.images - 1).max() < 1e-6


def test_the_crime_is_the_plain_propagator(optics, still, textured):
    """Without magnification, at one grid: `phase.phase_contrast` on the same periodic field."""
    flat = optics.without_magnification()
    found = expose(textured, flat, still, finer=1, delta_beta=9.0, device="cpu").images
    field = padded(textured, 128).astype(np.float64)
    for j, distance in enumerate(flat.effective_distances):
        wanted = phase_contrast(
            -2 * field / 9.0,
            distance=distance,
            wavelength=flat.wavelength,
            pixel_size=flat.voxel_size,
            phase=field,
            padding=0,
            device="cpu",
        )
        assert np.abs(found[j] - wanted).max() < 2e-6


def test_fine_grid_averages_over_each_distances_pixels(optics, still, textured):
    """Against the propagator on a wide fine grid, and means over pixels by brute force."""
    one = optics.first(1)
    fine = np.repeat(np.repeat(textured, 2, 1), 2, 2)
    found = expose(fine, one, still, finer=2, delta_beta=9.0, device="cpu").images[0]
    field = padded(fine, 1024).astype(np.float64)
    exact = phase_contrast(
        -2 * field / 9.0,
        distance=one.effective_distances[0],
        wavelength=one.wavelength,
        pixel_size=one.voxel_size / 2,
        phase=field,
        padding=0,
        device="cpu",
    )
    means = exact.reshape(3, 512, 2, 512, 2).mean((2, 4))[:, 192:320, 192:320]
    assert np.abs(found - means).max() < 2e-3
    inner = slice(32, 96)
    assert np.abs(found - means)[:, inner, inner].max() < 2e-4


@pytest.mark.parametrize(("ratio", "sigma"), [(2.0, 0.0), (2.429, 0.0), (3.142, 0.8)])
def test_pixel_weights(ratio, sigma):
    weights = pixel_weights(8, ratio, 64, sigma).double()
    assert torch.allclose(weights.sum(1), torch.ones(8, dtype=torch.float64), atol=1e-6)
    assert torch.allclose(weights, weights.flip(0, 1), atol=1e-7)  # middles coincide
    # A ramp nearly keeps its values at the pixels' middles, whatever the blur.
    ramp = torch.arange(64, dtype=torch.float64) - 31.5
    wanted = (torch.arange(8, dtype=torch.float64) - 3.5) * ratio
    assert torch.allclose(weights @ ramp, wanted, atol=0.1)
    # A parabola gains the variances of pixel and blur, give or take that of a fine pixel.
    spread = weights @ ramp**2 - (weights @ ramp) ** 2
    assert (spread - (ratio**2 / 12 + sigma**2)).abs().max() < 1 / 9


def test_the_sample_moves_as_said(optics, textured):
    """Against the picture of a still one, moved by its Fourier series."""
    camera = dataclasses.replace(Camera(128, float("inf")).crime(), jitter=0.5)
    fine = np.minimum(ndimage.zoom(textured, (1, 2, 2), order=3), 0)
    moved = expose(fine, optics.first(1), camera, rng=3, device="cpu")
    still = expose(fine, optics.first(1), dataclasses.replace(camera, jitter=0.0), rng=3, device="cpu")
    assert np.abs(moved.shifts).max() > 0.2
    spectra = np.fft.fft2(still.images[0])
    y, x = np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128)
    for spectrum, (down, across), image in zip(spectra, moved.shifts[0], moved.images[0], strict=True):
        wanted = np.fft.ifft2(spectrum * np.exp(-2j * np.pi * (y * down + x * across))).real
        unmoved = np.abs(image - np.fft.ifft2(spectrum).real).max()
        assert np.abs(image - wanted).max() < 0.1 * unmoved


def test_parts_of_a_scan_are_the_scan(optics, textured):
    camera = Camera(128, 500.0)
    fine = np.repeat(np.repeat(textured, 2, 1), 2, 2)
    whole = expose(fine, optics, camera, rng=7, device="cpu", chunk=2)
    parts = [expose(fine[k : k + 1], optics, camera, which=[k], of=3, rng=7, device="cpu") for k in range(3)]
    assert np.array_equal(whole.images, np.concatenate([part.images for part in parts], axis=1))
    assert np.array_equal(whole.shifts, np.concatenate([part.shifts for part in parts], axis=1))
    other = expose(fine, optics, camera, rng=8, device="cpu")
    assert not np.array_equal(whole.images, other.images)


def test_counts_are_poisson(optics):
    camera = dataclasses.replace(Camera(128, 400.0).crime(), flats=4)
    found = expose(np.zeros((40, 40, 40)), optics.first(1), camera, rng=1, device="cpu").images[0]
    assert found.mean() == pytest.approx(1, abs=2e-3)
    within = found.std(axis=0).mean()  # over exposures: photons alone
    assert within == pytest.approx(1 / 20, rel=0.03)
    between = found.mean(axis=0).std()  # over pixels, after averaging: the flat field's and the rest
    assert between == pytest.approx(np.sqrt(1 / 1600 + 1 / 16000), rel=0.03)


def test_first_scan_has_no_offset():
    shifts = positions(Camera(8, offset=2.0, jitter=0.0), 4, 5, rng=0)
    assert not shifts[0].any()
    assert (np.ptp(shifts, axis=1) == 0).all()
    assert shifts[1:].any()


def test_a_field_too_small_says_how_many_pixels(optics, textured):
    fine = np.repeat(np.repeat(textured, 2, 1), 2, 2)
    with pytest.raises(LowdoseError, match=r"\d+ pixels or more"):
        expose(fine, optics, Camera(64), device="cpu")


@pytest.mark.parametrize(
    "wrong",
    [
        {"phase": np.zeros((4, 4))},
        {"phase": np.full((1, 4, 4), np.nan)},
        {"delta_beta": 0.0},
        {"finer": 0},
        {"which": [3], "of": 2},
        {"which": [0, 1]},
    ],
)
def test_refuses(optics, still, wrong):
    options = {"phase": np.zeros((1, 4, 4))} | wrong
    with pytest.raises(LowdoseError):
        expose(options.pop("phase"), optics, still, device="cpu", **options)


def test_camera_refuses():
    for wrong in ({"columns": 1}, {"photons": 0.0}, {"jitter": -1.0}, {"source": -1e-9}):
        with pytest.raises(LowdoseError):
            Camera(**({"columns": 64} | wrong))
