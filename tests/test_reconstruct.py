"""Reconstruction: known truths, scale, geometry, convergence, refusals."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import iradon

from lowdose_utils.errors import LowdoseError
from lowdose_utils.phantoms.blobs import blobs
from lowdose_utils.phantoms.ellipses import Ellipse, project_ellipses, rasterise
from lowdose_utils.phantoms.foam import foam
from lowdose_utils.project import Projector
from lowdose_utils.reconstruct import angular_weights, cgls, fbp, filter_response, sirt, tv_min
from lowdose_utils.reconstruct.normal import ExactNormal, ToeplitzNormal
from lowdose_utils.reconstruct.tv import differences, differences_adjoint

HALF_TURN = np.linspace(0, np.pi, 180, endpoint=False)
SMOOTH = blobs(12, sigma=(0.04, 0.12), rng=1)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Arrays this small gain nothing from threads, which wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def circle(size: int, radius: float = 0.95) -> np.ndarray:
    across = np.arange(size) - (size - 1) / 2
    return np.hypot(across[:, None], across) < radius * size / 2


def psnr(found: np.ndarray, truth: np.ndarray) -> float:
    inside = circle(len(truth))
    return 10 * np.log10(truth.max() ** 2 / np.mean((found - truth)[inside] ** 2))


def gain(found: np.ndarray, truth: np.ndarray) -> float:
    return np.vdot(found, truth) / np.vdot(truth, truth)


@pytest.mark.parametrize(("size", "columns", "axis"), [(128, 128, None), (127, 160, 70.25), (96, 131, 71.0)])
def test_fbp_restores_smooth_blobs(size, columns, axis):
    sinogram = SMOOTH.projections(size, HALF_TURN, columns=columns, axis=axis)
    found = fbp(sinogram[None], HALF_TURN, size=size, axis=axis, device="cpu")[0]
    truth = SMOOTH.image(size)
    assert psnr(found, truth) > 60
    assert gain(found, truth) == pytest.approx(1, abs=1e-3)


def test_fbp_restores_sharp_discs_in_scale():
    discs = [
        Ellipse(1.0, 0.0, 0.0, 0.8, 0.8),
        Ellipse(-0.6, 0.3, 0.2, 0.3, 0.3),
        Ellipse(0.5, -0.4, 0, 0.2, 0.2),
    ]
    found = fbp(
        project_ellipses(discs, 256, np.linspace(0, np.pi, 361)[:-1])[None], np.linspace(0, np.pi, 361)[:-1]
    )
    truth = rasterise(discs, 256, supersample=8)
    assert psnr(found[0], truth) > 36
    assert gain(found[0], truth) == pytest.approx(1, abs=5e-3)


def test_pixel_size_gives_attenuation_per_length():
    sinogram = SMOOTH.projections(64, HALF_TURN)[None]
    metres = fbp(sinogram, HALF_TURN, pixel_size=1e-6)
    assert metres * 1e-6 == pytest.approx(fbp(sinogram, HALF_TURN), abs=1e-4)


def test_order_of_angles_and_half_turns_do_not_matter():
    rng = np.random.default_rng(0)
    angles = rng.permutation(HALF_TURN) + np.pi * rng.integers(-3, 4, 180)
    found = fbp(SMOOTH.projections(96, angles)[None], angles)[0]
    assert psnr(found, SMOOTH.image(96)) > 60


def test_uneven_angles_are_weighted():
    dense, sparse = np.linspace(0, 1, 200, endpoint=False), np.linspace(1, np.pi, 140, endpoint=False)
    angles = np.concatenate([dense, sparse])
    sinogram = SMOOTH.projections(96, angles)[None]
    assert psnr(fbp(sinogram, angles)[0], SMOOTH.image(96)) > 45


def test_weights_share_and_add_up():
    assert angular_weights(HALF_TURN) == pytest.approx(np.full(180, np.pi / 180))
    both_ends = angular_weights(np.linspace(0, np.pi, 11))
    assert both_ends[[0, -1]] == pytest.approx(np.pi / 20) and both_ends[5] == pytest.approx(np.pi / 10)
    full_turn = angular_weights(np.linspace(0, 2 * np.pi, 360, endpoint=False))
    assert full_turn == pytest.approx(np.full(360, np.pi / 360))
    assert angular_weights([0.7]) == pytest.approx([np.pi])


def test_a_missing_wedge_is_not_given_to_its_neighbours():
    tilts = np.deg2rad(np.arange(-60, 61))
    assert angular_weights(tilts) == pytest.approx(np.full(121, np.pi / 180))


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=40))
@settings(max_examples=50, deadline=None)
def test_weights_are_never_negative_nor_more_than_half_a_turn(angles):
    weights = angular_weights(angles)
    assert (weights >= 0).all() and weights.sum() <= np.pi * (1 + 1e-9)


def test_filters():
    frequency = np.fft.rfftfreq(512)
    ramp = filter_response(512, "ramp")
    assert ramp[5:] == pytest.approx(frequency[5:], rel=1e-2)
    assert 0 < ramp[0] < 1 / 512  # the sampled ramp's mean, which keeps the zero of a padded sinogram right
    # At half the highest frequency: TomoPy's and scikit-image's windows.
    expected = {"shepp-logan": 2**1.5 / np.pi, "cosine": 2**-0.5, "hann": 0.5, "parzen": 0.25}
    expected["parzen-gridrec"] = 0.125
    for name, value in expected.items():
        window = filter_response(512, name) / ramp
        assert window[0] == pytest.approx(1) and window[128] == pytest.approx(value)
        assert (np.diff(window) < 1e-12).all()
    assert filter_response(512, "hann")[-1] == pytest.approx(0, abs=1e-12)
    assert (filter_response(512, None) == 1).all()


def test_without_a_filter_it_is_the_weighted_adjoint():
    sinogram = SMOOTH.projections(64, HALF_TURN)[None]
    plain = Projector(HALF_TURN, 64, device="cpu").adjoint(sinogram) * np.pi / 180
    assert fbp(sinogram, HALF_TURN, filter=None, device="cpu") == pytest.approx(plain, rel=1e-3, abs=0.01)


def test_agrees_with_scikit_image():
    sinogram = SMOOTH.projections(127, HALF_TURN)
    theirs = iradon(sinogram.T, theta=np.rad2deg(HALF_TURN), filter_name="hann", circle=True)
    ours = fbp(sinogram[None], HALF_TURN, filter="hann")[0]
    inside = circle(127, 0.9)
    assert np.sqrt(np.mean((ours - theirs)[inside] ** 2)) < 0.01
    assert gain(ours[inside], theirs[inside]) == pytest.approx(1, abs=5e-3)


def test_double_precision_in_double_precision_out():
    sinogram = torch.from_numpy(SMOOTH.projections(64, HALF_TURN)[None])
    found = fbp(sinogram, HALF_TURN)
    assert found.dtype == torch.float64
    assert found.numpy() == pytest.approx(fbp(sinogram.numpy(), HALF_TURN), abs=1e-5)


def _residual(images, sinograms, angles):
    return np.linalg.norm(Projector(angles, images.shape[-1]).forward(images) - sinograms)


@pytest.mark.parametrize("method", [sirt, cgls])
def test_more_iterations_fit_consistent_data_better(method):
    angles = HALF_TURN[::4]
    truth = np.stack([SMOOTH.image(48), foam(10, smallest=0.1, radius=0.7, rng=0).volume(48)[0]])
    sinograms = Projector(angles, 48).forward(truth)
    residuals = [
        _residual(method(sinograms, angles, iterations=count), sinograms, angles)
        for count in (1, 2, 4, 8, 16)
    ]
    assert (np.diff(residuals) < 0).all()
    assert residuals[-1] < 0.1 * np.linalg.norm(sinograms)


def test_cgls_reaches_the_truth_of_complete_data():
    sinograms = SMOOTH.projections(64, HALF_TURN)[None]
    for normal in ("exact", "toeplitz"):
        found = cgls(sinograms, HALF_TURN, iterations=25, normal=normal, pixel_size=0.5)
        assert psnr(found[0] * 0.5, SMOOTH.image(64)) > 45


def test_slices_do_not_disturb_each_other():
    sinograms = np.stack([SMOOTH.projections(40, HALF_TURN), 0.01 * SMOOTH.projections(40, HALF_TURN)[::-1]])
    for method in (lambda s: cgls(s, HALF_TURN, iterations=5), lambda s: tv_min(s, HALF_TURN, 0.01).images):
        alone = method(sinograms[1:])
        assert method(sinograms)[1:] == pytest.approx(alone, abs=0.02 * float(alone.max()))


def test_sirt_without_negatives():
    noisy = SMOOTH.projections(40, HALF_TURN)[None] + np.random.default_rng(0).normal(0, 1, (1, 180, 40))
    seen: list[int] = []
    found = sirt(noisy, HALF_TURN, iterations=5, nonnegative=True, callback=lambda i, _: seen.append(i))
    assert found.min() == 0 and sirt(noisy, HALF_TURN, iterations=5).min() < 0
    assert seen == [1, 2, 3, 4, 5]


def test_convolution_equals_projecting_and_back_projecting_inside_the_field():
    projector = Projector(HALF_TURN, 96, kernel_width=8, oversampling=2.0, device="cpu", dtype=torch.float64)
    image = torch.from_numpy(SMOOTH.image(96)[None])
    exact, quick = ExactNormal(projector)(image), ToeplitzNormal(projector)(image)
    assert float((exact - quick).norm() / exact.norm()) < 1e-3


def test_differences_and_their_transpose():
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, 9, 7, generator=generator, dtype=torch.float64)
    steps = torch.randn(2, 2, 9, 7, generator=generator, dtype=torch.float64)
    left, right = (differences(image) * steps).sum(), (image * differences_adjoint(steps)).sum()
    assert float(left) == pytest.approx(float(right))
    assert differences(torch.ones(1, 4, 4)).abs().sum() == 0


def _slow_minimum(projector: Projector, data: np.ndarray, weight: float) -> float:
    """Chambolle and Pock's algorithm on dense matrices: slow, and nothing in common with `tv_min`."""
    count = projector.size**2
    images = torch.eye(count, dtype=torch.float64).view(count, projector.size, projector.size)
    views = len(projector.angles)
    matrix = projector.forward(images).flatten(1).T / views**0.5
    gradient = differences(images).flatten(1).T
    wanted = torch.from_numpy(data).flatten() / views**0.5
    step = 1 / float(torch.linalg.matrix_norm(matrix, 2) ** 2 + 8) ** 0.5
    # The step of the image may be longer than that of the duals, as long as the product stays.
    longer = 3.0
    x = bar = torch.zeros(count, dtype=torch.float64)
    p, q = torch.zeros_like(wanted), gradient @ x
    for _ in range(3000):
        p = (p + step / longer * (matrix @ bar - wanted)) / (1 + step / longer)
        q = (q + step / longer * (gradient @ bar)).view(2, -1)
        q = (q / (q.norm(dim=0) / weight).clamp(min=1)).flatten()
        before, x = x, x - step * longer * (matrix.T @ p + gradient.T @ q)
        bar = 2 * x - before
    lengths = (gradient @ x).view(2, -1).norm(dim=0)
    return float(((matrix @ x - wanted) ** 2).sum() / 2 + weight * lengths.sum())


