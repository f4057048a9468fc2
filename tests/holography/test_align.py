"""Registration: known shifts and axes come back."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowdose_utils.errors import LowdoseError
from lowdose_utils.holography import Optics
from lowdose_utils.holography.align import align_angles, move, register, rescale
from lowdose_utils.holography.camera import Camera
from lowdose_utils.holography.matter import fine_density, image_means, projected_phase
from lowdose_utils.holography.model import Model
from lowdose_utils.holography.simulate import expose
from lowdose_utils.registration import find_shifts


def test_rescaling_is_exact_for_what_pixels_can_hold(optics):
    """A Gaussian, in every distance's own pixels, comes to the same Gaussian in those of the first."""
    side = 96
    sigma = 2.5 * max(optics.pixel_sizes)

    def gaussian(pixel):
        x = (np.arange(side) - (side - 1) / 2) * pixel - 1.3e-6
        return 1 + 0.3 * np.exp(-(x[:, None] ** 2 + (x + 2.1e-6) ** 2) / (2 * sigma**2))

    images = np.stack([gaussian(pixel) for pixel in optics.pixel_sizes])[:, None].astype(np.float32)
    found = rescale(images, optics, device="cpu")
    assert np.abs(found[1:] - found[:1]).max() < 1e-5
    assert np.array_equal(found[0], images[0])


def test_rescaling_refuses(optics):
    with pytest.raises(LowdoseError, match="Distances come first"):
        rescale(np.ones((3, 1, 8, 8), np.float32), optics)


@given(down=st.floats(-5, 5), across=st.floats(-5, 5))
@settings(max_examples=10, deadline=None)
def test_moves_add_up(down, across):
    rng = np.random.default_rng(0)
    images = rng.random((2, 16, 18)).astype(np.float32)
    by = np.full((2, 2), (down, across))
    assert np.abs(move(move(images, by), -by) - move(move(images, -by), by)).max() < 1e-5
    whole = np.full((2, 2), (round(down), round(across)))
    rolled = np.roll(images, (round(down), round(across)), (1, 2))
    assert np.abs(move(images, whole) - rolled).max() < 1e-5


def test_distances_are_registered(optics, textured):
    """Through magnification, blur, and noise: to a few hundredths of a pixel."""
    camera = dataclasses.replace(Camera(128, 1e5), offset=2.0, jitter=0.5)
    fine = np.repeat(np.repeat(textured, 2, 1), 2, 2)
    taken = expose(fine, optics, camera, delta_beta=9.0, rng=4, device="cpu")
    model = Model(optics, (128, 128), delta_beta=9.0, device="cpu")
    found = register(rescale(taken.images, optics, device="cpu"), model)
    wanted = taken.shifts - taken.shifts[:1]
    assert np.abs(wanted).max() > 1.5
    assert not found[0].any()
    assert np.abs(found - wanted).max() < 0.05


def test_plain_correlation_is_led_astray_by_inverted_contrast(textured):
    """Two distances far apart, one of them with most fringes inverted against the other."""
    optics = Optics(33.35, (0.05, 0.11)).without_magnification()
    camera = dataclasses.replace(Camera(128, 1e6).crime(), offset=1.0)
    fine = textured
    taken = expose(fine, optics, camera, finer=1, delta_beta=9.0, rng=1, device="cpu")
    model = Model(optics, (128, 128), delta_beta=9.0, device="cpu")
    found = register(taken.images, model)
    plain = find_shifts(taken.images[0], taken.images[1])
    errors = [np.abs(one - taken.shifts[1]).max() for one in (found[1], plain)]
    assert errors[0] < 0.05 < 0.2 * errors[1]


@pytest.fixture(scope="module")
def turning(blobs, optics):
    angles = np.arange(40) * np.pi / 40
    fine = projected_phase(
        fine_density(blobs), angles, optics.wavelength, optics.voxel_size / 2, device="cpu"
    )
    phases = image_means(fine, 2)
    return angles, np.pad(phases, ((0, 0), (6, 6), (6, 6)))


def test_angles_come_to_one_axis(turning):
    angles, phases = turning
    rng = np.random.default_rng(0)
    shifts = rng.normal(0, 0.7, (len(angles), 2))
    shifts[:, 0] -= shifts[:, 0].mean()
    noisy = move(phases, shifts) + 0.01 * rng.standard_normal(phases.shape).astype(np.float32)
    by_mass = align_angles(noisy, angles, rounds=0, device="cpu") - shifts
    found = align_angles(noisy, angles, device="cpu") - shifts
    # How a shift of the whole sample in the slice would look: no data can tell it from the sample's place.
    turning_part = np.stack([np.cos(angles), np.sin(angles)], 1)
    for error in (by_mass, found):
        error[:, 1] -= turning_part @ np.linalg.lstsq(turning_part, error[:, 1], rcond=None)[0]
    assert np.sqrt(np.square(found).mean()) < 0.05
    assert np.square(found).mean() < 0.3 * np.square(by_mass).mean()


def test_angles_refuse(turning):
    angles, phases = turning
    with pytest.raises(LowdoseError, match="phases"):
        align_angles(phases[:3], angles)
    with pytest.raises(LowdoseError, match="least mass"):
        align_angles(0 * phases, angles)
