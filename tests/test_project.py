"""The projector: known transforms, exact transposition, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import radon

from lowdose_utils.errors import LowdoseError
from lowdose_utils.gridding import RecentlyUsed
from lowdose_utils.phantoms.blobs import blobs
from lowdose_utils.phantoms.ellipses import Ellipse, project_ellipses, rasterise
from lowdose_utils.phantoms.shepp_logan import shepp_logan
from lowdose_utils.project import Projector

HALF_TURN = np.linspace(0, np.pi, 60, endpoint=False)


def _inner_products(projector: Projector, seed: int) -> tuple[float, float, float]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(2, projector.size, projector.size, generator=generator, dtype=projector.dtype)
    sinograms = torch.randn(
        2, len(projector.angles), projector.columns, generator=generator, dtype=projector.dtype
    )
    projected = projector.forward(images)
    left = float((projected.double() * sinograms.double()).sum())
    right = float((images.double() * projector.adjoint(sinograms).double()).sum())
    return left, right, float(projected.double().norm() * sinograms.double().norm())


@given(
    size=st.integers(2, 40),
    columns=st.integers(2, 50),
    shift=st.floats(-8, 8),
    width=st.integers(2, 6),
    count=st.integers(1, 20),
    seed=st.integers(0, 99),
)
@settings(max_examples=15, deadline=None)
def test_adjoint_is_the_exact_transpose(size, columns, shift, width, count, seed):
    angles = np.random.default_rng(seed).uniform(-5, 5, count)
    axis = float(np.clip((columns - 1) / 2 + shift, 0, columns - 1))
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        projector = Projector(
            angles, size, columns=columns, axis=axis, kernel_width=width, device="cpu", dtype=dtype
        )
        left, right, scale = _inner_products(projector, seed)
        assert abs(left - right) <= tolerance * scale


@pytest.mark.parametrize("size", [96, 97])
@pytest.mark.parametrize(("columns", "axis"), [(None, None), (120, 50.3), (141, 88.0)])
def test_smooth_blobs_have_their_known_projections(size, columns, axis):
    phantom = blobs(12, sigma=(0.05, 0.12), rng=3)
    angles = np.random.default_rng(0).uniform(-4, 4, 25)
    projector = Projector(angles, size, columns=columns, axis=axis, device="cpu")
    found = projector.forward(phantom.image(size)[None])[0]
    truth = phantom.projections(size, angles, columns=columns, axis=axis)
    assert np.abs(found - truth).max() < 2e-3 * truth.max()
    assert np.vdot(found, truth) / np.vdot(truth, truth) == pytest.approx(1, abs=5e-4)


def test_wider_kernel_on_a_finer_grid_is_exact_to_five_digits():
    phantom = blobs(12, sigma=(0.06, 0.12), rng=3)
    projector = Projector(HALF_TURN, 128, kernel_width=8, oversampling=2.0, device="cpu", dtype=torch.float64)
    found = projector.forward(torch.from_numpy(phantom.image(128)[None]))[0].numpy()
    truth = phantom.projections(128, HALF_TURN)
    assert np.abs(found - truth).max() < 1e-5 * truth.max()


def test_disc_and_turned_ellipse_are_measured_in_pixels():
    shapes = [Ellipse(1.0, 0.2, -0.1, 0.5, 0.3, 0.7), Ellipse(0.5, -0.4, 0.4, 0.2, 0.2)]
    image = rasterise(shapes, 128, supersample=8)
    truth = project_ellipses(shapes, 128, HALF_TURN)
    found = Projector(HALF_TURN, 128, device="cpu").forward(image[None])[0]
    assert np.vdot(found, truth) / np.vdot(truth, truth) == pytest.approx(1, abs=2e-3)
    assert np.sqrt(np.mean((found - truth) ** 2)) < 5e-3 * truth.max()
    # The mass of the image is in every projection.
    assert found.sum(axis=1) == pytest.approx(np.full(60, image.sum()), rel=5e-3)


def test_a_single_bright_pixel_lands_where_the_convention_says():
    image = np.zeros((1, 33, 33))
    image[0, 4, 20] = 1  # x = 4, y = 12
    sinogram = Projector([0.0, np.pi / 2, np.pi], 33, device="cpu").forward(image)[0]
    assert list(sinogram.argmax(axis=1)) == [16 + 4, 16 + 12, 16 - 4]


def test_agrees_with_scikit_image():
    image = shepp_logan(127)
    theirs = radon(image, theta=np.rad2deg(HALF_TURN), circle=True).T
    ours = Projector(HALF_TURN, 127, device="cpu").forward(image[None])[0]
    # skimage's circle turns about pixel 127 // 2 = 63, which is the middle.
    assert np.vdot(ours, theirs) / np.vdot(theirs, theirs) == pytest.approx(1, abs=5e-3)
    assert np.sqrt(np.mean((ours - theirs) ** 2)) < 0.01 * theirs.max()


@given(count=st.integers(1, 5), a=st.floats(-3, 3), seed=st.integers(0, 9))
@settings(max_examples=10, deadline=None)
def test_linear_and_each_slice_on_its_own(count, a, seed):
    rng = np.random.default_rng(seed)
    projector = Projector(HALF_TURN, 24, columns=31, device="cpu")
    first, second = rng.normal(size=(2, count, 24, 24))
    both = projector.forward(a * first + second)
    assert both.shape == (count, 60, 31) and both.dtype == np.float32
    assert both == pytest.approx(a * projector.forward(first) + projector.forward(second), abs=2e-3)
    assert both[-1:] == pytest.approx(projector.forward(a * first[-1:] + second[-1:]), abs=1e-3)


def test_long_stacks_are_cut_into_chunks_without_a_trace(monkeypatch):
    images = np.random.default_rng(0).normal(size=(7, 20, 20))
    projector = Projector(HALF_TURN, 20, device="cpu")
    at_once = projector.forward(images)
    monkeypatch.setattr(
        "lowdose_utils.project.projector._CHUNK_SAMPLES", {"cpu": 60 * projector.frequencies * 3}
    )
    assert projector.forward(images) == pytest.approx(at_once, abs=1e-4)


def test_tensors_come_back_as_tensors():
    images = torch.zeros(1, 16, 16)
    sinograms = Projector(HALF_TURN, 16, device="cpu").forward(images)
    assert isinstance(sinograms, torch.Tensor) and sinograms.device == images.device


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros((16, 16)), "leading dimension"),
        (np.zeros((1, 16, 17)), "(slice, 16, 16)"),
        (np.zeros((0, 16, 16)), "shape"),
        (np.full((1, 16, 16), np.nan), "NaN"),
        (np.zeros((1, 16, 16), complex), "complex"),
    ],
)
def test_bad_images_are_refused(given, words):
    with pytest.raises(LowdoseError) as raised:
        Projector(HALF_TURN, 16, device="cpu").forward(given)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 1},
        {"size": 16.5},
        {"angles": [[0.0]]},
        {"angles": []},
        {"angles": [0.0, np.nan]},
        {"axis": 400.0},
        {"kernel_width": 1},
        {"padding": 0.5},
        {"device": "abacus"},
    ],
)
def test_bad_geometry_is_refused(wrong):
    with pytest.raises(LowdoseError):
        Projector(**{"angles": HALF_TURN, "size": 16, **wrong})


def test_cache_keeps_what_was_used_last_within_its_bytes():
    cache = RecentlyUsed(limit=100)
    built: list[str] = []

    def build(name: str, count: int) -> torch.Tensor:
        return cache.get((name,), lambda: built.append(name) or torch.zeros(count, dtype=torch.uint8))

    build("a", 40), build("b", 40), build("a", 40), build("c", 40), build("a", 40), build("b", 40)
    assert built == ["a", "b", "c", "b"]
    assert build("too large", 101).numel() == 101
    build("too large", 101)
    assert built[-2:] == ["too large", "too large"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_the_cpu():
    images = np.random.default_rng(0).normal(size=(3, 64, 64))
    on_cpu, on_gpu = (Projector(HALF_TURN, 64, columns=70, device=name) for name in ("cpu", "cuda"))
    sinograms = on_cpu.forward(images)
    assert on_gpu.forward(images) == pytest.approx(sinograms, abs=1e-4 * np.abs(sinograms).max())
    back = on_cpu.adjoint(sinograms)
    assert on_gpu.adjoint(sinograms) == pytest.approx(back, abs=1e-4 * np.abs(back).max())
