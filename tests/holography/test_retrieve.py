"""Retrieval: a weak phase comes back, a strong one after refinement, and shifts are found on the way."""

import dataclasses

import numpy as np
import pytest
import torch

from lowdose_utils.errors import LowdoseError
from lowdose_utils.holography.camera import Camera
from lowdose_utils.holography.descend import descend
from lowdose_utils.holography.model import Model
from lowdose_utils.holography.refine import refine
from lowdose_utils.holography.response import contrast_transfer, frequencies, responses
from lowdose_utils.holography.retrieve import ctf, paganin
from lowdose_utils.holography.simulate import expose
from lowdose_utils.phase import paganin as one_distance

SIDE = 128


@pytest.fixture
def flat(optics):
    return optics.without_magnification()


def field(phase):
    before = (SIDE - phase.shape[-1]) // 2
    return np.pad(phase, ((0, 0), (before, before), (before, before)))


def taken(phase, flat, camera, **options):
    return expose(phase, flat, camera, finer=1, delta_beta=9.0, device="cpu", **options).images


def test_transfer_of_a_weak_wave(flat, still):
    """One cosine of phase: its amplitude in the hologram is its transfer times its own."""
    x = np.arange(SIDE)
    for waves in (5, 13, 30):
        phase = np.broadcast_to(-1e-3 * (1 + np.cos(2 * np.pi * waves * x / SIDE)), (1, SIDE, SIDE))
        images = taken(phase, flat, still)
        transfer = contrast_transfer(flat, (SIDE, SIDE), 9.0)
        for j in range(4):
            found = 2 * np.fft.rfft(images[j, 0, 0] - 1)[waves].real / SIDE
            assert found == pytest.approx(float(transfer[j, 0, waves]) * -1e-3, rel=0.02, abs=2e-6)


def test_ctf_inverts_a_weak_phase(flat, still, textured):
    weak = 1e-3 * field(textured)
    model = Model(flat, (SIDE, SIDE), delta_beta=9.0, device="cpu")
    found = ctf(taken(weak, flat, still), model, limits=(1e-9, 1e-9))
    assert np.abs(found - weak).max() < 0.01 * np.abs(weak).max()
    one = Model(flat.first(1), (SIDE, SIDE), delta_beta=9.0, device="cpu")
    blind = ctf(taken(weak, flat, still)[:1], one)
    assert np.square(blind - weak).mean() > 4 * np.square(found - weak).mean()


def test_paganin_of_one_distance(flat, textured):
    """As `phase.paganin`, whose result is the transmission."""
    rng = np.random.default_rng(0)
    image = (1 + 0.05 * rng.standard_normal((2, SIDE, SIDE))).astype(np.float32)
    one = flat.first(1)
    model = Model(one, (SIDE, SIDE), delta_beta=9.0, device="cpu")
    found = paganin(image[None], model, limit=0.0)
    wanted = one_distance(
        image,
        distance=one.effective_distances[0],
        wavelength=one.wavelength,
        pixel_size=one.voxel_size,
        delta_beta=9.0,
        padding=0,
        device="cpu",
    )
    assert np.abs(found - 4.5 * np.log(wanted)).max() < 1e-5


def test_paganin_of_several_distances_of_a_smooth_object(flat, still):
    y, x = np.indices((SIDE, SIDE)) - 63.5
    smooth = -0.5 * np.exp(-(x**2 + y**2) / (2 * 12.0**2))[None]
    model = Model(flat, (SIDE, SIDE), delta_beta=9.0, device="cpu")
    found = paganin(taken(smooth, flat, still), model)
    assert np.abs(found - smooth).max() < 0.05


def test_refinement_finds_a_strong_phase(flat, still, textured):
    truth = field(textured)
    images = taken(truth, flat, still)
    model = Model(flat, (SIDE, SIDE), delta_beta=9.0, device="cpu")
    linear = ctf(images, model)
    found = refine(images, model, iterations=6, limits=(1e-5, 0.05), registrations=0)
    error, before = (np.sqrt(np.square(p - truth).mean()) for p in (found.phase, linear))
    assert error < 0.1 * before
    assert (np.diff(found.misfit) <= 0).all()
    assert found.misfit[-1] < 0.02 * found.misfit[0]
    assert found.phase.max() <= 0


