"""Blockwise prediction gives what the whole volume gives, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lowdose_utils.errors import LowdoseError
from lowdose_utils.networks import seeded
from lowdose_utils.networks.unet3d import UNet3d
from lowdose_utils.neurons.affinities import neighbours
from lowdose_utils.neurons.predict import predict

FORMS = [
    {"kernels": 8, "depth": 1, "fold": 2, "padding": "same"},
    {"kernels": 2, "depth": 2, "padding": "same"},
    {"kernels": 8, "depth": 1, "padding": "valid"},
    {"kernels": 4, "depth": 1, "fold": 2, "padding": "valid"},
]


def network(form):
    """With weights larger than usual, so that far voxels matter."""
    built = seeded(lambda: UNet3d(neighbours(1, 3), growth=2, **form), 1)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.mul_(1.5)
    return built


@pytest.mark.parametrize("form", FORMS)
def test_blocks_are_the_whole(form, monkeypatch):
    """In double precision: a convolution may round in another way when its volume has another shape."""
    raw = np.random.default_rng(0).standard_normal((21, 26, 33))
    one = network(form).double()
    monkeypatch.setattr(torch, "from_numpy", lambda array: torch.tensor(array, dtype=torch.float64))
    whole = predict(one, raw, block=96, device="cpu")
    parts = predict(one, raw, block=17, device="cpu")
    assert whole.shape == (3, *raw.shape)
    assert whole.std() > 0.01
    np.testing.assert_allclose(parts, whole, rtol=1e-7)


@pytest.mark.parametrize("block", [17, 24, 32])
def test_blocks_are_the_whole_to_the_last_bit(block):
    """With channels that fill the processor's vectors, as those of the book's network do."""
    raw = np.random.default_rng(0).standard_normal((37, 58, 71)).astype(np.float32)
    one = network(FORMS[0])
    whole = predict(one, raw, block=96, device="cpu")
    np.testing.assert_array_equal(predict(one, raw, block=block, device="cpu"), whole)


def test_same_padding_is_the_network_itself():
    raw = np.random.default_rng(0).standard_normal((20, 26, 31)).astype(np.float32)
    one = network(FORMS[0])
    with torch.no_grad():
        direct = one(torch.from_numpy(raw)[None, None])[0].numpy()
    np.testing.assert_allclose(predict(one, raw, block=8, offsets=6, device="cpu"), direct, atol=2e-7)


def test_valid_convolutions_see_a_mirrored_surrounding():
    raw = np.random.default_rng(0).standard_normal((12, 12, 16)).astype(np.float32)
    one = network(FORMS[2])
    mirrored = np.pad(raw, one.context, mode="reflect")
    with torch.no_grad():
        direct = one(torch.from_numpy(mirrored)[None, None])[0, :3].numpy()
    np.testing.assert_allclose(predict(one, raw, device="cpu"), direct, atol=2e-7)


def test_a_narrower_halo_would_show():
    """The equality above is no accident: without the last ring of the halo it is lost."""
    raw = np.random.default_rng(0).standard_normal((48, 48, 48)).astype(np.float32)
    one = network(FORMS[0])
    whole = predict(one, raw, block=96, device="cpu")
    one.reach = 7
    assert np.abs(predict(one, raw, block=16, device="cpu") - whole).max() > 1e-6


def test_a_file_will_do(tmp_path):
    raw = np.lib.format.open_memmap(tmp_path / "raw.npy", "w+", np.uint8, (24, 24, 24))
    raw[:] = np.random.default_rng(0).integers(0, 255, raw.shape)
    one = network(FORMS[0])
    inside = predict(one, raw, block=8, device="cpu")
    np.testing.assert_array_equal(inside, predict(one, np.asarray(raw, np.float32), device="cpu"))


def test_bad_input_is_refused():
    for raw, options in (
        (np.zeros((4, 4)), {}),
        (np.zeros((8, 8, 8)), {"block": 1, "offsets": 2}),
        (
            np.zeros((8, 8, 8)),
            {"offsets": 7},
        ),
    ):
        with pytest.raises(LowdoseError, match="raw, block, offsets"):
            predict(network(FORMS[0]), raw, device="cpu", **options)
