"""The enhancing networks: their sizes, what they look at, and what they keep exactly."""

from __future__ import annotations

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lowdose_utils.errors import LowdoseError
from lowdose_utils.networks.context import BLURS, ContextEnhancer
from lowdose_utils.networks.enhancer import Enhancer, PatchEnhancer
from lowdose_utils.networks.unet import UNet
from lowdose_utils.training import count_parameters

pytestmark = pytest.mark.usefixtures("one_thread")


def randomised(network, seed=0, gain=1.0):
    """Every layer filled with random numbers, those that start at zero too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for one in network.parameters():
            spread = gain / one[0].numel() ** 0.5 if one.ndim > 1 else 0.2
            one.copy_(spread * torch.randn(one.shape, generator=generator))
    return network


def all_positive(network):
    """Weights with which no ReLU is off and nothing cancels: every way through the network shows."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for one in network.parameters():
            one.copy_((0.5 + torch.rand(one.shape, generator=generator)) / (one[0].numel()))
    return network.double()


def images(*shape, seed=0):
    return 1 + torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def scan(half_width, rows, columns, number=1, noise=0.3):
    """Input of a network with context: projections, then the noise."""
    given = images(number, 2 * half_width + 2, rows, columns)
    given[:, -1] = noise
    return given


def influence(network, channels, side):
    """The greatest change of an output pixel by an input at each distance, relative to the greatest."""
    x = images(1, channels, 24, side).double()
    if getattr(network, "takes_noise", False):
        x[:, -1] = 0.3
    found = torch.zeros(side, dtype=torch.float64)
    for turned in (False, True):
        for column in range(side // 2 - 8, side // 2 + 8):  # all places with respect to the halvings
            z = (x.transpose(2, 3) if turned else x).clone().requires_grad_()
            output = network(z)
            pixel = output[0, 0, column, 11] if turned else output[0, 0, 11, column]
            (gradient,) = torch.autograd.grad(pixel, z)
            by_column = gradient.abs().amax((0, 1, 3) if turned else (0, 1, 2))
            away = (torch.arange(side) - column).abs()
            found.scatter_reduce_(0, away, by_column, "amax")
    return found / found.max()


# Sizes


def test_parameters_are_as_many_as_stated():
    assert count_parameters(Enhancer()) == 341_937
    assert count_parameters(PatchEnhancer(32)) == count_parameters(PatchEnhancer()) == 1_391_537
    assert count_parameters(PatchEnhancer(16)) == 341_937 + 256 * 257


def test_the_papers_layers():
    network = Enhancer()
    shapes = [(one.in_channels, one.out_channels, one.stride[0]) for one in network.encoder]
    assert [one[2] for one in shapes] == [1, 2, 1, 2, 1, 2, 1, 1]
    assert shapes[0][:2] == (1, 16) and shapes[-1][1] == 64
    back = [(one.out_channels, one.stride[0]) for one in network.decoder]
    assert len(back) == 9 and back[0][0] == 64 and back[-1][0] == 1
    assert sum(stride == 2 for _, stride in back) == 3
    assert all(one.kernel_size == (3, 3) for one in [*network.encoder, *network.decoder])


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["enhancer", "unet", "context"]),
    st.integers(1, 2),
    st.integers(1, 41),
    st.integers(1, 41),
)
def test_images_of_any_size_keep_it(kind, number, rows, columns):
    network, given_images = {
        "enhancer": lambda: (Enhancer(2), images(number, 1, rows, columns)),
        "unet": lambda: (UNet(3, 2, kernels=2), images(number, 3, rows, columns)),
        "context": lambda: (ContextEnhancer(1, kernels=2), scan(1, rows, columns, number)),
    }[kind]()
    with torch.inference_mode():
        output = randomised(network)(given_images)
    assert output.shape == (number, 2 if kind == "unet" else 1, rows, columns)
    assert torch.isfinite(output).all()


@pytest.mark.parametrize(("make", "channels"), [(lambda: Enhancer(3), 1), (lambda: UNet(2, kernels=3), 2)])
def test_images_are_filled_up_with_their_last_row_and_column(make, channels):
    network, x = randomised(make()), images(2, channels, 21, 30)
    filled = torch.nn.functional.pad(x, (0, 2, 0, 3), mode="replicate")
    with torch.inference_mode():
        torch.testing.assert_close(network(x), network(filled)[..., :21, :30])


