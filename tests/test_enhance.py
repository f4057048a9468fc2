"""Enhancement: scales and patches that are undone, neighbours as they really look, training that helps."""

from __future__ import annotations

import math

import h5py
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lowdose_utils import training
from lowdose_utils.enhance import (
    Enhancement,
    Neighbours,
    Pairs,
    Scale,
    apply,
    cut,
    global_scale,
    image_scale,
    inverse_psnr,
    joined,
    matched,
    psnr_of_each,
    through_reconstruction,
    train_enhancer,
)
from lowdose_utils.errors import LowdoseError
from lowdose_utils.measure import psnr
from lowdose_utils.networks.context import ContextEnhancer
from lowdose_utils.networks.enhancer import Enhancer, PatchEnhancer
from lowdose_utils.networks.unet import UNet
from lowdose_utils.phantoms.spheres import Spheres, spheres

pytestmark = pytest.mark.usefixtures("one_thread")

UNIT = Scale(np.zeros(1, np.float32), np.ones(1, np.float32))
SIZE, ANGLES = 32, np.deg2rad(np.arange(0, 180, 15))
AT = [2, 5, 8, 11]


def made(kind, seed=0, **settings):
    """A network whose first weights are always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind(**settings)


def randomised(network, seed=0):
    """Every layer filled with random numbers, those that start at zero too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for one in network.parameters():
            spread = 1 / one[0].numel() ** 0.5 if one.ndim > 1 else 0.2
            one.copy_(spread * torch.randn(one.shape, generator=generator))
    return network


def noisy(*shape, seed=0):
    return (2 + np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


class Watched:
    """A scan on disk, as h5py would show it; remembers what was read."""

    def __init__(self, content):
        self.content, self.shape, self.read = content, content.shape, []

    def __len__(self):
        return len(self.content)

    def __getitem__(self, key):
        part = self.content[key]
        self.read.append(part.size // self.content[0].size)
        return part


# Scales

finite = st.floats(-1000, 1000, width=32)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=3, max_dims=3, max_side=5), elements=finite))
def test_scales_are_undone(stack):
    for make in (global_scale, image_scale):
        try:
            scale = make(stack)
        except LowdoseError:
            continue
        assume(np.min(scale.factor) > 1e-3)
        there = scale.do(stack)
        assert there.dtype == np.float32 and there.max() <= 1 + 1e-5
        np.testing.assert_allclose(scale.undo(there), stack, rtol=1e-5, atol=1e-3)
        np.testing.assert_allclose(
            scale.do(scale.undo(there)), there, rtol=1e-5, atol=2e-3 / scale.factor.min()
        )


def test_the_papers_two_steps_are_one():
    stack = noisy(4, 9, 11).astype(float) * np.array([1, 5, 0.1, 30])[:, None, None] - 3
    axes = {"axis": (1, 2), "keepdims": True}
    standard = (stack - stack.mean(**axes)) / stack.std(**axes)
    low, high = standard.min(**axes), standard.max(**axes)
    scaled = image_scale(stack).do(stack)
    np.testing.assert_allclose(scaled, (standard - low) / (high - low), atol=1e-6)
    assert (scaled.min(axis=(1, 2)) == 0).all() and (scaled.max(axis=(1, 2)) == 1).all()


def test_the_global_scale_keeps_zero_and_puts_the_largest_value_at_one():
    stack = np.abs(noisy(3, 8, 8))
    scaled = global_scale(stack).do(stack)
    assert scaled.max() == 1
    np.testing.assert_allclose(scaled / scaled[1, 1, 1], stack / stack[1, 1, 1], rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.05, 20), st.floats(-50, 50), st.integers(0, 99))
def test_matching_restores_offset_and_contrast(contrast, offset, seed):
    image = noisy(2, 7, 9, seed=seed)
    wanted = contrast * image + offset
    np.testing.assert_allclose(matched(image, wanted), wanted, rtol=1e-4, atol=1e-4 * (1 + abs(offset)))
    assert matched(image, wanted).dtype == np.float32


def test_matching_is_unbiased_under_noise():
    rng = np.random.default_rng(1)
    image = noisy(1, 20, 20)
    wanted = 3 * image + 5
    many = np.broadcast_to(image, (2000, 20, 20))
    found = matched(many, wanted + 2 * rng.standard_normal(many.shape))
    # Of 400 pixels with noise 2: offset known to 2 / 20, contrast to 2 / 20 by deviations of 1.
    np.testing.assert_allclose(found.mean(0), wanted[0], atol=4 * 0.1 * 3.5 / math.sqrt(2000))
    assert 0.08 < found.mean((1, 2)).std() < 0.12