@pytest.mark.parametrize("normal", ["toeplitz", "exact"])
def test_total_variation_converges_to_the_minimum(normal):
    angles = HALF_TURN[::9]
    sinogram = project_ellipses([Ellipse(1.0, 0.1, 0.1, 0.5, 0.4)], 16, angles)
    sinogram += np.random.default_rng(0).normal(0, 0.3, sinogram.shape)
    projector = Projector(angles, 16, kernel_width=6, device="cpu", dtype=torch.float64)
    least = _slow_minimum(projector, sinogram, 0.1)
    data = torch.from_numpy(sinogram[None])
    found = tv_min(data, angles, 0.1, tolerance=1e-5, iterations=1000, normal=normal, device="cpu")
    assert found.converged
    assert found.objective[0] == pytest.approx(least, rel=5e-3)
    loose = tv_min(data, angles, 0.1, normal=normal, device="cpu")
    assert loose.converged and loose.iterations < found.iterations
    assert loose.objective[0] == pytest.approx(found.objective[0], rel=5e-3)


def test_total_variation_beats_fbp_on_few_noisy_views():
    angles = HALF_TURN[::4]
    phantom = foam(12, smallest=0.1, radius=0.8, rng=0)
    sinograms = phantom.projections(96, angles)
    sinograms = sinograms + np.random.default_rng(0).normal(0, 0.01 * sinograms.max(), sinograms.shape)
    truth = phantom.volume(96)[0]
    found = tv_min(sinograms, angles, 0.05)
    assert psnr(found.images[0], truth) > psnr(fbp(sinograms, angles)[0], truth) + 5