def test_refinement_registers(optics, textured):
    """Distances off their places by up to half a pixel, with noise: found to a twentieth."""
    camera = dataclasses.replace(Camera(SIDE, 1e5).crime(), offset=0.3)
    flat = optics.without_magnification()
    holograms = expose(textured, flat, camera, finer=1, delta_beta=9.0, rng=2, device="cpu")
    model = Model(flat, (SIDE, SIDE), delta_beta=9.0, device="cpu")
    found = refine(holograms.images, model, iterations=6, registrations=5)
    assert np.abs(holograms.shifts).max() > 0.3
    assert np.abs(found.shifts - holograms.shifts)[1:].max() < 0.05
    assert not found.shifts[0].any()


def test_responses_are_those_of_pixels_and_blur(optics):
    """Of a wave, box means and Gaussian by hand; nothing beyond a coarser pixel's own limit."""
    found = responses(optics, (64, 64), source=30e-9, detector_blur=0.4)
    assert found[0, 0, 0] == pytest.approx(1)
    _, x = frequencies((64, 64), optics.voxel_size)
    f = float(x[0, 10])
    pixel = optics.pixel_sizes[2]
    source = 30e-9 / 2.3548 * (1 - optics.focus_distances[2] / 1.208)
    sigma = np.hypot(source, 0.4 * pixel)
    wanted = np.sinc(f * pixel) / np.sinc(f * optics.voxel_size) * np.exp(-2 * (np.pi * sigma * f) ** 2)
    assert float(found[2, 0, 10]) == pytest.approx(wanted, rel=1e-4)
    beyond = (x[0] > 0.5 / pixel).nonzero()
    assert len(beyond) and not found[2, 0, beyond].any()


def test_a_deviation_of_the_model_by_its_blur_is_undone(optics, textured):
    """With blur, magnification and all: knowing the blur brings the phase closer."""
    camera = dataclasses.replace(Camera(SIDE, float("inf")).crime(), detector_blur=0.5)
    from lowdose_utils.holography.align import rescale

    fine = np.repeat(np.repeat(textured, 2, 1), 2, 2)
    images = rescale(expose(fine, optics, camera, device="cpu").images, optics, device="cpu")
    truth = field(textured)
    errors = []
    for options in ({}, {"exact": True, "detector_blur": 0.5}):
        model = Model(optics, (SIDE, SIDE), delta_beta=9.0, device="cpu", **options)
        found = refine(images, model, limits=(1e-5, 0.05), registrations=0).phase
        errors.append(np.sqrt(np.square(found - truth).mean()))
    assert errors[1] < 0.7 * errors[0]


def test_numbers_and_tensors_and_parts(flat, still, textured):
    images = taken(field(textured), flat, still)
    model = Model(flat, (SIDE, SIDE), delta_beta=9.0, device="cpu")
    by_tensor = ctf(torch.from_numpy(images), model)
    assert isinstance(by_tensor, torch.Tensor)
    assert np.array_equal(by_tensor.numpy(), ctf(images, model))
    shifts = np.random.default_rng(0).normal(size=(4, 3, 2))
    _, together = next(model.in_parts(images, shifts, chunk=3))
    single = torch.cat([spectra for _, spectra in model.in_parts(images, shifts, chunk=1)], dim=1)
    assert torch.allclose(together, single, atol=1e-4)


def test_moving_there_and_back(flat, textured):
    model = Model(flat.first(1), (SIDE, SIDE), device="cpu")
    images = 1 + field(textured)[None]
    rolled = np.roll(images, (3, -2), (2, 3))
    shifts = np.broadcast_to([3.0, -2.0], (1, 3, 2))
    (_, back), (_, as_it_was) = (
        next(model.in_parts(some, by)) for some, by in ((rolled, shifts), (images, None))
    )
    assert torch.allclose(back, as_it_was, atol=1e-3)


@pytest.mark.parametrize(
    "wrong",
    [np.ones((3, 1, SIDE, SIDE)), np.ones((4, 1, 64, SIDE)), np.full((4, 1, SIDE, SIDE), np.nan)],
)
def test_images_that_do_not_fit(flat, wrong):
    model = Model(flat, (SIDE, SIDE), device="cpu")
    for method in (ctf, paganin, refine):
        with pytest.raises(LowdoseError, match="images"):
            method(wrong.astype(np.float32), model)