def test_a_flat_result_gets_the_mean():
    one = noisy(1, 6, 6)
    found = matched(np.full((1, 6, 6), 0.3, np.float32), one)
    np.testing.assert_allclose(found, np.full((1, 6, 6), one.mean()), rtol=1e-5)


def test_half_precision_files_lose_nothing():
    stack = (1000 * np.abs(noisy(2, 40, 40))).astype(np.float16)
    same = stack.astype(np.float32)
    enhance = Enhancement(randomised(UNet(kernels=2)))
    np.testing.assert_array_equal(enhance(stack, device="cpu"), enhance(same, device="cpu"))
    np.testing.assert_array_equal(image_scale(stack).factor, image_scale(same).factor)


@pytest.mark.parametrize("make", [global_scale, image_scale])
@pytest.mark.parametrize(
    ("stack", "match"),
    [
        (np.zeros((2, 3, 3)), "largest value 0|constant"),
        (np.full((2, 3, 3), -1), "largest value -1|constant"),
        (np.full((2, 3, 3), np.nan), "18 values that are NaN"),
        (np.ones((3, 3)), "3 dimensions"),
        (np.ones((0, 3, 3)), "none of them empty"),
    ],
)
def test_images_that_have_no_scale_are_refused(make, stack, match):
    with pytest.raises(LowdoseError, match=match):
        make(stack)


def test_the_constant_image_is_named():
    stack = noisy(4, 5, 5)
    stack[2] = 7
    with pytest.raises(LowdoseError, match="image 2 is constant"):
        image_scale(stack)
    with pytest.raises(LowdoseError, match="constant"):
        Enhancement(made(Enhancer, kernels=2))(stack, device="cpu")


# Patches


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_cut_and_joined_undo_each_other(rows, columns, patch, step):
    image = noisy(rows, columns)
    if not step <= patch <= min(rows, columns):
        with pytest.raises(LowdoseError, match="step <= patch"):
            cut(image, patch, step)
        return
    patches = cut(image, patch, step)
    assert patches.shape[1:] == (patch, patch)
    np.testing.assert_allclose(joined(patches, image.shape, step), image, rtol=1e-6)
    covered = joined(np.ones_like(patches), image.shape, step)
    assert (covered == 1).all()  # also the last rows and columns


def test_overlapping_patches_are_averaged():
    patches = np.arange(3, dtype=np.float32)[:, None, None] * np.ones((3, 4, 4), np.float32)
    assert joined(patches, (4, 8), 2)[0].tolist() == [0, 0, 0.5, 0.5, 1.5, 1.5, 2, 2]


def test_patches_of_another_image_are_refused():
    patches = cut(noisy(20, 20), 8, 4)
    for shape, step in (((20, 24), 4), ((20, 20), 3)):
        with pytest.raises(LowdoseError, match="patches"):
            joined(patches, shape, step)


# Neighbours


@pytest.fixture(scope="module")
def phantom() -> Spheres:
    return spheres(24, 8, diameters=(3.0, 7.0), rng=2)


@pytest.mark.parametrize("number", [18, 19])  # the last angle a step before half a turn, or at it
@pytest.mark.parametrize("axis", [None, 19.0, 21.5])
def test_neighbours_beyond_the_ends_are_what_the_other_side_shows(phantom, number, axis):
    step, half_width, columns = np.pi / 18, 4, 42
    angles = 0.3 + step * np.arange(number)
    scan = phantom.projections(angles, columns=columns, axis=axis)
    near = Neighbours(angles, half_width, columns, axis=axis)
    for i in range(number):
        truth = phantom.projections(
            angles[i] + step * np.arange(-half_width, half_width + 1), columns=columns, axis=axis
        )
        np.testing.assert_allclose(near.of(i, scan), truth, atol=2e-4)
    rows = slice(5, 11)
    np.testing.assert_array_equal(near.of(0, scan, rows), near.of(0, scan)[:, rows])


def test_without_half_a_turn_the_window_stays_inside():
    near = Neighbours(np.deg2rad(np.arange(0, 120, 10)), 2, 8)
    assert not near.mirrored.any()
    assert near.places[[0, 1, 2, 3, 11]].tolist() == [
        [0, 1, 2, 3, 4],
        [0, 1, 2, 3, 4],
        [0, 1, 2, 3, 4],
        [1, 2, 3, 4, 5],
        [7, 8, 9, 10, 11],
    ]


def test_no_neighbours_is_the_projection_itself():
    scan = noisy(5, 4, 6)
    for angles in (np.linspace(0, 1, 5), np.linspace(0, np.pi, 5)):
        near = Neighbours(angles, 0, 6)
        assert all(np.array_equal(near.of(i, scan), scan[i : i + 1]) for i in range(5))
    assert np.array_equal(Neighbours([0.7], 0, 6).of(0, scan), scan[:1])