def test_exact_normal_serves_interior_tomography():
    """A ring around the field of view: cut projections, for which the convolution is wrong."""
    shapes = [Ellipse(1.0, 0.0, 0.0, 0.95, 0.95), Ellipse(0.5, 0.1, 0.0, 0.2, 0.2)]
    angles = HALF_TURN[::3]
    cut = project_ellipses(shapes, 48, angles, columns=28)[None]
    truth = rasterise(shapes, 48)
    inside = circle(48, 0.45)
    errors = [
        np.abs(tv_min(cut, angles, 0.02, size=48, normal=normal, iterations=300).images[0] - truth)[
            inside
        ].mean()
        for normal in ("exact", "toeplitz")
    ]
    assert errors[0] < 0.05 and errors[1] > 4 * errors[0]


def test_tv_says_when_it_has_not_converged():
    found = tv_min(SMOOTH.projections(32, HALF_TURN)[None], HALF_TURN, 0.1, iterations=2, tolerance=1e-6)
    assert not found.converged and found.iterations == 2 and found.change >= 1e-6


@pytest.mark.parametrize(
    "wrong",
    [
        {"sinograms": np.zeros((180, 32))},
        {"sinograms": np.zeros((1, 179, 32))},
        {"sinograms": np.full((1, 180, 32), np.inf)},
        {"angles": np.full(180, np.nan)},
        {"axis": 1e9},
        {"pixel_size": 0.0},
        {"size": 0},
    ],
)
def test_bad_input_is_refused_by_all(wrong):
    given = {"sinograms": np.zeros((1, 180, 32)), "angles": HALF_TURN, **wrong}
    for method in (fbp, sirt, cgls, lambda **known: tv_min(weight=0.1, **known)):
        with pytest.raises(LowdoseError):
            method(**given)