# What an output pixel depends on


@pytest.mark.parametrize(
    ("make", "true_reach"),
    [(lambda: Enhancer(2), 54), *[(lambda d=d: UNet(kernels=2, depth=d), None) for d in range(4)]],
)
def test_nothing_beyond_reach_matters(make, true_reach):
    network = all_positive(make())
    found = influence(network, 1, 176)
    last = int(found.nonzero().max())
    assert last == true_reach if true_reach else network.reach / 4 <= last
    assert last <= network.reach


def test_beyond_the_reach_of_the_context_network_only_rounding_matters():
    network = ContextEnhancer(1, kernels=2)
    found = influence(all_positive(network), 4, 208)
    assert found[network.reach :].max() < 1e-7  # Gaussians end nowhere, but fall fast
    network = randomised(ContextEnhancer(1, kernels=8), gain=2).double()
    x = scan(1, 24, 300).double()
    x[:, :-1] += torch.randn(3, 24, 300, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        whole = network(x)
        for halo, equal in ((network.reach, True), (network.reach - 16, False)):
            part = network(x[..., 120 - halo :])[..., halo:]
            assert ((part - whole[..., 120:]).abs().max() < 1e-5 * whole.abs().max()) == equal


def test_the_decoder_takes_in_the_encoders_maps():
    network = all_positive(Enhancer(2))
    network.bottleneck = torch.zeros_like
    x = images(1, 1, 16, 24).double().requires_grad_()
    (gradient,) = torch.autograd.grad(network(x)[0, 0, 8, 8], x)
    assert (gradient[0, 0, 7:10, 7:10] > 0).all()


def test_the_connected_layer_sees_the_whole_patch():
    network = all_positive(PatchEnhancer(16, kernels=2))
    x = images(1, 1, 16, 16).double().requires_grad_()
    (gradient,) = torch.autograd.grad(network(x)[0, 0, 0, 0], x)
    assert (gradient > 0).all()


# The context network


def test_untrained_it_averages_so_constants_are_kept_and_values_stay_within_range():
    network = ContextEnhancer(2, kernels=2)
    x = torch.full((1, 6, 19, 27), 7.25)
    torch.testing.assert_close(network(x), torch.full((1, 1, 19, 27), 7.25))
    x = scan(2, 40, 40)
    output, middle = network(x), x[:, 2:3]
    assert middle.min() <= output.min() and output.max() <= middle.max()
    assert 0.2 * middle.std() < output.std() < 0.6 * middle.std()  # a fifth is the projection itself
    torch.testing.assert_close(output.mean(), middle.mean(), rtol=0, atol=0.02)
    x[:, [0, 1, 3, 4]] *= 3
    assert torch.equal(network(x), output)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from([0.125, 2.0, 3.7, 1000.0]), st.integers(0, 100))
def test_twice_the_projections_and_noise_give_twice_the_answer(factor, seed):
    network = randomised(ContextEnhancer(1, kernels=3), seed)
    x = scan(1, 24, 31)
    torch.testing.assert_close(network(factor * x), factor * network(x), rtol=1e-4, atol=1e-4 * factor)


def test_less_noise_gives_another_answer():
    network, x = randomised(ContextEnhancer(1, kernels=3)), scan(1, 24, 31)
    assert not torch.allclose(network(torch.cat([x[:, :-1], 0.5 * x[:, -1:]], 1)), network(x), rtol=1e-3)