@pytest.mark.parametrize(
    ("angles", "half_width", "axis", "match"),
    [
        (np.arange(4) * 0.1, 2, None, "at least 5"),
        ([0, 0.2, 0.1, 0.3], 1, None, "increasing"),
        ([0, 0.1, 0.1, 0.3], 1, None, "increasing"),
        (np.arange(10)[::-1] * 0.1, 1, None, "increasing"),
        (np.linspace(0, 2 * np.pi, 20), 1, None, "at most 180 degrees"),
        (np.arange(0, 180, 10), 1, None, "at most 180 degrees"),
        ([0, np.nan, 1], 1, None, "NaN"),
        (np.arange(4) * 0.1, -1, None, "half_width"),
        (np.arange(4) * 0.1, 1, np.nan, "axis"),
        (np.arange(4) * 0.1, 1, 8, "axis"),
    ],
)
def test_scans_without_neighbours_are_refused(angles, half_width, axis, match):
    with pytest.raises(LowdoseError, match=match):
        Neighbours(angles, half_width, 8, axis=axis)


# Losses


def tensors(*shape, error=0.05, seed=0):
    target = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    off = torch.randn(shape, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    scale = error * torch.arange(1, shape[0] + 1)[:, None, None, None]
    return target + scale * off, target


def test_the_papers_loss_is_one_over_psnr_for_small_errors():
    output, target = tensors(3, 1, 8, 8, error=1e-3)
    assert inverse_psnr(output, target).item() == pytest.approx(
        1 / psnr(output.flatten().numpy(), target.flatten().numpy(), 1), rel=1e-4
    )


def test_the_papers_loss_stays_positive_and_falls_with_the_error():
    target = torch.zeros(1, 1, 4, 4)
    values = [inverse_psnr(target + error, target).item() for error in (1e-3, 0.1, 0.9, 1, 1.1, 10, 100)]
    assert min(values) > 0 and values == sorted(values)


@pytest.mark.parametrize("loss", [inverse_psnr, psnr_of_each, through_reconstruction(torch.arange(9))])
def test_a_perfect_answer_has_a_gradient(loss):
    output = torch.zeros(2, 1, 8, 8, requires_grad=True)
    value = loss(output, torch.zeros(2, 1, 8, 8))
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(output.grad).all()


def test_the_mean_psnr():
    output, target = tensors(3, 1, 8, 9)
    each = [psnr(one[0].numpy(), other[0].numpy(), 1) for one, other in zip(output, target, strict=True)]
    assert psnr_of_each(output, target).item() == pytest.approx(-np.mean(each), abs=1e-6)


@pytest.mark.parametrize("columns", [8, 9, 33, 64])
def test_a_flat_filter_changes_nothing(columns):
    output, target = tensors(3, 1, 5, columns)
    loss = through_reconstruction(torch.full((17,), 0.4))
    assert loss(output, target).item() == pytest.approx(psnr_of_each(output, target).item(), abs=1e-5)


@pytest.mark.parametrize("columns", [16, 17])
def test_a_filter_weights_the_errors_spectrum(columns):
    output, target = tensors(3, 1, 5, columns)
    ramp = torch.linspace(0, 0.5, 33)
    frequency = np.abs(np.fft.fftfreq(columns))
    weight = 0.1 + 0.9 * frequency / frequency.mean()
    power = np.abs(np.fft.fft((output - target).numpy(), axis=-1)) ** 2 / columns
    expected = 10 * np.log10((power * weight).mean(axis=(1, 2, 3))).mean()
    assert through_reconstruction(ramp, 0.1)(output, target).item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("columns", [16, 17])
def test_the_ramp_ignores_a_constant_error_down_to_the_least(columns):
    target = tensors(2, 1, 5, columns)[1]
    plain = psnr_of_each(target + 0.1, target).item()
    for least in (0.25, 0.01):
        loss = through_reconstruction(torch.linspace(0, 0.5, 9), least)
        assert loss(target + 0.1, target).item() == pytest.approx(plain + 10 * math.log10(least), abs=1e-4)


@pytest.mark.parametrize("loss", [inverse_psnr, psnr_of_each, through_reconstruction(torch.ones(3))])
def test_losses_do_not_broadcast(loss):
    with pytest.raises(LowdoseError, match="network output"):
        loss(torch.zeros(4, 2, 8, 8), torch.zeros(4, 1, 8, 8))


@pytest.mark.parametrize(
    ("response", "least"),
    [
        (torch.ones(1), 0.2),
        (torch.ones(3, 3), 0.2),
        (torch.zeros(5), 0.2),
        (torch.tensor([0, np.nan]), 0.2),
        (torch.ones(3), 1.5),
        (torch.ones(3), -0.1),
    ],
)
def test_filters_that_are_none_are_refused(response, least):
    with pytest.raises(LowdoseError, match=r"response|least"):
        through_reconstruction(response, least)


# Enhancing whole scans

NETWORKS = {
    "enhancer": lambda: Enhancer(4),
    "unet": lambda: UNet(kernels=4),
    "deep unet": lambda: UNet(kernels=2, depth=4),
    "context": lambda: ContextEnhancer(1, kernels=4),
}


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("shape", [(21, 300), (301, 19)])
def test_tiles_give_what_the_whole_gives(kind, shape):
    enhance = Enhancement(randomised(NETWORKS[kind]()), UNIT)
    scan = noisy(3, *shape)
    common = {"at": [1], "noise": 0.4, "device": "cpu"}
    whole = enhance(scan, [0, 0.1, 0.2], **common)
    assert whole.std() > 0.01
    for tile in (24, 37, 100):  # all but the last shorter than what the network looks at
        tiled = enhance(scan, [0, 0.1, 0.2], tile=tile, **common)
        np.testing.assert_allclose(tiled, whole, rtol=0, atol=1e-5 * np.abs(whole).max())


def test_tiles_in_both_directions():
    enhance = Enhancement(randomised(UNet(kernels=2, depth=1)), UNIT)
    scan = noisy(1, 61, 70)
    whole = enhance(scan, device="cpu")
    np.testing.assert_allclose(enhance(scan, tile=8, device="cpu"), whole, rtol=0, atol=1e-5)


def test_an_untrained_unet_gives_the_scan_back():
    scan = noisy(4, 16, 17).astype(">f4")  # as some files have it
    for scale in (None, global_scale(scan)):
        found = Enhancement(UNet(kernels=2), scale)(scan, device="cpu")
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, scan, rtol=1e-4, atol=1e-4)