def test_bad_options_are_refused():
    sinograms = np.zeros((1, 180, 16))
    for call in (
        lambda: fbp(sinograms, HALF_TURN, filter="butter"),
        lambda: fbp(sinograms, HALF_TURN, backend="matlab"),
        lambda: cgls(sinograms, HALF_TURN, iterations=0),
        lambda: cgls(sinograms, HALF_TURN, normal="dense"),
        lambda: tv_min(sinograms, HALF_TURN, 0.0),
        lambda: tv_min(sinograms, HALF_TURN, 1.0, tolerance=0.0),
    ):
        with pytest.raises(LowdoseError):
            call()


def test_empty_sinograms_give_empty_images():
    nothing = np.zeros((1, 180, 16))
    for images in (
        fbp(nothing, HALF_TURN),
        sirt(nothing, HALF_TURN, iterations=2),
        cgls(nothing, HALF_TURN, iterations=2),
        tv_min(nothing, HALF_TURN, 0.1, iterations=3).images,
    ):
        assert (images == 0).all()


@pytest.mark.skipif(importlib.util.find_spec("tomopy") is not None, reason="TomoPy is installed")
def test_missing_tomopy_is_named_with_the_way_to_get_it():
    with pytest.raises(LowdoseError, match="conda-forge"):
        fbp(np.zeros((1, 180, 16)), HALF_TURN, backend="tomopy")


def test_tomopy_agrees_with_torch():
    pytest.importorskip("tomopy")
    for size, axis in ((128, None), (127, 60.5)):
        sinogram = SMOOTH.projections(size, HALF_TURN, axis=axis)[None]
        theirs = fbp(sinogram, HALF_TURN, axis=axis, backend="tomopy")[0]
        assert psnr(theirs, fbp(sinogram, HALF_TURN, axis=axis)[0]) > 35


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_the_cpu():
    sinograms = SMOOTH.projections(64, HALF_TURN)[None]
    for method in (fbp, cgls, sirt, lambda *a, **k: tv_min(*a, 0.05, **k).images):
        on_cpu, on_gpu = (method(sinograms, HALF_TURN, device=name) for name in ("cpu", "cuda"))
        assert on_gpu == pytest.approx(on_cpu, abs=5e-3)
