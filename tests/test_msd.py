"""The mixed-scale dense network against a plain one, written out layer by layer in float64."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lowdose_utils.errors import LowdoseError
from lowdose_utils.networks import msd_kernels
from lowdose_utils.networks.msd import MSD, load_msd_pytorch_weights

pytestmark = pytest.mark.usefixtures("one_thread")


def upstream_state(channels_in, channels_out, depth, width, seed, prefix=""):
    """Random weights under the names, and in the shapes, that msd_pytorch gives them."""
    rng = np.random.default_rng(seed)

    def draw(*shape, spread=1.0, mean=0.0):
        return torch.from_numpy((mean + spread * rng.standard_normal(shape)).astype(np.float32))

    maps = channels_in + depth * width
    spread = math.sqrt(2 / (9 * maps))
    state = {
        "0.weight": draw(channels_in, mean=1, spread=0.1).diag()[:, :, None, None],
        "0.bias": draw(channels_in),
        "1.msd_block.bias": draw(depth * width, spread=0.1),
        "1.final_layer.linear.weight": draw(channels_out, maps, 1),
        "1.final_layer.linear.bias": draw(channels_out),
        "2.weight": draw(channels_out, mean=1, spread=0.1).diag()[:, :, None, None],
        "2.bias": draw(channels_out),
    }
    for layer in range(depth):
        shape = (width, channels_in + layer * width, 3, 3)
        state[f"1.msd_block.weight{layer}"] = draw(*shape, spread=spread)
    return {prefix + name: tensor for name, tensor in state.items()}


def plain_network(state, images, dilations):
    """What msd_pytorch computes, in float64 and without any economy."""
    state = {name: tensor.double() for name, tensor in state.items()}
    maps = torch.nn.functional.conv2d(images, state["0.weight"], state["0.bias"])
    for layer, dilation in enumerate(dilations):
        weight = state[f"1.msd_block.weight{layer}"]
        bias = state["1.msd_block.bias"].view(len(dilations), -1)[layer]
        edge = ((0, 0), (0, 0), (dilation, dilation), (dilation, dilation))
        padded = torch.from_numpy(np.pad(maps.numpy(), edge, mode="symmetric"))
        fresh = torch.nn.functional.conv2d(padded, weight, bias, dilation=dilation).relu()
        maps = torch.cat([maps, fresh], dim=1)
    last = torch.einsum("oc,bcyx->boyx", state["1.final_layer.linear.weight"][:, :, 0], maps)
    last += state["1.final_layer.linear.bias"][:, None, None]
    return torch.nn.functional.conv2d(last, state["2.weight"], state["2.bias"])


def plain_gradients(network, images, target):
    """Autograd's gradients of a plain network with the weights of `network`."""
    x = images * network.scale_in[:, None, None] + network.shift_in[:, None, None]
    width = network.weights[0].shape[0]
    for layer, (weight, dilation) in enumerate(zip(network.weights, network.dilations, strict=True)):
        rows, columns = (
            torch.from_numpy(np.pad(np.arange(side), dilation, mode="symmetric")) for side in x.shape[2:]
        )
        bias = network.bias[layer * width : (layer + 1) * width]
        padded = x[:, :, rows][:, :, :, columns]
        fresh = torch.nn.functional.conv2d(padded, weight, bias, dilation=dilation).relu()
        x = torch.cat([x, fresh], dim=1)
    y = torch.einsum("oc,bcyx->boyx", network.final_weight, x) + network.final_bias[:, None, None]
    y = y * network.scale_out[:, None, None] + network.shift_out[:, None, None]
    return torch.autograd.grad(((y - target) ** 2).sum(), [images, *network.parameters()])


def random_network(channels_in, channels_out, *, depth, width, dilations=range(1, 11), seed=0):
    """A float64 network whose output depends on all of its parameters."""
    network = MSD(channels_in, channels_out, depth=depth, width=width, dilations=dilations)
    load_msd_pytorch_weights(network, upstream_state(channels_in, channels_out, depth, width, seed))
    return network.double()


def random_images(*shape, seed=1):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