def test_enhancement_on_patches_averages_their_overlaps(monkeypatch):
    network = made(PatchEnhancer, patch=16, kernels=2)
    scan = np.abs(noisy(2, 26, 33))
    enhance = Enhancement(network, UNIT)
    found = enhance(scan, step=5, device="cpu")
    with torch.inference_mode():
        patches = network(torch.from_numpy(cut(scan[1], 16, 5))[:, None])[:, 0].numpy()
    assert patches.std() > 0
    np.testing.assert_allclose(found[1], joined(patches, (26, 33), 5), rtol=1e-4, atol=1e-6)
    monkeypatch.setattr(apply, "TOGETHER", 4)
    sizes = []
    network.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    np.testing.assert_allclose(enhance(scan, step=5, device="cpu"), found, rtol=1e-4, atol=1e-6)
    assert max(sizes) == 4 and sum(sizes) == 2 * len(patches)


@pytest.mark.parametrize("kind", ["unet", "context"])
def test_chosen_projections_only_and_into_a_memory_map(tmp_path, kind):
    enhance = Enhancement(randomised(NETWORKS[kind]()), UNIT)
    scan, angles = noisy(6, 16, 18), np.linspace(0, np.pi, 6, endpoint=False)
    noise = 0.1 + np.random.default_rng(0).random(scan.shape)
    everything = enhance(scan, angles, noise=noise, device="cpu")
    out = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", np.float32, (3, 16, 18))
    found = enhance(scan, angles, noise=noise, at=np.array([4, 0, 5]), device="cpu", out=out)
    assert found is out
    out.flush()
    written = np.load(tmp_path / "out.npy")
    np.testing.assert_allclose(written, everything[[4, 0, 5]], rtol=1e-6)
    assert enhance(scan, angles, noise=noise, at=[], device="cpu").shape == (0, 16, 18)


@pytest.mark.parametrize("kind", ["unet", "context"])
def test_scans_on_disk_are_read_projection_by_projection(tmp_path, kind):
    enhance = Enhancement(randomised(NETWORKS[kind]()), UNIT)
    scan, angles = noisy(6, 16, 18), np.linspace(0, np.pi, 6, endpoint=False)
    noise = np.full(scan.shape, 0.3, np.float32)
    expected = enhance(scan, angles, noise=noise, device="cpu")
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        on_disk = file.create_dataset("data", data=scan)
        spread = file.create_dataset("noise", data=noise)
        np.testing.assert_array_equal(enhance(on_disk, angles, noise=spread, device="cpu"), expected)
    mapped = np.memmap(tmp_path / "scan.raw", np.float32, "w+", shape=scan.shape)
    mapped[:] = scan
    np.testing.assert_array_equal(enhance(mapped, angles, noise=0.3, device="cpu"), expected)
    watched, beside = Watched(scan), Watched(noise)
    np.testing.assert_array_equal(enhance(watched, angles, noise=beside, device="cpu"), expected)
    assert max(watched.read) == 1 and max(beside.read, default=1) == 1


