"""Propagation and Paganin's filter against what optics says in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lowdose_utils import optics as optics_module
from lowdose_utils.correct import minus_log
from lowdose_utils.errors import LowdoseError
from lowdose_utils.phase import fresnel, fringe_reach, paganin, phase_contrast, wavelength_of

WAVELENGTH, PIXEL = 4e-11, 1e-6
OPTICS = {"wavelength": WAVELENGTH, "pixel_size": PIXEL}


def noise(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def bumps(size: int, height: float, *, sigma: float = 6.0) -> np.ndarray:
    """Line integrals of two smooth bumps, well inside; the second image is the first turned."""
    y, x = np.indices((size, size)) - (size - 1) / 2
    one = np.exp(-((x - 7) ** 2 + (y + 4) ** 2) / (2 * sigma**2))
    two = 0.5 * np.exp(-((x + 9) ** 2 + (y - 6) ** 2) / (2 * sigma**2))
    return height * np.stack([one + two, (one + two).T])


def transported(line_integrals: np.ndarray, distance: float, delta_beta: float) -> np.ndarray:
    """Intensity by the transport-of-intensity equation, ``I0 - div(I0 grad phase) distance / k``.

    With differences of the product itself, so that nothing of the filter's algebra is used.
    """
    clean = np.exp(-line_integrals)
    fy, fx = np.meshgrid(*(2j * np.pi * np.fft.fftfreq(n, PIXEL) for n in clean.shape[1:]), indexing="ij")
    spectrum = np.fft.fft2(-delta_beta / 2 * line_integrals)
    flows = [clean * np.fft.ifft2(f * spectrum).real for f in (fy, fx)]
    divergence = sum(
        np.fft.ifft2(f * np.fft.fft2(flow)).real for f, flow in zip((fy, fx), flows, strict=True)
    )
    return clean - distance * WAVELENGTH / (2 * np.pi) * divergence


def test_wavelength_of_copper_k_alpha():
    assert wavelength_of(8.0478) == pytest.approx(1.5406e-10, rel=1e-4)


@settings(max_examples=20, deadline=None)
@given(
    st.floats(-10, 10),
    st.floats(-10, 10),
    st.sampled_from([(8, 8), (7, 12), (33, 5)]),
    st.integers(0, 2**31),
)
def test_propagation_keeps_energy_adds_up_and_can_be_undone(first, second, shape, seed):
    wave = noise((2, *shape), seed)
    there = fresnel(wave, first, WAVELENGTH, PIXEL)
    assert there.dtype == torch.complex128 and there.shape == wave.shape
    energy = wave.abs().square().sum(dim=(1, 2))
    assert torch.allclose(there.abs().square().sum(dim=(1, 2)), energy, rtol=1e-12)
    assert torch.allclose(fresnel(there, -first, WAVELENGTH, PIXEL), wave, atol=1e-9)
    further = fresnel(there, second, WAVELENGTH, PIXEL)
    assert torch.allclose(further, fresnel(wave, first + second, WAVELENGTH, PIXEL), atol=1e-9)
    assert torch.allclose(fresnel(wave, 0.0, WAVELENGTH, PIXEL), wave, atol=1e-12)


def test_single_precision_follows_double_over_thousands_of_turns():
    wave, distance = noise((1, 96, 96)), 500.0
    assert WAVELENGTH * distance / (4 * PIXEL**2) > 4000
    double = fresnel(wave, distance, WAVELENGTH, PIXEL)
    single = fresnel(wave.to(torch.complex64), distance, WAVELENGTH, PIXEL)
    assert single.dtype == torch.complex64
    assert (single - double).abs().max() / double.abs().max() < 1e-6


@pytest.mark.parametrize("axis", [0, 1])
def test_talbot_images_of_a_grating(axis):
    period = 16
    grating = torch.zeros(48, 64, dtype=torch.complex128)
    grating.swapaxes(0, axis)[torch.arange(grating.shape[axis]) % period < 6] = 1
    talbot = 2 * (period * PIXEL) ** 2 / WAVELENGTH
    again = fresnel(grating, [talbot, talbot / 2], WAVELENGTH, PIXEL)
    assert torch.allclose(again[0], grating, atol=1e-9)
    assert torch.allclose(again[1], grating.roll(period // 2, axis), atol=1e-9)


def test_a_phase_grating_is_seen_as_intensity_at_a_quarter_of_the_talbot_distance():
    # A step of pi / 2 with half the period: all the light goes to one half of it (Lohmann 1988).
    period = 32
    phase = (np.arange(64) % period < period // 2) * -np.pi / 2 * np.ones((1, 64, 1))
    quarter = (period * PIXEL) ** 2 / WAVELENGTH / 2
    absorption = np.zeros_like(phase)
    seen = phase_contrast(absorption, phase=phase, distance=quarter, padding=0, device="cpu", **OPTICS)
    bright = seen[0] > 1
    assert seen[0][bright] == pytest.approx(2, abs=1e-4) and seen[0][~bright] == pytest.approx(0, abs=1e-4)
    assert phase_contrast(absorption, phase=phase, distance=0.0, device="cpu", **OPTICS) == pytest.approx(1)


@pytest.mark.parametrize("distance", [0.3, 2.0, -1.1])
def test_a_gaussian_beam_spreads_as_it_must(distance):
    size, waist = 128, 8 * PIXEL
    y, x = (torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in (size, size + 10))
    square = (y[:, None] ** 2 + x**2) * PIXEL**2
    rayleigh = math.pi * waist**2 / WAVELENGTH
    # Complex beam parameter: amplitude 1 / (1 + i z / zR) exp(-r^2 / (w0^2 (1 + i z / zR))).
    q = 1 + 1j * distance / rayleigh
    expected = torch.exp(-square / (waist**2 * q)) / q
    found = fresnel(torch.exp(-square / waist**2), distance, WAVELENGTH, PIXEL)
    assert (found - expected).abs().max() < 1e-9
    intensity = found.abs().square()
    spread = math.sqrt(4 * float((intensity * square).sum() / intensity.sum()) / 2)
    assert spread == pytest.approx(waist * math.hypot(1, distance / rayleigh), rel=1e-6)


def test_many_distances_at_once_are_each_alone():
    wave, distances = noise((3, 1, 12, 10)), [0.0, 0.1, -2.0, 7.0]
    together = fresnel(wave, torch.tensor(distances, dtype=torch.float64), WAVELENGTH, PIXEL)
    assert together.shape == (3, 4, 12, 10)
    assert torch.equal(together, fresnel(wave, distances, WAVELENGTH, PIXEL))
    for i, distance in enumerate(distances):
        assert torch.allclose(together[:, i], fresnel(wave[:, 0], distance, WAVELENGTH, PIXEL))


def test_propagation_has_a_gradient():
    wave = noise((1, 6, 5)).requires_grad_()
    assert torch.autograd.gradcheck(lambda w: fresnel(w, 0.4, WAVELENGTH, PIXEL, padding=3), wave)


def test_padding_keeps_fringes_from_coming_round():
    # A fringe pattern at the left border must not appear at the right one.
    wide = torch.ones(1, 300, 300, dtype=torch.complex128)
    wide[:, :, 110:116] = torch.exp(torch.tensor(-0.5j))
    distance = 0.6
    assert fringe_reach(distance, WAVELENGTH, PIXEL) == pytest.approx(12)
    truth = fresnel(wide, distance, WAVELENGTH, PIXEL)[:, 100:200, 100:200]
    small = wide[:, 100:200, 100:200]
    errors = {
        padding: float((fresnel(small, distance, WAVELENGTH, PIXEL, padding=padding) - truth).abs().max())
        for padding in (0, "auto", 40)
    }
    assert errors[0] > 0.02 and errors["auto"] < 0.01 and errors[40] < 0.005
    empty = torch.ones(1, 9, 7)
    assert torch.allclose(fresnel(empty, 3.0, WAVELENGTH, PIXEL, padding=5).abs(), empty)


def test_homogeneous_object_equals_its_phase_given():
    line_integrals = bumps(48, 0.1)
    given = {"distance": 0.05, "device": "cpu", **OPTICS}
    one = phase_contrast(line_integrals, delta_beta=300.0, **given)
    other = phase_contrast(line_integrals, phase=-150.0 * line_integrals, **given)
    assert one == pytest.approx(other, abs=1e-5)
    assert isinstance(one, np.ndarray) and one.dtype == np.float32
    contact = phase_contrast(line_integrals, delta_beta=300.0, **{**given, "distance": 0.0})
    assert contact == pytest.approx(np.exp(-line_integrals), abs=3e-6)
    # The phase runs ahead in matter: a bump is a diverging lens, dark in its middle with a bright rim.
    assert one[0, 19, 30] < contact[0, 19, 30] - 0.1 and one.max() > 1.01
    assert one.mean(axis=(1, 2)) == pytest.approx(contact.mean(axis=(1, 2)), rel=1e-3)


@pytest.mark.parametrize("size", [48, 49])
@pytest.mark.parametrize("delta_beta", [50.0, 2000.0])
def test_paganin_inverts_the_transport_of_intensity(size, delta_beta):
    line_integrals, distance = bumps(size, 0.05, sigma=3.0), 0.02
    seen = torch.from_numpy(transported(line_integrals, distance, delta_beta))
    found = paganin(seen, distance=distance, delta_beta=delta_beta, padding=0, device="cpu", **OPTICS)
    assert found.dtype == torch.float64
    assert found.numpy() == pytest.approx(np.exp(-line_integrals), abs=1e-9)


def test_paganin_recovers_a_propagated_object():
    line_integrals, optics = (
        bumps(96, 0.2),
        {"distance": 0.01, "delta_beta": 200.0, "device": "cpu", **OPTICS},
    )
    seen = phase_contrast(line_integrals, **optics)
    assert np.abs(minus_log(seen) - line_integrals).max() > 0.05
    found = minus_log(paganin(seen, **optics))
    assert np.abs(found - line_integrals).max() < 0.01 * line_integrals.max()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([(1, 9, 16), (3, 20, 7)]), st.sampled_from([0, 4, "auto"]))
def test_paganin_at_distance_0_is_the_identity(seed, shape, padding):
    images = np.random.default_rng(seed).uniform(0.1, 1, shape)
    found = paganin(images, distance=0.0, delta_beta=100.0, padding=padding, device="cpu", **OPTICS)
    assert found == pytest.approx(images, abs=1e-6)


def test_paganin_damps_each_frequency_as_stated():
    size, distance, delta_beta = 64, 0.05, 1000.0
    for cycles in (1, 5, 20):
        wave = 1 + 0.1 * np.cos(2 * np.pi * cycles * np.arange(size) / size) * np.ones((1, size, 1))
        found = paganin(wave, distance=distance, delta_beta=delta_beta, padding=0, device="cpu", **OPTICS)
        frequency = cycles / (size * PIXEL)
        factor = 1 / (1 + math.pi * WAVELENGTH * distance * delta_beta * frequency**2)
        assert found - 1 == pytest.approx(factor * (wave - 1), abs=1e-6)


def test_paganin_mirrors_at_the_border_and_keeps_the_mean():
    images = 0.5 + bumps(60, 0.3)[:, 22:45, 25:60]
    optics = {"distance": 0.05, "delta_beta": 1500.0, "device": "cpu", **OPTICS}
    mirrored = np.pad(images, ((0, 0), (0, 23), (0, 35)), "symmetric")
    truth = paganin(mirrored, padding=0, **optics)[:, :23, :35]
    assert paganin(images, **optics) == pytest.approx(truth, abs=2e-3)
    assert np.abs(paganin(images, padding=0, **optics) - truth).max() > 0.02
    assert truth.mean() == pytest.approx(images.mean(), rel=1e-4)


def test_work_in_parts_gives_the_whole(monkeypatch):
    line_integrals = np.concatenate([bumps(24, height) for height in (0.1, 0.2, 0.3)])[:5]
    optics = {"distance": 0.02, "delta_beta": 100.0, "device": "cpu", **OPTICS}
    seen = phase_contrast(line_integrals, **optics)
    back = paganin(seen, **optics)
    phases = -50.0 * line_integrals
    mixed = {**{k: v for k, v in optics.items() if k != "delta_beta"}, "phase": phases}
    monkeypatch.setitem(optics_module.CHUNK_PIXELS, "cpu", 2 * 24 * 24)
    assert phase_contrast(line_integrals, **optics) == pytest.approx(seen, abs=1e-6)
    assert phase_contrast(line_integrals, **mixed) == pytest.approx(seen, abs=1e-5)
    assert paganin(seen, **optics) == pytest.approx(back, abs=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"wavelength": 0.0}, "wavelength"),
        ({"pixel_size": math.nan}, "pixel_size"),
        ({"delta_beta": -1.0}, "delta_beta"),
        ({"distance": -0.1}, "distance: found -0.1; expected from 0 up"),
        ({"distance": math.inf}, "distance"),
        ({"padding": -1}, "padding"),
        ({"padding": "some"}, "padding"),
        ({"images": np.ones((4, 4))}, "shape of images"),
        ({"images": np.full((1, 4, 4), np.nan)}, "values of images"),
        ({"device": "abacus"}, "device"),
    ],
)
def test_paganin_refuses_what_makes_no_sense(wrong, message):
    fine = {"images": np.ones((1, 4, 4)), "distance": 0.1, "delta_beta": 10.0, "device": "cpu", **OPTICS}
    with pytest.raises(LowdoseError, match=message):
        paganin(**{**fine, **wrong})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"wavelength": -1.0}, "wavelength"),
        ({"pixel_size": 0.0}, "pixel_size"),
        ({"distance": math.nan}, "distance"),
        ({"padding": 1.5}, "padding"),
        ({"wave": torch.ones(4)}, "shape of wave"),
        ({"wave": torch.ones(0, 4)}, "shape of wave"),
        ({"distance": [], "padding": "auto"}, "distance"),
    ],
)
def test_propagation_refuses_what_makes_no_sense(wrong, message):
    with pytest.raises(LowdoseError, match=message):
        fresnel(**{"wave": torch.ones(4, 4), "distance": 0.1, **OPTICS, **wrong})


@pytest.mark.parametrize("kind", [">f4", ">u2", "f2", "i4"])
def test_images_as_files_hold_them(kind):
    images = np.random.default_rng(0).integers(1, 9, (2, 6, 7))
    fine = {"distance": 0.1, "delta_beta": 10.0, "device": "cpu", "padding": np.int64(3), **OPTICS}
    for work in (paganin, phase_contrast):
        found = work(images.astype(kind), **fine)
        assert found.dtype == np.float32
        assert np.array_equal(found, work(images.astype(np.float32), **fine))


def test_waves_of_half_precision_are_propagated_in_single():
    wave = torch.linspace(0, 1, 48).reshape(6, 8).half()
    found = fresnel(wave, 0.1, **OPTICS)
    assert found.dtype == torch.complex64
    assert torch.equal(found, fresnel(wave.float(), 0.1, **OPTICS))


def test_images_of_nonsense_are_refused():
    fine = {"distance": 0.1, "device": "cpu", **OPTICS}
    ones = np.ones((2, 4, 4))
    for both in ({}, {"delta_beta": 1.0, "phase": ones}):
        with pytest.raises(LowdoseError, match="exactly one"):
            phase_contrast(ones, **fine, **both)
    with pytest.raises(LowdoseError, match="shape of phase"):
        phase_contrast(ones, phase=np.ones((2, 4, 5)), **fine)
    with pytest.raises(LowdoseError, match="images of phase: found 1; expected 2"):
        phase_contrast(ones, phase=ones[:1], **fine)
    with pytest.raises(LowdoseError, match="delta_beta: found -3"):
        phase_contrast(ones, delta_beta=-3.0, **fine)
    with pytest.raises(LowdoseError, match="energy"):
        wavelength_of(0.0)