@pytest.fixture
def tiny_tiles(monkeypatch):
    """Tiles so small that every product is cut, with a shorter last one."""
    monkeypatch.setattr(msd_kernels, "TILE_CPU", 61)


@pytest.mark.parametrize(
    ("channels", "parameters"), [((1, 1), 45_652), ((3, 1), 47_454), ((5, 1), 49_256), ((11, 11), 55_782)]
)
def test_the_number_of_trainable_parameters_is_the_original_one(channels, parameters):
    assert sum(one.numel() for one in MSD(*channels).parameters()) == parameters


def test_initial_weights_have_the_published_spread_and_the_rest_is_zero():
    network = MSD(11, 11, rng=3)
    drawn = torch.cat([weight.flatten() for weight in network.weights])
    assert drawn.std().item() == pytest.approx(0.04470, rel=0.02)
    assert abs(drawn.mean().item()) < 5 * 0.0447 / math.sqrt(drawn.numel())
    assert not any(one.any() for one in (network.bias, network.final_weight, network.final_bias))
    again, other = MSD(11, 11, rng=3), MSD(11, 11, rng=4)
    assert torch.equal(again.weights[7], network.weights[7])
    assert not torch.equal(other.weights[7], network.weights[7])


def test_an_output_pixel_depends_on_what_is_within_reach_and_on_nothing_beyond():
    network = MSD(depth=5, width=2, dilations=[1, 3, 2]).double()
    assert network.reach == 1 + 3 + 2 + 1 + 3
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(0.1)  # all positive: no ReLU cuts anything off
    images = torch.ones(1, 1, 41, 45, dtype=torch.float64, requires_grad=True)
    network(images)[0, 0, 20, 22].backward()
    inside = torch.zeros(41, 45, dtype=torch.bool)
    inside[20 - network.reach : 21 + network.reach, 22 - network.reach : 23 + network.reach] = True
    seen = images.grad[0, 0] != 0
    assert not (seen & ~inside).any()
    assert seen[20 - network.reach, 22 - network.reach] and seen[20 + network.reach, 22 + network.reach]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 12), st.integers(1, 40))
def test_symmetric_index_is_numpys_symmetric_padding(length, padding):
    expected = np.pad(np.arange(length), padding, mode="symmetric")
    assert np.array_equal(msd_kernels.symmetric_index(length, padding), expected)


@pytest.mark.parametrize("shape", [(1, 1, 33, 21), (3, 1, 6, 40), (2, 1, 1, 7)])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_original_weights_give_the_original_output(tmp_path, shape, prefix):
    state = upstream_state(1, 1, 100, 1, seed=5, prefix=prefix)
    torch.save({"epoch": 24, "state_dict": state, "optimizer": {}}, tmp_path / "weights.torch")
    network = MSD()
    load_msd_pytorch_weights(network, tmp_path / "weights.torch")
    images = random_images(*shape)
    plain = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    expected = plain_network(plain, images, [1 + layer % 10 for layer in range(100)])
    scale = expected.abs().max()
    with torch.no_grad():
        alone = network(images.float())
        double = copy.deepcopy(network).double()(images)
    trained = network(images.float())
    assert alone.dtype == torch.float32 and trained.requires_grad and not alone.requires_grad
    torch.testing.assert_close(alone.double(), expected, rtol=0, atol=3e-6 * scale)
    torch.testing.assert_close(trained.detach(), alone, rtol=0, atol=3e-6 * scale)
    torch.testing.assert_close(double, expected, rtol=0, atol=1e-13 * scale)


@pytest.mark.usefixtures("tiny_tiles")
@settings(max_examples=15, deadline=None)
@given(
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12)),
    depth=st.integers(1, 13),
    width=st.integers(1, 4),
    dilations=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    seed=st.integers(0, 1000),
)
def test_output_and_all_gradients_equal_the_plain_networks(channels, shape, depth, width, dilations, seed):
    network = random_network(*channels, depth=depth, width=width, dilations=dilations, seed=seed)
    count, *sides = shape
    images = random_images(count, channels[0], *sides, seed=seed).requires_grad_()
    target = random_images(count, channels[1], *sides, seed=seed + 1)
    output = network(images)
    state = upstream_state(*channels, depth, width, seed)
    torch.testing.assert_close(
        output.detach(), plain_network(state, images.detach(), network.dilations), rtol=1e-9, atol=1e-9
    )
    found = torch.autograd.grad(((output - target) ** 2).sum(), [images, *network.parameters()])
    for one, other in zip(found, plain_gradients(network, images, target), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9 * float(other.abs().max() + 1))