def test_noise_belongs_to_its_projection_and_unit():
    scan, angles = noisy(5, 16, 16), np.arange(5) * 0.1
    noise = np.broadcast_to(np.arange(1, 6)[:, None, None] / 10, scan.shape)
    network = randomised(ContextEnhancer(1, kernels=2))
    found = Enhancement(network, UNIT)(scan, angles, noise=noise, device="cpu")
    alone = Enhancement(network, UNIT)(scan, angles, noise=0.4, at=[3], device="cpu")
    np.testing.assert_allclose(alone[0], found[3], rtol=1e-5)
    # The network gives the same in every unit.
    doubled = Enhancement(network, Scale(UNIT.offset, np.full(1, 4, np.float32)))
    np.testing.assert_allclose(doubled(scan, angles, noise=noise, device="cpu"), found, rtol=1e-4, atol=1e-4)


GOOD_CALL = {"angles": np.arange(6) * 0.1, "noise": 0.3, "device": "cpu"}


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"angles": None}, "angles: found none"),
        ({"noise": None}, "noise: found none"),
        ({"angles": None, "noise": None}, "angles, noise"),
        ({"angles": np.arange(5) * 0.1}, "angles: found 5; expected 6"),
        ({"angles": np.arange(6)[::-1] * 0.1}, "increasing"),
        ({"angles": np.arange(6) * 1.0}, "at most 180 degrees"),
        ({"noise": 0}, "positive"),
        ({"noise": -1.0}, "positive"),
        ({"noise": np.nan}, "positive"),
        ({"noise": np.ones((5, 16, 17))}, "noise: found shape"),
        ({"noise": np.ones(6)}, "noise: found shape"),
        ({"at": [6]}, "0 to 5"),
        ({"at": [-1]}, "0 to 5"),
        ({"at": [0.1]}, "not angles"),
        ({"tile": 0}, "tile"),
        ({"tile": -8}, "tile"),
        ({"out": np.empty((6, 16, 16), np.float32)}, "out"),
        ({"at": [1], "out": np.empty((6, 16, 17), np.float32)}, "out"),
        ({"axis": 17}, "axis"),
        ({"device": "gpu"}, "device"),
    ],
)
def test_calls_that_do_not_fit_are_refused(changed, match):
    enhance = Enhancement(ContextEnhancer(1, kernels=2), UNIT)
    with pytest.raises(LowdoseError, match=match):
        enhance(noisy(6, 16, 17), **GOOD_CALL | changed)


def test_scans_and_networks_that_do_not_fit_are_refused():
    scan = noisy(6, 16, 17)
    context = ContextEnhancer(2, kernels=2)
    with pytest.raises(LowdoseError, match=r"\(angle, row, column\)"):
        Enhancement(UNet(kernels=2), UNIT)(scan[0], device="cpu")
    with pytest.raises(LowdoseError, match="at least 5"):
        Enhancement(context, UNIT)(scan[:4], np.arange(4) * 0.1, noise=1, device="cpu")
    with pytest.raises(LowdoseError, match="scale: found none"):
        Enhancement(context)(scan, **GOOD_CALL)
    with pytest.raises(LowdoseError, match="patches of 32"):
        Enhancement(made(PatchEnhancer, kernels=1), UNIT)(scan, device="cpu")
    with pytest.raises(LowdoseError, match="reach"):
        Enhancement(torch.nn.Conv2d(1, 1, 3, padding=1), UNIT)(scan, tile=8, device="cpu")
    scan[3, 2, 1] = np.nan
    with pytest.raises(LowdoseError, match=r"projection 3: found 1 values"):
        Enhancement(UNet(kernels=2), UNIT)(scan, device="cpu")


# Pairs


def test_pairs_are_scaled_scans_and_targets():
    low, high = [noisy(12, 9, 8, seed=k) for k in (1, 2)], np.abs(noisy(2, 9, 8))
    pairs = Pairs(UNet(), low, high, [3, 7], ANGLES)
    top = high.max()
    assert pairs.inputs.shape == pairs.targets.shape == (4, 1, 9, 8)
    np.testing.assert_allclose(
        pairs.inputs[:, 0] * top, np.concatenate([one[[3, 7]] for one in low]), rtol=1e-5
    )
    np.testing.assert_allclose(pairs.targets[:, 0] * top, np.concatenate([high, high]), rtol=1e-5)
    each = Pairs(UNet(), low, high, [3, 7], ANGLES, scaling="image")
    assert each.scale is None
    for stack in (each.inputs, each.targets):
        assert (stack.min((1, 2, 3)) == 0).all() and (stack.max((1, 2, 3)) == 1).all()


