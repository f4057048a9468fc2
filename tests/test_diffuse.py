"""Non-linear anisotropic diffusion against closed forms, symmetries and what each tensor must do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lowdose_utils.diffuse import diffuse
from lowdose_utils.errors import LowdoseError

few = settings(max_examples=8, deadline=None)
everywhere = pytest.mark.parametrize("method", ["linear", "eed", "ced", "hybrid"])
both = pytest.mark.parametrize("dimensions", [2, 3])


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def run(volume, method="eed", **options):
    return diffuse(volume, method, device="cpu", **options)


@everywhere
@both
def test_constants_are_kept_even_where_levels_are_found_in_them(method, dimensions):
    constant = np.full((3, 8, 9), 7.25, np.float32)
    assert np.array_equal(run(constant, method, dimensions=dimensions, iterations=3), constant)


@everywhere
@both
def test_the_mean_is_kept_and_the_sum_of_squares_never_grows(method, dimensions):
    volume = noise(4, 12, 15) + torch.linspace(-3, 3, 15, dtype=torch.float64)
    squares = [float((volume**2).sum())]
    for _ in range(4):  # levels given, so that each call goes on where the last ended
        after = run(
            volume, method, dimensions=dimensions, contrast=1.0, coherence=0.3, iterations=1, step=0.5
        )
        if dimensions == 2:
            assert after.mean(dim=(1, 2)) == pytest.approx(volume.mean(dim=(1, 2)), abs=1e-13)
        assert float(after.mean()) == pytest.approx(float(volume.mean()), abs=1e-13)
        volume = after
        squares.append(float((volume**2).sum()))
    assert (np.diff(squares) < 0).all()


@both
def test_without_structure_it_is_a_gaussian_blur_of_variance_2t(dimensions):
    z, y, x = np.ogrid[-20:21, -20:21, -20:21]
    squares = (y**2 + x**2 + (z**2 if dimensions == 3 else 0 * z))[
        slice(None) if dimensions == 3 else slice(1)
    ]
    start = torch.from_numpy(np.exp(-squares / (2 * 12.0)))
    expected = 0.5 ** (dimensions / 2) * np.exp(-squares / (2 * 24.0))
    found = run(start, "linear", dimensions=dimensions, iterations=30, step=0.2).numpy()
    # The stencil's own error, of fourth derivatives, is about 2 and 4 % of the peak.
    assert np.abs(found - expected).max() < 0.02 * (dimensions - 1) * expected.max()
    # A contrast that no gradient reaches makes EED linear.
    eed = run(start, "eed", dimensions=dimensions, contrast=1e3, iterations=30, step=0.2).numpy()
    assert eed == pytest.approx(found, abs=1e-12)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_second_moments_grow_by_exactly_2t(dimensions):
    point = torch.zeros(21, 21, 21, dtype=torch.float64)
    point[10, 10, 10] = 1
    found = run(point, "linear", dimensions=dimensions, iterations=8, step=0.5)
    offset = torch.arange(-10, 11, dtype=torch.float64)
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        moment = float((found.sum(dim=others) * offset**2).sum())
        assert moment == pytest.approx(0 if dimensions == 2 and axis == 0 else 2 * 8 * 0.5, abs=1e-9)


@both
def test_the_longest_step_is_stable_and_the_bound_is_tight(dimensions):
    # Stripes of one pixel are the mode of the largest eigenvalue: at the bound they flip their sign.
    stripes = torch.tensor([1.0, -1.0], dtype=torch.float64).tile(6).expand(12, 12, 12)
    once = run(stripes, "linear", dimensions=dimensions, iterations=1, step=0.5)
    assert once[..., 1:-1] == pytest.approx(-stripes[..., 1:-1], abs=1e-12)  # the border is another mode
    for step in (0.5001, 0.0, -0.1, float("nan")):
        with pytest.raises(LowdoseError, match="unstable"):
            run(stripes, dimensions=dimensions, step=step)


def test_checkerboards_do_not_escape():
    y, x = np.indices((12, 12))
    board = torch.from_numpy((-1.0) ** (y + x))[None]
    assert float(run(board, "linear", iterations=40).abs().max()) < 0.05


@pytest.mark.parametrize("tilt", [0.0, 0.5, 1.0])
def test_eed_keeps_a_step_while_it_smooths_beside_and_along(tilt):
    y, x = np.indices((48, 48)) - 23.5
    distance = (x + tilt * y) / np.hypot(1, tilt)
    clean = torch.from_numpy(10 * np.clip(distance + 0.5, 0, 1))[None]
    noisy = clean + 0.5 * noise(1, 48, 48, seed=1)
    eed = run(noisy, noise_region=np.s_[36:, 36:], iterations=40)
    blurred = run(noisy, "linear", iterations=40)
    assert float((eed - clean)[0][np.abs(distance) > 6].std()) < 0.1  # of 0.5

    def height(image: torch.Tensor) -> float:
        near = (np.abs(distance) > 1) & (np.abs(distance) < 2)
        return float(image[0][near & (distance > 0)].mean() - image[0][near & (distance < 0)].mean())

    assert height(eed) > 9.5 and height(blurred) < 4
    if tilt == 0:  # a column beside the edge has become even, and stayed what it was
        column = eed[0, 4:-4, 23]
        assert float(column.std()) < 0.25 and float(column.mean()) == pytest.approx(0, abs=0.5)


def test_eed_at_a_perfect_step_lets_nothing_through():
    step = torch.zeros(1, 12, 16, dtype=torch.float64)
    step[..., 8:] = 1
    step[:, 3, 12] += 0.01
    found = run(step, noise_scale=0, contrast=0.1, iterations=50)
    assert float(found[..., :8].abs().max()) < 3e-6  # g at ten times the contrast is 3e-8
    assert float(found[..., 8:].sum()) == pytest.approx(96.01, abs=1e-4)
    assert float(found[..., 8:].max()) < 1.001


def test_ced_smooths_along_stripes_and_not_across():
    y, x = np.indices((48, 48))
    stripes = torch.from_numpy(5 * np.sin(2 * np.pi * (x + y) / 16))[None]
    noisy = stripes + 0.8 * noise(1, 48, 48, seed=2)
    found = run(noisy, "ced", coherence=0.1, iterations=30)[0, 8:-8, 8:-8]
    error = found - stripes[0, 8:-8, 8:-8]
    blurred = run(noisy, "linear", iterations=30)[0, 8:-8, 8:-8]
    kept = [
        float((image * stripes[0, 8:-8, 8:-8]).sum() / (stripes[0, 8:-8, 8:-8] ** 2).sum())
        for image in (found, blurred)
    ]
    assert kept[0] > 0.97 and kept[1] < 0.4
    assert float(error.std()) < 0.35
    # Along the stripes neighbours have become alike.
    assert float((found[1:, :-1] - found[:-1, 1:]).std()) < 0.15


def test_ced_closes_a_gap_that_eed_leaves():
    line = torch.zeros(1, 40, 40, dtype=torch.float64)
    line[:, 19:22] = 1
    line[:, :, 19:22] = 0
    options = {"iterations": 40, "contrast": 0.05, "coherence": 1e-3}
    ced, eed, hybrid = (float(run(line, method, **options)[0, 20, 20]) for method in ("ced", "eed", "hybrid"))
    assert ced > 0.5 > 0.2 > eed
    assert hybrid > 0.5


def test_hybrid_is_ced_on_structure_and_eed_off_it():
    y, x = np.indices((40, 80))
    image = torch.from_numpy(np.where(x < 40, 5 * np.sin(2 * np.pi * y / 10), 0.0))[None] + 0.3 * noise(
        1, 40, 80
    )
    options = {"integration_scale": 2.0, "contrast": 2.0, "coherence": 0.05, "iterations": 1}
    region = np.s_[:, 60:]
    ced, eed = (run(image, method, **options) for method in ("ced", "eed"))
    hybrid = run(image, "hybrid", noise_region=region, **options)
    assert torch.allclose(hybrid[..., 5:30], ced[..., 5:30]) and not torch.allclose(hybrid, eed)
    quiet = hybrid[..., 60:]
    assert float((quiet == eed[..., 60:]).double().mean()) > 0.1
    assert float((ced - eed)[..., 60:].abs().max()) > 0.01


@everywhere
def test_a_stack_is_its_slices_one_by_one(method, monkeypatch):
    stack = noise(5, 14, 11) * torch.arange(1, 6)[:, None, None]
    whole = run(stack, method, iterations=3)
    for image, result in zip(stack, whole, strict=True):
        assert run(image[None], method, iterations=3)[0] == pytest.approx(result, abs=1e-13)
    monkeypatch.setattr("lowdose_utils.diffuse.diffusion._CHUNK", 2 * 14 * 11)
    assert run(stack, method, iterations=3) == pytest.approx(whole, abs=1e-13)


@everywhere
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_volume_constant_along_an_axis_diffuses_as_its_slice(method, axis):
    image = 2 * noise(13, 16, seed=3)
    options = {"contrast": 1.5, "coherence": 0.3, "integration_scale": 1.5, "iterations": 4}
    volume = image.unsqueeze(axis).repeat_interleave(6, dim=axis)
    solid = run(volume, method, dimensions=3, **options)
    # The hybrid compares mu_1 - mu_3 in 3-D, which is mu_1 here, and mu_1 - mu_2 in 2-D.
    expected = solid.select(axis, 0) if method == "hybrid" else run(image[None], method, **options)[0]
    assert solid == pytest.approx(expected.unsqueeze(axis).expand_as(solid), abs=1e-8)


@everywhere
@both
def test_borders_are_mirrors(method, dimensions):
    volume = noise(3, 9, 10, seed=4)
    options = {"dimensions": dimensions, "contrast": 1.0, "coherence": 0.3, "iterations": 3}
    if method == "hybrid":  # whose mean over the image weights the cells at the mirror otherwise
        options["noise_region"] = [slice(0, side) for side in volume.shape[-dimensions:]]
    doubled = run(torch.cat([volume, volume.flip(2)], dim=2), method, **options)
    assert doubled[..., :10] == pytest.approx(run(volume, method, **options), abs=1e-9)


@everywhere
@few
@given(st.floats(0.01, 100), st.sampled_from([-1, 1]), st.floats(-50, 50))
def test_scale_sign_and_offset_do_not_matter_to_automatic_levels(method, scale, sign, offset):
    image = noise(2, 16, 16, seed=5)
    options = {"noise_region": np.s_[2:12, 1:15], "iterations": 3}
    expected = scale * sign * run(image, method, **options) + offset
    found = run(scale * sign * image + offset, method, **options)
    assert found == pytest.approx(expected, abs=1e-9 * (scale + abs(offset)))


@everywhere
@both
def test_axes_may_be_swapped_and_reversed(method, dimensions):
    volume = noise(6, 9, 10, seed=6)
    options = {"dimensions": dimensions, "iterations": 2, "integration_scale": 1.0}
    found = run(volume, method, **options)
    assert run(volume.flip(2), method, **options) == pytest.approx(found.flip(2), abs=1e-9)
    assert run(volume.mT, method, **options) == pytest.approx(found.mT, abs=1e-9)


@everywhere
@both
def test_float32_agrees_with_float64_and_the_kind_is_kept(method, dimensions):
    volume = noise(4, 14, 15, seed=7)
    before = volume.clone()
    exact = run(volume, method, dimensions=dimensions, contrast=1.0, coherence=0.3, iterations=5)
    single = run(volume.numpy(), method, dimensions=dimensions, contrast=1.0, coherence=0.3, iterations=5)
    assert isinstance(single, np.ndarray) and single.dtype == np.float32 and exact.dtype == torch.float64
    # The hybrid's switch may turn over by rounding, in single cells.
    assert np.quantile(np.abs(single - exact.numpy()), 0.98) < (1e-4 if method == "hybrid" else 2e-5)
    assert torch.equal(volume, before)


def test_the_noise_region_sets_the_levels():
    image = noise(1, 40, 40, seed=8)
    image[:, :, 20:] *= 20
    quiet = run(image, noise_region=np.s_[:, :18], iterations=20)
    loud = run(image, noise_region=np.s_[:, 22:], iterations=20)
    assert float(loud[..., 24:].std()) < 0.3 * float(quiet[..., 24:].std())
    assert float(quiet[..., :18].std()) < 0.4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "perona"}, "method"),
        ({"dimensions": 4}, "dimensions"),
        ({"iterations": -1}, "iterations"),
        ({"iterations": 2.5}, "iterations"),
        ({"contrast": -1.0}, "contrast"),
        ({"coherence": float("nan")}, "coherence"),
        ({"noise_scale": -1.0}, "noise_scale"),
        ({"integration_scale": float("inf")}, "integration_scale"),
        ({"noise_region": np.s_[0:5]}, "noise_region"),
        ({"noise_region": np.s_[0:5, 3:4]}, "noise_region"),
        ({"noise_region": np.s_[0:5, 50:60]}, "noise_region"),
        ({"noise_region": np.s_[0:5, 0:6:2]}, "noise_region"),
        ({"noise_region": np.s_[0:5, 0:5], "dimensions": 3}, "noise_region"),
        ({"device": "abacus"}, "device"),
    ],
)
def test_bad_options_are_refused(options, words):
    with pytest.raises(LowdoseError, match=words):
        diffuse(np.zeros((2, 8, 8)), **{"device": "cpu", **options})


def test_bad_volumes_are_refused():
    with pytest.raises(LowdoseError, match="shape of volume"):
        run(np.zeros((8, 8)))
    with pytest.raises(LowdoseError, match="values of volume"):
        run(np.full((1, 8, 8), np.nan))


@everywhere
def test_no_iterations_change_nothing_and_one_pixel_is_enough(method):
    volume = noise(2, 5, 6)
    assert torch.equal(run(volume, method, iterations=0), volume)
    point = torch.full((1, 1, 1), 3.0)
    for dimensions in (2, 3):
        assert torch.equal(run(point, method, dimensions=dimensions), point)
