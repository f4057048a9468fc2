"""The volumetric U-Net: sizes of the published form, what an output voxel sees, how it is folded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lowdose_utils.errors import LowdoseError
from lowdose_utils.networks import seeded
from lowdose_utils.networks.convolution3d import Convolution
from lowdose_utils.networks.unet3d import UNet3d
from lowdose_utils.neurons.affinities import neighbours
from lowdose_utils.training import count_parameters


def on_meta(**options) -> UNet3d:
    with torch.device("meta"):
        return UNet3d(neighbours(1, 3, 9, 27), **options)


@pytest.mark.parametrize(("given", "left"), [(132, 40), (284, 192)])
def test_published_form_has_published_sizes(given, left):
    network = on_meta()
    found = network(torch.empty(1, 1, given, given, given, device="meta"))
    assert found.shape == (1, 12, left, left, left)
    assert network.output_size(given) == left


def test_published_form_triples_its_maps():
    maps = [block[0].out_channels for block in on_meta().down]
    assert maps == [24, 72, 216, 648]


def test_prototype_has_its_number_of_parameters():
    network = UNet3d(neighbours(1, 3, 9), kernels=8, growth=2, depth=2, padding="same")
    assert count_parameters(network) == 88585


@pytest.mark.parametrize("depth", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("fold", [1, 2])
def test_valid_outputs_can_be_tiled(depth, fold):
    network = on_meta(kernels=2, growth=1, depth=depth, fold=fold)
    for blocks in (1, 2, 3):
        given = 2 * network.context + blocks * network.grid
        found = network(torch.empty(1, 1, given, given, given, device="meta"))
        assert found.shape[2:] == (blocks * network.grid,) * 3
        assert network.output_size(given) == blocks * network.grid


@pytest.mark.parametrize("options", [{"depth": 1, "fold": 2}, {"depth": 2}, {"depth": 0, "fold": 3}])
def test_same_size_whatever_the_size(options):
    network = UNet3d(neighbours(1), kernels=2, growth=2, padding="same", **options)
    assert network(torch.zeros(2, 1, 7, 9, 13)).shape == (2, 3, 7, 9, 13)


@pytest.mark.parametrize("options", [{"depth": 1, "fold": 2}, {"depth": 2, "fold": 1}, {"depth": 0}])
def test_reach_is_what_an_output_sees(options):
    """By gradients: all of them within the reach, and at some place one as far as that."""
    network = seeded(lambda: UNet3d(neighbours(1), kernels=3, growth=1, padding="same", **options), 0)
    for block in (*network.down, *network.up):  # no voxel may be lost behind a ReLU or a maximum
        for layer in block:
            if isinstance(layer, torch.nn.Conv3d):
                torch.nn.init.uniform_(layer.weight, 0.1, 1.0)
    side = 2 * network.reach + 3 * network.grid
    side += -side % network.grid
    widest = 0
    for place in range(side // 2, side // 2 + network.grid):
        volume = torch.rand(1, 1, side, side, side, requires_grad=True)
        network(volume)[0, :, place, place, place].logit().sum().backward()
        seen = np.flatnonzero(volume.grad[0, 0].abs().sum((1, 2)).numpy())
        widest = max(widest, place - seen[0], seen[-1] - place)
    # A maximum passes the gradient of one voxel of its cell only: what is seen may end a cell earlier.
    assert network.reach - network.grid < widest <= network.reach


def test_folding_keeps_voxels_in_place():
    """With weights that pass each channel on, what goes in comes out where it was."""
    network = UNet3d([[-1, 0, 0]], kernels=8, growth=1, depth=0, padding="same", fold=2)
    with torch.no_grad():
        for layer in (network.down[0][0], network.down[0][2], network.last):
            layer.weight.zero_()
            layer.bias.zero_()
            centre = layer.weight.shape[-1] // 2
            layer.weight[range(8), range(8), centre, centre, centre] = 1.0
    volume = torch.rand(1, 1, 6, 8, 10)
    torch.testing.assert_close(network(volume), torch.sigmoid(volume))


def test_bad_numbers_are_refused():
    for bad in ({"kernels": 0}, {"depth": -1}, {"fold": 0}, {"padding": "reflect"}):
        with pytest.raises(LowdoseError, match="kernels"):
            UNet3d(neighbours(1), **bad)
    with pytest.raises(LowdoseError, match="offsets"):
        UNet3d([1, 2, 3])
    with pytest.raises(LowdoseError, match="92"):
        on_meta()(torch.empty(1, 1, 90, 132, 132, device="meta"))


@pytest.mark.parametrize(("channels", "wanted", "size"), [(1, 16, 9), (16, 16, 12), (5, 3, 7), (64, 64, 5)])
def test_convolution_is_torch_s_own(channels, wanted, size):
    """Values and gradients, whichever code computes them; double precision takes torch's way."""
    own = seeded(lambda: Convolution(channels, wanted, 3, padding=1), 0)
    maps = torch.randn(2, channels, size, size, size, requires_grad=True)
    found = own(maps)
    exact = torch.nn.functional.conv3d(maps.double(), own.weight.double(), own.bias.double(), padding=1)
    torch.testing.assert_close(found.double(), exact, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(own.double()(maps.double()), exact)
    own.float()
    weights = torch.randn_like(found)
    ours = torch.autograd.grad((own(maps) * weights).sum(), [maps, own.weight, own.bias])
    theirs = torch.autograd.grad(
        (torch.nn.functional.conv3d(maps, own.weight, own.bias, padding=1) * weights).sum(),
        [maps, own.weight, own.bias],
    )
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=2e-3, rtol=1e-3)
    own(maps.detach()).sum().backward()  # the first layer's input needs no gradient
    assert own.weight.grad is not None


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch is built without oneDNN")
def test_convolution_takes_the_fast_way():
    own = Convolution(16, 16, 3, padding=1)
    with torch.profiler.profile() as seen:
        own(torch.zeros(1, 16, 8, 8, 8, requires_grad=True)).sum().backward()
    assert not any("slow" in event.key for event in seen.key_averages())