def test_pairs_with_context_hold_neighbours_and_noise():
    low, high = [noisy(12, 9, 8, seed=k) for k in (1, 2)], np.abs(noisy(1, 9, 8))
    noise = [0.5, np.abs(noisy(12, 9, 8, seed=3)) + 0.1]
    pairs = Pairs(ContextEnhancer(1), low, high, [0], ANGLES, noise=noise)
    top = high.max()
    assert pairs.inputs.shape == (2, 4, 9, 8)
    np.testing.assert_allclose(pairs.inputs[0, 1] * top, low[0][0], rtol=1e-5)
    np.testing.assert_allclose(pairs.inputs[0, 0] * top, low[0][11][:, ::-1], rtol=1e-5)
    np.testing.assert_allclose(pairs.inputs[0, 3] * top, 0.5, rtol=1e-5)
    np.testing.assert_allclose(pairs.inputs[1, 3] * top, noise[1][0], rtol=1e-5)


@pytest.mark.parametrize("network", [UNet(), ContextEnhancer(1), ContextEnhancer(2)])
def test_crops_are_windows_mirrored_with_the_context_in_reverse(network):
    """Each pixel says where it is from; all four mirrorings occur, the noise staying last."""
    width = getattr(network, "half_width", 0)
    row, column = np.mgrid[:9.0, :11.0]
    scan = (np.arange(12)[:, None, None] + row / 16 + column / 512).astype(np.float32)  # exact in binary
    high = np.maximum(scan[[5]], 0)
    pairs = Pairs(network, [scan], high, [5], ANGLES, noise=[scan + 100])
    top = pairs.scale.factor[0]
    given, wanted = pairs.crops(6, 64)(np.random.default_rng(0))
    assert given.shape[1] == (2 * width + 2 if width else 1) and given.dtype == torch.float32
    kinds = set()
    for one, other in zip(given.numpy() * top, wanted.numpy() * top, strict=True):
        middle = one[width]
        np.testing.assert_allclose(other[0], middle, rtol=1e-6)
        down, right = np.sign(middle[1, 0] - middle[0, 0]), np.sign(middle[0, 1] - middle[0, 0])
        kinds.add((down, right))
        turns = one[1 : 2 * width + 1] - one[: 2 * width]  # from one angle to the next
        np.testing.assert_allclose(turns, right, rtol=1e-4)
        if width:
            np.testing.assert_allclose(one[-1], middle + 100, rtol=1e-5)
    assert len(kinds) == 4
    again, _ = pairs.crops(6, 64)(np.random.default_rng(0))
    assert torch.equal(given, again)


def test_crops_reach_every_corner():
    scan = np.arange(12 * 5 * 7, dtype=np.float32).reshape(12, 5, 7)
    pairs = Pairs(UNet(), [scan], scan[[11]], [11], ANGLES)
    given, _ = pairs.crops(3, 400)(np.random.default_rng(0))
    assert len(np.unique(np.round(given.numpy() * pairs.scale.factor))) == 35