@pytest.mark.usefixtures("tiny_tiles")
def test_gradcheck():
    network = random_network(2, 2, depth=4, width=2, dilations=[1, 3])
    names = [name for name, _ in network.named_parameters()]

    def call(images, *values):
        return torch.func.functional_call(network, dict(zip(names, values, strict=True)), (images,))

    values = [one.detach().clone().requires_grad_() for one in network.parameters()]
    assert torch.autograd.gradcheck(call, (random_images(2, 2, 3, 4).requires_grad_(), *values))


def test_weights_learn_though_the_images_need_no_gradient():
    network = random_network(1, 1, depth=12, width=1)
    images, target = random_images(2, 1, 9, 8), random_images(2, 1, 9, 8, seed=2)
    ((network(images) - target) ** 2).sum().backward()
    expected = plain_gradients(network, images.clone().requires_grad_(), target)[1:]
    for parameter, other in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, other, rtol=1e-8, atol=1e-9 * float(other.abs().max()))


def test_a_small_network_learns_to_smooth():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:24, :24] / 24
    clean = np.stack([np.sin(6 * x + p) * np.cos(5 * y - p) for p in rng.uniform(0, 6, 4)])[:, None]
    noisy = torch.from_numpy((clean + 0.5 * rng.standard_normal(clean.shape)).astype(np.float32))
    truth = torch.from_numpy(clean.astype(np.float32))
    network = MSD(depth=10, rng=1)
    network.set_normalization(0, float(noisy.std()), 0, float(truth.std()))
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        loss = torch.nn.functional.mse_loss(network(noisy), truth)
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.25 * torch.nn.functional.mse_loss(noisy, truth).item()
    assert network.scale_in.item() == pytest.approx(1 / noisy.std().item())


def test_normalisation_is_undone_at_the_end():
    network = random_network(2, 1, depth=5, width=1)
    images = random_images(1, 2, 8, 9)
    for name in ("scale_in", "scale_out"):
        getattr(network, name).fill_(1)
    for name in ("shift_in", "shift_out"):
        getattr(network, name).fill_(0)
    with torch.no_grad():
        plain = network(images)
        network.set_normalization([3.0, -1.0], [0.5, 20.0], 7.0, 4.0)
        shifted = images * torch.tensor([0.5, 20.0])[:, None, None] + torch.tensor([3.0, -1.0])[:, None, None]
        torch.testing.assert_close(network(shifted), 4 * plain + 7)
    assert not {"scale_in", "shift_in", "scale_out", "shift_out"} & {n for n, _ in network.named_parameters()}
    assert {"scale_in", "shift_in", "scale_out", "shift_out"} <= network.state_dict().keys()


def test_inference_goes_image_by_image_in_one_buffer(monkeypatch):
    network = random_network(1, 1, depth=12, width=1)
    images = random_images(5, 1, 10, 11)
    with torch.no_grad():
        together = network(images)
    buffers = []
    once = msd_kernels.forward

    def watched(batch, *arguments):
        rows, frames = once(batch, *arguments)
        buffers.append((len(batch), rows.data_ptr()))
        return rows, frames

    monkeypatch.setattr(msd_kernels, "TILE_CPU", 10 * 11 * 2)
    monkeypatch.setattr(msd_kernels, "forward", watched)
    with torch.no_grad():
        torch.testing.assert_close(network(images), together)
    assert [count for count, _ in buffers] == [2, 2, 1]
    assert buffers[0][1] == buffers[1][1]