def test_other_input_that_does_not_fit(flat):
    images = np.ones((4, 1, SIDE, SIDE), np.float32)
    model = Model(flat, (SIDE, SIDE), device="cpu")
    with pytest.raises(LowdoseError, match="shifts"):
        ctf(images, model, shifts=np.zeros((4, 2, 2)))
    with pytest.raises(LowdoseError, match="limits"):
        ctf(images, model, limits=(0.0, 0.0))
    with pytest.raises(LowdoseError, match="start"):
        refine(images, model, start=np.zeros((1, 4, 4), np.float32))
    with pytest.raises(LowdoseError, match="iterations"):
        refine(images, model, iterations=-1)
    with pytest.raises(LowdoseError, match="delta_beta"):
        Model(flat, (SIDE, SIDE), delta_beta=0.0)
    with pytest.raises(LowdoseError, match="delta_beta"):
        paganin(images, Model(flat, (SIDE, SIDE), delta_beta=np.inf, device="cpu"))


class TestDescent:
    """Single holograms by the true gradient."""

    @pytest.fixture
    def strong(self, textured):
        return 4 * field(textured)[:1]

    def test_goes_down_and_fits(self, flat, still, strong):
        images = taken(strong, flat.first(1), still)[:, 0]
        model = Model(flat.first(1), (SIDE, SIDE), delta_beta=9.0, device="cpu")
        support = np.hypot(*(np.indices((SIDE, SIDE)) - 63.5)) < 20
        found = descend(images, model, iterations=60, support=support)
        assert (np.diff(found.misfit) <= 1e-12).all()
        assert found.misfit[-1] < 0.1 * found.misfit[0]
        assert not found.phase[~support].any()
        assert np.corrcoef(found.phase[support], strong[0][support])[0, 1] > 0.9
        assert np.isnan(found.left_out).all()
        assert np.square(images - found.modelled).mean() == pytest.approx(found.misfit[-1] ** 2, rel=1e-3)

    def test_the_step_is_the_gradient(self, flat, strong):
        """Against differences of the misfit, in double precision enough of it."""
        from lowdose_utils.holography.descend import _Descent

        rng = np.random.default_rng(0)
        model = Model(flat.first(2), (SIDE, SIDE), delta_beta=9.0, device="cpu")
        ones = torch.ones(SIDE, SIDE)
        solver = _Descent(torch.ones(2, SIDE, SIDE), model, (1e-2, 0.2), ones, ones)
        phase = torch.from_numpy(strong[0])
        way = torch.from_numpy(rng.standard_normal((SIDE, SIDE)).astype(np.float32)) * (phase < 0)
        slope = (solver.look(phase + 1e-3 * way).square - solver.look(phase - 1e-3 * way).square) / 2e-3
        # The step is the negative gradient over 4, divided by the metric: undo that.
        scaled = torch.fft.rfft2(solver.step(solver.look(phase))) * solver.divisor
        gradient = -4 * torch.fft.irfft2(scaled, s=(SIDE, SIDE))
        assert float((gradient * way).sum()) == pytest.approx(slope, rel=0.02)

    def test_pixels_left_out_are_not_used(self, flat, still, strong):
        images = taken(strong, flat.first(1), still)[:, 0]
        apart = np.random.default_rng(0).random((SIDE, SIDE)) < 0.05
        spoilt = images.copy()
        spoilt[:, apart] += 3.0
        model = Model(flat.first(1), (SIDE, SIDE), delta_beta=9.0, device="cpu")
        phases = [descend(one, model, iterations=5, left_out=apart).phase for one in (images, spoilt)]
        assert np.array_equal(*phases)

    def test_refuses(self, flat):
        model = Model(flat.first(1), (SIDE, SIDE), device="cpu")
        images = np.ones((1, SIDE, SIDE), np.float32)
        with pytest.raises(LowdoseError, match="support"):
            descend(images, model, support=np.zeros((SIDE, SIDE), bool))
        with pytest.raises(LowdoseError, match="seen"):
            descend(images, model, seen=np.ones((4, 4), bool))