LOW, HIGH = [noisy(12, 16, 17), noisy(12, 16, 17)], np.abs(noisy(2, 16, 17))
WITH_NAN = LOW[0].copy()
WITH_NAN[7, 3, 3] = np.nan
CONSTANT = np.ones((12, 16, 17))


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"low": []}, "0 scans"),
        ({"low": LOW[0]}, "low: found shape"),
        ({"low": [LOW[0], LOW[0][:, :15]]}, r"low: found shape \(12, 15, 17\)"),
        ({"low": [LOW[0][:11], LOW[1]]}, r"low: found shape \(11, 16, 17\)"),
        ({"low": [LOW[0], WITH_NAN]}, "low: found 1 values that are NaN"),
        ({"low": [CONSTANT, LOW[0]], "scaling": "image"}, "constant"),
        ({"high": HIGH[:1]}, "1 high-dose"),
        ({"high": HIGH[:, :, :16]}, "as large as `high`"),
        ({"high": HIGH * np.nan}, "high: found 544 values"),
        ({"high": HIGH[0]}, "high: found shape"),
        ({"high": np.zeros_like(HIGH)}, "largest value 0"),
        ({"high": np.ones_like(HIGH), "scaling": "image"}, "constant"),
        ({"at": []}, "0 angles"),
        ({"at": [3]}, "1 angles"),
        ({"at": [3, 12]}, "0 to 11"),
        ({"at": [3, -1]}, "0 to 11"),
        ({"at": [0.1, 0.4]}, "not angles"),
        ({"angles": ANGLES[:11]}, "low"),
        ({"noise": [1.0]}, "noise: found 1; expected a list of 2"),
        ({"noise": 1.0}, "noise: found one number"),
        ({"noise": [1.0, np.ones((12, 16, 16))]}, "noise: found shape"),
        ({"scaling": "none"}, "global or image"),
        ({"crop": 18}, "crop: found 18"),
        ({"crop": 0}, "crop: found 0"),
        ({"crop": None}, "crop: found 64"),
        ({"batch": 0}, "batch"),
        ({"held_out": [0, 1]}, "no angle to train on"),
        ({"held_out": [2]}, "held_out"),
        ({"held_out": [-1]}, "held_out"),
        ({"held_out": [1]}, "validate_every"),
        ({"held_out": [1], "validate_every": 1, "validate": lambda _: 1.0}, "found both"),
        ({"steps": 0}, "steps"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(changed, match):
    good = {"low": LOW, "high": HIGH, "at": [3, 7], "angles": ANGLES, "crop": 8, "steps": 1}
    with pytest.raises(LowdoseError, match=match):
        train_enhancer(UNet(kernels=2), **good | changed, device="cpu", progress=False)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"noise": None}, "noise: found none"),
        ({"noise": [1.0, 0.0]}, "positive"),
        ({"noise": [1.0, -(LOW[1] ** 2)]}, "positive"),
        ({"scaling": "image"}, "image, for ContextEnhancer; expected global"),
        ({"angles": ANGLES[::-1]}, "increasing"),
        ({"angles": 2 * ANGLES}, "at most 180 degrees"),
        ({"low": [LOW[0][:4], LOW[1][:4]], "angles": ANGLES[:4], "at": [1, 2]}, "at least 5"),
    ],
)
def test_pairs_that_do_not_fit_a_context_are_refused(changed, match):
    good = {"low": LOW, "high": HIGH, "at": [3, 7], "angles": ANGLES, "noise": [1.0, 1.0]}
    with pytest.raises(LowdoseError, match=match):
        Pairs(ContextEnhancer(2), **good | changed)
    with pytest.raises(LowdoseError, match="expected global"):
        Pairs(ContextEnhancer(0), **good | {"scaling": "image"})


def test_a_patch_larger_than_the_projections_or_another_crop_is_refused():
    common = {"steps": 1, "device": "cpu", "progress": False}
    with pytest.raises(LowdoseError, match="crop: found 32"):
        train_enhancer(made(PatchEnhancer, kernels=1), LOW, HIGH, [3, 7], ANGLES, **common)
    with pytest.raises(LowdoseError, match="crop: found 16; expected 8"):
        train_enhancer(made(PatchEnhancer, patch=8, kernels=1), LOW, HIGH, [3, 7], ANGLES, crop=16, **common)


# Training


@pytest.fixture(scope="module")
def toy():
    """Few large spheres at two noise levels: low-dose scans, all high-dose projections, the noise."""
    high = spheres(SIZE, 6, diameters=(5.0, 9.0), rng=1).projections(ANGLES)
    noise = [0.2 * float(high.max()), 0.1 * float(high.max())]
    rng = np.random.default_rng(5)
    return [(high + s * rng.standard_normal(high.shape)).astype(np.float32) for s in noise], high, noise


def run(network, toy, at=AT, **settings):
    low, high, noise = toy
    common = {"noise": noise, "crop": 24, "batch": 4, "steps": 60, "learning_rate": 5e-3}
    common |= {"device": "cpu", "progress": False}
    return train_enhancer(network, low, high[at], at, ANGLES, **common | settings)


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (lambda: made(UNet, kernels=6, depth=2), {}),
        (lambda: made(UNet, kernels=6, depth=2), {"scaling": "image"}),
        (lambda: made(Enhancer, kernels=6), {"steps": 120, "learning_rate": 3e-3}),
        (lambda: made(PatchEnhancer, patch=16, kernels=4), {"crop": None, "batch": 16, "scaling": "image"}),
        (lambda: made(ContextEnhancer, half_width=1, kernels=4), {"loss": psnr_of_each}),
        (lambda: made(UNet, kernels=6, depth=2), {"loss": inverse_psnr}),
        (
            lambda: made(UNet, kernels=6, depth=2),
            {"loss": through_reconstruction(torch.linspace(0, 0.5, 9), 0.5)},
        ),
    ],
)
def test_unseen_projections_get_better(toy, make, settings):
    low, high, noise = toy
    enhance, done = run(make(), toy, **settings)
    assert done.steps_done == len(done.losses) and done.losses[-10:].mean() < done.losses[:10].mean()
    unseen = [0, 4, 7]
    found = enhance(low[0], ANGLES, noise=noise[0], at=unseen, step=4, device="cpu")
    before, after = (((one - high[unseen]) ** 2).mean() for one in (low[0][unseen], found))
    assert after < (0.75 if settings.get("scaling") == "image" else 0.5) * before