def test_autocast_changes_nothing():
    network = random_network(1, 1, depth=12, width=1).float()
    images = random_images(2, 1, 9, 8).float()
    gradients = []
    for enabled in (False, True):
        network.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            output = network(images)
            output.square().sum().backward()
        assert output.dtype == torch.float32
        gradients.append([output.detach(), *(one.grad.clone() for one in network.parameters())])
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_the_cpu_under_autocast_too():
    network = random_network(3, 2, depth=30, width=2)
    images = random_images(2, 3, 40, 33)
    expected = network(images)
    expected.square().sum().backward()
    fast = copy.deepcopy(network).float().cuda()
    fast.zero_grad()
    with torch.autocast("cuda", dtype=torch.float16):
        output = fast(images.float().cuda())
    output.square().sum().backward()
    assert output.dtype == torch.float32
    torch.testing.assert_close(output.double().cpu(), expected, rtol=1e-4, atol=1e-4)
    for one, other in zip(fast.parameters(), network.parameters(), strict=True):
        scale = float(other.grad.abs().max())
        torch.testing.assert_close(one.grad.double().cpu(), other.grad, rtol=0, atol=1e-4 * scale)


def test_whole_numbers_of_any_kind_make_the_same_network():
    given = {"channels_in": 2, "channels_out": 1, "depth": 3, "width": 2}
    names = [
        [
            name
            for name, _ in MSD(**{key: kind(value) for key, value in given.items()}, rng=0).named_parameters()
        ]
        for kind in (int, float, np.int32)
    ]
    assert names[0] == names[1] == names[2]


@pytest.mark.parametrize(
    "wrong",
    [
        {"depth": 0},
        {"width": -1},
        {"channels_in": 0},
        {"dilations": []},
        {"dilations": [1, 0]},
        {"depth": 2.5},
    ],
)
def test_sizes_must_be_positive(wrong):
    with pytest.raises(LowdoseError, match=next(iter(wrong))):
        MSD(**wrong)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 2, 8, 8), (0, 1, 8, 8), (1, 1, 0, 8)])
def test_images_of_the_wrong_shape_are_refused(shape):
    with pytest.raises(LowdoseError, match="images"):
        MSD(depth=2)(torch.zeros(shape))


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ((0, 0, 0, 1), "std_in"),
        ((0, 1, 0, -1), "std_out"),
        ((np.nan, 1, 0, 1), "mean_in"),
        ((0, 1, [0, 0], 1), "mean_out"),
    ],
)
def test_normalisation_must_make_sense(values, name):
    with pytest.raises(LowdoseError, match=name):
        MSD(depth=2).set_normalization(*values)


def test_weights_that_do_not_fit_are_named_and_change_nothing():
    network = MSD(2, 1, depth=6, rng=0)
    before = copy.deepcopy(network.state_dict())
    fitting = upstream_state(2, 1, 6, 1, seed=1)
    with pytest.raises(LowdoseError, match="weight6"):
        load_msd_pytorch_weights(network, upstream_state(2, 1, 7, 1, seed=1))
    with pytest.raises(LowdoseError, match="missing"):
        load_msd_pytorch_weights(network, upstream_state(2, 1, 5, 1, seed=1))
    with pytest.raises(LowdoseError, match=r"0\.weight: found shape \(3, 3, 1, 1\)"):
        load_msd_pytorch_weights(network, upstream_state(3, 1, 6, 1, seed=1))
    with pytest.raises(LowdoseError, match="diagonal"):
        load_msd_pytorch_weights(network, fitting | {"0.weight": torch.ones(2, 2, 1, 1)})
    with pytest.raises(LowdoseError, match="weight3"):
        load_msd_pytorch_weights(network, fitting | {"1.msd_block.weight3": torch.ones(1, 5, 3)})
    with pytest.raises(LowdoseError, match="state dict"):
        load_msd_pytorch_weights(network, {"weights": [1, 2]})
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_files_that_are_no_weights_are_refused(tmp_path):
    (tmp_path / "text.torch").write_text("no weights here")
    torch.save({"state_dict": Path("code")}, tmp_path / "code.torch")
    for name in ("text.torch", "code.torch", "absent.torch"):
        with pytest.raises(LowdoseError, match=name):
            load_msd_pytorch_weights(MSD(depth=2), tmp_path / name)