@pytest.mark.parametrize("half_width", [0, 1, 5])
def test_white_noise_gives_bands_of_unit_variance(half_width):
    network = ContextEnhancer(half_width, kernels=1)
    seen = []
    network.down[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    x = torch.randn(24, 2 * half_width + 2, 152, 152, generator=torch.Generator().manual_seed(3))
    x = 0.4 * x
    x[:, -1] = 0.4
    with torch.inference_mode():
        network(x)
    bands = torch.sinh(seen[0][:, :-1, 24:-24, 24:-24])
    assert bands.shape[1] == len(network.widths) * len(BLURS)
    spread = bands.transpose(0, 1).flatten(1).std(1)
    torch.testing.assert_close(spread, torch.ones_like(spread), rtol=0, atol=0.06)


def test_noise_left_is_the_norm_of_each_bands_kernel():
    away = np.arange(-40, 41)
    lines = [np.eye(81)[40], *(np.exp(-((away / blur) ** 2) / 2) for blur in BLURS)]
    kernels = [np.outer(line, line) / line.sum() ** 2 for line in lines]
    norms = [np.linalg.norm(one - other) for one, other in pairwise(kernels)]
    np.testing.assert_allclose(ContextEnhancer(1, kernels=1).noise_left, norms, rtol=1e-5)


def test_the_order_of_the_context_does_not_matter_but_its_distance_does():
    network = randomised(ContextEnhancer(5, kernels=3))
    x = scan(5, 24, 24)
    reverse, swapped = [*range(10, -1, -1), 11], [5, *range(1, 5), 0, *range(6, 12)]
    torch.testing.assert_close(network(x[:, reverse]), network(x))
    assert not torch.allclose(network(x[:, swapped]), network(x), atol=1e-3)


def test_untrained_it_mirrors_with_its_input():
    network, x = ContextEnhancer(1, kernels=2), scan(1, 24, 32)
    torch.testing.assert_close(network(x.flip(3)), network(x).flip(3))
    torch.testing.assert_close(network(x.flip(2)), network(x).flip(2))


def test_all_of_its_tensors_go_to_its_device():
    network = ContextEnhancer(1, kernels=2).to("meta")  # as strict as a GPU about mixed devices
    assert network(torch.zeros(1, 4, 16, 16, device="meta")).shape == (1, 1, 16, 16)


@pytest.mark.parametrize("make", [lambda: Enhancer(3), lambda: UNet(4, kernels=3), ContextEnhancer])
def test_single_precision_agrees_with_double(make):
    network = randomised(make())
    x = scan(10, 33, 20) if isinstance(network, ContextEnhancer) else images(1, 4, 33, 20)
    x = x[:, :1] if isinstance(network, Enhancer) else x
    with torch.inference_mode():
        exact = copy.deepcopy(network).double()(x.double())
        assert exact.dtype == torch.float64
        torch.testing.assert_close(network(x).double(), exact, rtol=0, atol=1e-4)


# The U-Net


def test_untrained_it_gives_the_middle_channels_back():
    x = images(2, 5, 13, 18)
    assert torch.equal(UNet(5, kernels=2)(x), x[:, 2:3])
    assert torch.equal(UNet(5, 3, kernels=2)(x), x[:, 1:4])


# Bad input


@pytest.mark.parametrize("patch", [0, -8, 4, 12, 33])
def test_patches_are_a_multiple_of_8(patch):
    with pytest.raises(LowdoseError, match="multiple of 8"):
        PatchEnhancer(patch)


@pytest.mark.parametrize("shape", [(30, 30), (32, 31), (25, 32), (32, 40), (64, 64), (16, 64)])
def test_patches_of_another_size_are_refused(shape):
    with pytest.raises(LowdoseError, match="patches of 32 x 32"):
        PatchEnhancer(32, kernels=2)(images(1, 1, *shape))


@pytest.mark.parametrize(
    "shape", [(8, 8), (1, 8, 8), (1, 2, 8, 8), (0, 3, 8, 8), (1, 3, 0, 8), (1, 1, 3, 8, 8)]
)
@pytest.mark.parametrize(
    "make", [lambda: Enhancer(2), lambda: UNet(3, kernels=2), lambda: ContextEnhancer(1)]
)
def test_images_of_the_wrong_shape_are_refused(make, shape):
    with pytest.raises(LowdoseError, match="images"):
        make()(torch.zeros(shape))


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (UNet, {"inputs": 0}),
        (UNet, {"outputs": 2}),
        (UNet, {"kernels": 0}),
        (UNet, {"depth": -1}),
        (ContextEnhancer, {"half_width": -1}),
        (ContextEnhancer, {"kernels": 0}),
        (Enhancer, {"kernels": 0}),
    ],
)
def test_numbers_that_make_no_network_are_refused(make, wrong):
    with pytest.raises(LowdoseError, match=next(iter(wrong))):
        make(**wrong)