def test_the_same_seed_gives_the_same_network(toy):
    weights = []
    for rng in (3, 3, 4):
        network = made(UNet, kernels=2, depth=1)
        _, done = run(network, toy, steps=8, rng=rng)
        weights.append((torch.cat([one.flatten() for one in network.parameters()]).detach(), done.losses))
    assert torch.equal(weights[0][0], weights[1][0]) and np.array_equal(weights[0][1], weights[1][1])
    assert not torch.equal(weights[0][0], weights[2][0])


def test_held_out_pairs_are_validated_on_and_not_learnt_from(toy, monkeypatch):
    low, high, noise = toy
    settings = {"held_out": [1, 3], "validate_every": 10, "steps": 30}
    devices = []
    resolve = apply.resolve_device
    monkeypatch.setattr(apply, "resolve_device", lambda device: devices.append(device) or resolve(device))
    enhance, done = run(made(UNet, kernels=4, depth=1), toy, **settings)
    assert set(devices) == {"cpu"}  # the device of the training, whatever else there is
    assert [step for step, _ in done.validation] == [10, 20, 30]
    kept = [AT[1], AT[3]]
    errors = [
        ((enhance(scan, ANGLES, at=kept, noise=s, device="cpu") - high[kept]) ** 2).mean()
        for scan, s in zip(low, noise, strict=True)
    ]
    assert np.mean(errors) == pytest.approx(dict(done.validation)[done.best_step], rel=1e-5)
    assert done.best_step == min(done.validation, key=lambda pair: pair[1])[0]
    changed = high.copy()
    changed[kept] *= 3
    other, again = run(made(UNet, kernels=4, depth=1), (low, changed, noise), **settings)
    assert np.array_equal(done.losses, again.losses) and other.scale == enhance.scale
    assert all(b > 2 * a for (_, a), (_, b) in zip(done.validation, again.validation, strict=True))


class Stopping(UNet):
    """Is interrupted at a step."""

    def __init__(self, at_step: int = 0) -> None:
        super().__init__(kernels=2, depth=1)
        self.at_step, self.calls = at_step, 0

    def forward(self, images):
        self.calls += self.training
        if self.training and self.calls == self.at_step:
            raise KeyboardInterrupt
        return super().forward(images)


def test_an_interrupted_training_goes_on_as_if_nothing_had_happened(toy, tmp_path):
    settings = {"steps": 20, "held_out": [0], "validate_every": 6}
    straight = made(Stopping)
    enhance, done = run(straight, toy, **settings)
    settings |= {"checkpoint": tmp_path / "run.torch", "checkpoint_every": 4}
    with pytest.raises(KeyboardInterrupt):
        run(made(Stopping, at_step=14), toy, **settings)
    network = made(Stopping)
    resumed, again = run(network, toy, **settings)
    assert 0 < again.steps_this_call < 20 and np.array_equal(again.losses, done.losses)
    assert again.validation == done.validation and again.best_step == done.best_step
    for one, other in zip(network.parameters(), straight.parameters(), strict=True):
        assert torch.equal(one, other)
    low = toy[0][0]
    np.testing.assert_array_equal(resumed(low, device="cpu"), enhance(low, device="cpu"))
    assert run(made(Stopping), toy, **settings)[1].steps_this_call == 0


def test_the_checkpoint_of_another_run_is_refused(toy, tmp_path):
    kept = {"checkpoint": tmp_path / "run.torch", "steps": 2}
    run(made(UNet, kernels=2, depth=1), toy, **kept)
    for network in (made(UNet, kernels=3, depth=1), made(Enhancer, kernels=2)):
        with pytest.raises(LowdoseError, match="checkpoint"):
            run(network, toy, **kept)
    with pytest.raises(LowdoseError, match="first batch"):
        run(made(UNet, kernels=2, depth=1), toy, **kept, scaling="image")
    with pytest.raises(LowdoseError, match="loss"):
        run(made(UNet, kernels=2, depth=1), toy, **kept, loss=inverse_psnr)


def test_weights_go_to_another_scan_with_their_scale(toy, tmp_path):
    enhance, _ = run(made(UNet, kernels=2, depth=1), toy, steps=5)
    training.save_weights(enhance.network, tmp_path / "weights.torch")
    again = Enhancement(made(UNet, kernels=2, depth=1, seed=9), global_scale(toy[1][AT]))
    training.load_weights(again.network, tmp_path / "weights.torch")
    found, expected = (one(toy[0][1], device="cpu") for one in (again, enhance))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
