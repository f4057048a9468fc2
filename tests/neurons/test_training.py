"""Pieces, augmentation, and a network that learns from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lowdose_utils.errors import LowdoseError
from lowdose_utils.networks import seeded
from lowdose_utils.networks.unet3d import UNet3d
from lowdose_utils.neurons.affinities import affinities, grow_boundary, neighbours
from lowdose_utils.neurons.augment import Augmentation, draw, intensity
from lowdose_utils.neurons.inputs import Inputs
from lowdose_utils.neurons.predict import predict
from lowdose_utils.neurons.train import Grey, Pieces, balanced_entropy, balanced_mse
from lowdose_utils.neurons.validate import Watch, balanced_error
from lowdose_utils.training import train

from .tissues import membranes, voronoi

STILL = Augmentation(bent=0.0, mirror=False, scale=0.0, shift=0.0, noise=0.0)


def small(padding="same", **options):
    options = {"kernels": 8, "growth": 1, "depth": 1, **options}
    return UNet3d(neighbours(1, 3), padding=padding, **options)


def test_unchanged_pieces_are_parts_of_the_volume():
    labels = voronoi(24, 6)
    raw = labels.astype(np.float32)
    for seed in range(5):
        piece, named = draw(raw[None], labels, 8, STILL, np.random.default_rng(seed), margin=3)
        assert piece.shape == (1, 14, 14, 14)
        np.testing.assert_array_equal(piece[0, 3:-3, 3:-3, 3:-3], named)


@pytest.mark.parametrize("bent", [0.0, 1.0])
def test_labels_follow_the_grey_values(bent):
    """However a piece is bent and mirrored, both show the same cells."""
    labels = voronoi(40, 6)
    raw = labels.astype(np.float32)
    change = Augmentation(bent=bent, scale=0.0, shift=0.0, noise=0.0)
    for seed in range(5):
        piece, named = draw(raw[None], labels, 20, change, np.random.default_rng(seed), margin=2)
        inner = piece[0, 2:-2, 2:-2, 2:-2]
        core = grow_boundary(named) > 0  # between cells the grey values are interpolated
        assert np.mean(np.abs(inner - named)[core] < 1e-3) > 0.97


def test_bending_moves_by_as_much_as_it_says():
    """Coordinates as grey values: without bending a turn leaves distances, with it they change by voxels."""
    ramp = np.broadcast_to(np.arange(60, dtype=np.float32)[:, None, None], (60, 60, 60))
    labels = np.ones(ramp.shape, np.int32)
    slopes = {}
    for jitter in (0.0, 2.0):
        change = Augmentation(1.0, 10, jitter, mirror=False, scale=0.0, shift=0.0, noise=0.0)
        piece, _ = draw(ramp[None], labels, 20, change, np.random.default_rng(3))
        slopes[jitter] = np.stack(np.gradient(piece[0]))[:, 2:-2, 2:-2, 2:-2]
    assert np.linalg.norm(slopes[0.0], axis=0) == pytest.approx(1, abs=1e-3)
    assert slopes[2.0].std() > 0.05


def test_intensity_keeps_to_its_bounds():
    raw = np.linspace(-1, 1, 1000, dtype=np.float32).reshape(10, 10, 10)
    for seed in range(20):
        changed = intensity(raw, Augmentation(noise=0.0), np.random.default_rng(seed))
        slope, offset = np.polyfit(raw.ravel(), changed.ravel(), 1)
        assert 0.9 <= slope <= 1.1 and -0.1 <= offset <= 0.1
    noisy = intensity(raw, Augmentation(scale=0.0, shift=0.0, noise=0.1), np.random.default_rng(0))
    assert (noisy - raw).std() == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_batch_holds_what_the_network_should_answer(padding):
    labels = voronoi(40, 12)
    network = small(padding)
    pieces = Pieces(network, [(labels.astype(np.float32), labels)], size=12, batch=2, augmentation=STILL)
    given, target = pieces(np.random.default_rng(0))
    assert network(given).shape == (2, 6, 12, 12, 12) and target.shape == (2, 12, 12, 12, 12)
    margin = network.context
    inner = given[0, 0, margin : margin + 12, margin : margin + 12, margin : margin + 12].numpy()
    # With unchanged grey values the labels can be read from them; boundaries were grown in the whole volume.
    exact, _ = affinities(grow_boundary(inner.astype(np.int32)), network.offsets)
    wanted = target[0, :6].numpy() > 0
    assert not (wanted & ~exact)[:3, 1:-1, 1:-1, 1:-1].any()
    assert wanted.mean() > 0.1
    again = pieces(np.random.default_rng(0))
    assert all(torch.equal(one, other) for one, other in zip((given, target), again, strict=True))


def test_unlabelled_pieces_are_drawn_again():
    labels = np.zeros((40, 40, 40), np.int32)
    labels[:, :, :14] = 1
    pieces = Pieces(small(), [(np.zeros(labels.shape), labels)], size=8, batch=8, augmentation=STILL)
    _, target = pieces(np.random.default_rng(0))
    assert all(share >= 0.05 for share in target[:, 0].mean((1, 2, 3)))
    with pytest.raises(LowdoseError, match="10%"):
        Pieces(small(), [(np.zeros(labels.shape), labels * 0)], size=8)(np.random.default_rng(0))


def test_losses_by_hand():
    wanted = torch.tensor([1.0, 0.0, 1.0]).reshape(1, 1, 3, 1, 1)
    weights = torch.tensor([1.0, 2.0, 0.0]).reshape(1, 1, 3, 1, 1)
    output = torch.tensor([0.5, 0.25, 0.0]).reshape(1, 1, 3, 1, 1)
    target = torch.cat([wanted, weights], 1)
    assert float(balanced_mse(output, target)) == pytest.approx((0.25 + 2 * 0.0625) / 3)
    expected = -(np.log(0.5) + 2 * np.log(0.75)) / 3
    assert float(balanced_entropy(output, target)) == pytest.approx(expected, rel=1e-5)


def test_grey_scale_is_that_of_its_volume():
    values = np.random.default_rng(0).normal(5, 3, (8, 8, 8))
    grey = Grey.of(values)
    assert grey(values).mean() == pytest.approx(0, abs=1e-5)
    assert grey(values + 3).mean() == pytest.approx(1, rel=0.1)
    with pytest.raises(LowdoseError, match="deviation"):
        Grey.of(np.ones((3, 3, 3)))


def test_a_network_learns_where_membranes_are():
    labels = voronoi(32, 10)
    raw = Grey.of(membranes(labels))(membranes(labels))
    network = seeded(lambda: small(fold=2, kernels=16), 0)
    pieces = Pieces(network, [(raw, labels)], size=16)
    done = train(
        network, pieces, steps=60, loss=balanced_mse, learning_rate=5e-3, device="cpu", progress=False
    )
    assert done.losses[-10:].mean() < 0.6 * done.losses[:3].mean()
    other = voronoi(24, 6, rng=1)
    found = predict(network, Grey.of(membranes(other, 1))(membranes(other, 1)), device="cpu")
    truth, known = affinities(grow_boundary(other), neighbours(1))
    inside, between = found[truth].mean(), found[known & ~truth].mean()
    assert inside > between + 0.3


def test_pieces_that_do_not_fit_are_refused():
    labels = voronoi(20, 3)
    for network, size in ((small("valid"), 16), (small("valid"), 5)):
        with pytest.raises(LowdoseError, match="size"):
            Pieces(network, [(labels, labels)], size=size)
    with pytest.raises(LowdoseError, match="shape"):
        Pieces(small(), [(labels[1:], labels)], size=8)


def test_channels_are_sheets_on_a_fixed_scale():
    labels = voronoi(24, 5)
    raw = membranes(labels) * 100 + 400
    inputs = Inputs.of(raw, (1.0, 2.0))
    given = inputs(raw)
    assert given.shape == (3, *raw.shape) and given.dtype == np.float32
    assert given[1:].std((1, 2, 3)) == pytest.approx(1, rel=1e-3)
    part = inputs(raw[4:20])
    np.testing.assert_allclose(part[1, 6:-6], given[1, 10:14], atol=1e-4)


def test_watching_keeps_each_state_and_the_best_wins():
    labels = voronoi(32, 10)
    raw = Grey.of(membranes(labels))(membranes(labels))
    network = seeded(lambda: small(fold=2, kernels=16), 0)
    watch = Watch(raw[:16], labels[4:12], margin=4, device="cpu")
    done = train(
        network,
        Pieces(network, [(raw, labels)], size=16),
        steps=30,
        loss=balanced_mse,
        learning_rate=5e-3,
        validate=watch,
        validate_every=10,
        device="cpu",
        progress=False,
    )
    assert [step for step, _ in done.validation] == [10, 20, 30]
    assert [value for _, value in done.validation] == [one.error for one in watch.kept]
    least = min(watch.kept, key=lambda one: one.error)
    assert all(torch.equal(tensor, least.weights[name]) for name, tensor in network.state_dict().items())
    assert watch(network) == pytest.approx(least.error)
    assert watch.kept[0].seconds < watch.kept[-1].seconds


def test_balanced_error_by_hand():
    labels = np.ones((2, 2, 2), int)
    perfect, _ = affinities(labels, neighbours(1))
    assert balanced_error(perfect.astype(np.float32), labels, neighbours(1, 3)) == 0
    half = np.full(perfect.shape, 0.5, np.float32)
    assert balanced_error(half, labels, neighbours(1)) == pytest.approx(0.25)
