"""Noise2Inverse against what its theory says, and on small scans whose truth is known."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from lowdose_utils import noise2inverse as n2i
from lowdose_utils import training
from lowdose_utils.acquire import gaussian_noise, interlaced_angles, uniform_angles
from lowdose_utils.enhance.scaling import Scale
from lowdose_utils.errors import LowdoseError
from lowdose_utils.measure import disc_mask, psnr
from lowdose_utils.networks.enhancer import Enhancer
from lowdose_utils.networks.msd import MSD
from lowdose_utils.networks.unet import UNet
from lowdose_utils.noise2inverse.pairs import PairBatches
from lowdose_utils.noise2inverse.volumes import Volumes
from lowdose_utils.phantoms.foam import foam
from lowdose_utils.reconstruct import fbp

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE, SLICES, ANGLES = 64, 8, 64
QUIET = {"device": "cpu", "progress": False}


@pytest.fixture(scope="module")
def scan():
    """Noisy and clean sinograms of a foam, and their angles."""
    angles = uniform_angles(ANGLES)
    clean = foam(60, smallest=0.04, largest=0.2, height=0.5, rng=1).projections(SIZE, angles, SLICES)
    return gaussian_noise(clean, 5, rng=0), clean.astype(np.float32), angles


@pytest.fixture(scope="module")
def sections(scan):
    noisy, _, angles = scan
    return n2i.reconstruct_sections(noisy, angles, 4, device="cpu")


@pytest.fixture(scope="module")
def slices(scan):
    """Full reconstructions: noisy and noise-free."""
    return tuple(fbp(sinograms, scan[2], device="cpu") for sinograms in scan[:2])


@pytest.fixture(scope="module")
def trained(sections):
    network = MSD(depth=10, rng=0)
    return n2i.train_noise2inverse(
        network, sections, steps=80, batch=4, crop=48, learning_rate=5e-3, held_out=[3], **QUIET
    )


def quality(volume, truth) -> float:
    return psnr(volume, truth, 1.0, disc_mask(truth.shape[-1]))


def linear(kernel) -> torch.nn.Conv2d:
    """A network that convolves, with zeros beyond the edges."""
    network = torch.nn.Conv2d(1, 1, 3, padding=1, bias=False)
    with torch.no_grad():
        network.weight[0, 0] = torch.as_tensor(kernel, dtype=torch.float32)
    return network


def plain_scale(channels: int = 1, offset: float = 0.0, factor: float = 1.0) -> Scale:
    shape = (channels, 1, 1)
    return Scale(np.full(shape, offset, np.float32), np.full(shape, factor, np.float32))


KERNEL = np.array([[0.1, 0.2, 0.0], [0.05, 0.3, 0.1], [0.1, 0.0, 0.15]])
IDENTITY = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]])


def noise_sections(number=4, slices=2, size=24, channels=None, seed=0):
    lead = (number,) if channels is None else (number, channels)
    return np.random.default_rng(seed).standard_normal((*lead, slices, size, size)).astype(np.float32)


# Sections


@given(st.integers(2, 60), st.integers(2, 12), st.sampled_from([np.pi, 2 * np.pi]))
def test_split_sections_hold_each_projection_once_and_pass_the_check(count, number, span):
    if number > count:
        with pytest.raises(LowdoseError, match=f"2 to {count}"):
            n2i.split_angles(count, number)
        return
    parts = n2i.split_angles(count, number)
    assert sorted(np.concatenate(parts)) == list(range(count))
    assert all((np.diff(part) == number).all() and part[0] == j for j, part in enumerate(parts))
    if span < 4:  # a full turn can put opposite projections, of one direction, into one section
        found = n2i.check_sections(parts, uniform_angles(count, span))
        assert all(np.array_equal(a, b) for a, b in zip(found, parts, strict=True))


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([[0, 1, 2, 3], [3, 4, 5, 6, 7]], "1 projections used more than once: 3 \\(67.50 degrees\\)"),
        ([[0, 2, 4, 4], [1, 3, 5, 6, 7]], "used more than once: 4 \\(90.00 degrees\\)"),
        ([[0, 2, 4], [1, 3, 5, 7]], "never used: 6 \\(135.00 degrees\\)"),
        ([[0, 2, 4, 6, 7], [1, 3, 5]], "5 projections in section 0 .* 3 in section 1 \\(1 \\(22.50 degrees"),
        ([[0, 1, 2, 3], [4, 5, 6, 7]], "section 0.*4 directions .* between 3 \\(67.50 .*, 0 \\(0.00"),
        ([[0, 1, 2, 6], [3, 4, 5, 7]], "section 0.*3 directions .* between 2 \\(45.00 .*, 6 \\(135.00"),
        ([[0, 1, 2, 3, 4, 5, 6, 7]], "two at least"),
        ([[0, 2, 4, 8], [1, 3, 5, 7]], "places from 0 to 7"),
        ([[0.0, 2.0, 4.0, 6.0], [1, 3, 5, 7]], "places from 0 to 7"),
        ([[0, 2, 4, 6], []], "places from 0 to 7"),
    ],
)
def test_unfit_sections_are_refused_by_their_angles(parts, words):
    with pytest.raises(LowdoseError, match=words):
        n2i.check_sections(parts, uniform_angles(8))


def test_sections_of_a_tilt_series_need_cover_no_more_than_the_series():
    tilts = np.deg2rad(np.arange(-60, 61, 3.0))
    assert len(n2i.check_sections(n2i.split_angles(len(tilts), 4), tilts)) == 4


def test_time_steps_are_sections_interlaced_or_not():
    steps = n2i.time_steps(6, 20)
    assert np.array_equal(np.concatenate(steps), np.arange(120))
    for angles in (interlaced_angles(6, 20), np.tile(uniform_angles(20), (6, 1))):
        assert len(n2i.check_sections(steps, angles.ravel())) == 6
    slow = uniform_angles(120)  # one turn in six steps: each sees a sixth of it
    with pytest.raises(LowdoseError, match="left out"):
        n2i.check_sections(steps, slow)
    with pytest.raises(LowdoseError, match="time steps"):
        n2i.time_steps(1, 20)


def test_a_group_is_as_many_steps_as_fill_the_gaps():
    increment = np.pi / 30
    for number in (4, 5, 7):  # each step begins a part of the increment later
        start = np.arange(3 * number)[:, None] * increment / number
        assert n2i.group_size(start + increment * np.arange(30)) == number
    assert n2i.group_size(np.tile(uniform_angles(30), (4, 1))) == 2
    assert n2i.group_size(interlaced_angles(8, 30, order="van_der_corput")) == 2
    with pytest.raises(LowdoseError, match="in groups of 2"):
        n2i.group_size(np.array([[0.0, 0.1], [0.2, 0.3]]))
    with pytest.raises(LowdoseError, match="two steps at least"):
        n2i.group_size(np.zeros((1, 4)))


# Reconstruction


def test_the_mean_of_the_sections_is_the_reconstruction_of_the_scan(sections, slices):
    assert sections.shape == (4, SLICES, SIZE, SIZE)
    assert np.abs(sections.mean(axis=0) - slices[0]).max() < 1e-4 * np.ptp(slices[0])
    assert np.abs(sections[0] - slices[0]).max() > 0.1 * np.ptp(slices[0])


def test_channels_slabs_and_files_change_nothing(scan, sections, tmp_path):
    noisy, _, angles = scan
    both = np.stack([noisy, noisy[::-1]])
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        stored = file.create_dataset("sinograms", data=both)
        out = file.create_dataset("sections", (4, 2, SLICES, SIZE, SIZE), "f4")
        found = n2i.reconstruct_sections(stored, angles, 4, out=out, slab=3, device="cpu")
        assert found is out
        assert np.allclose(found[:, 0], sections, atol=1e-6)
        assert np.allclose(found[:, 1], sections[:, ::-1], atol=1e-6)


def test_what_cannot_be_reconstructed_is_refused(scan):
    noisy, _, angles = scan
    with pytest.raises(LowdoseError, match="63 angles"):
        n2i.reconstruct_sections(noisy, angles[:-1])
    with pytest.raises(LowdoseError, match="1 of 64"):
        n2i.reconstruct_sections(noisy, angles, 1)
    with pytest.raises(LowdoseError, match="65 of 64"):
        n2i.reconstruct_sections(noisy, angles, 65)
    with pytest.raises(LowdoseError, match="out: found shape"):
        n2i.reconstruct_sections(noisy, angles, out=np.empty((4, 2, 2, 2), np.float32))
    torn = noisy.copy()
    torn[5, 7] = np.nan
    with pytest.raises(LowdoseError, match=f"{SIZE} values that are NaN .* projection 7"):
        n2i.reconstruct_sections(torn, angles)
    with pytest.raises(LowdoseError, match=r"channel 1.*counts"):
        n2i.reconstruct_sections(np.stack([noisy, np.zeros_like(noisy)]), angles, device="cpu")
    halves = [np.arange(32), np.arange(32, 64)]
    with pytest.raises(LowdoseError, match="left out"):
        n2i.reconstruct_sections(noisy, angles, halves)
    assert n2i.reconstruct_sections(noisy, angles, halves, check=False, device="cpu").shape[0] == 2


# Theory


def loss_identity(parts) -> float:
    """Loss minus (supervised loss + noise variance), in its standard errors, for a fixed network."""
    size, draws = 24, 400
    angles = uniform_angles(16)
    clean = foam(10, smallest=0.1, largest=0.3, rng=2).projections(size, angles).astype(np.float32)
    noise = 2 * np.random.default_rng(0).standard_normal((draws, 16, size)).astype(np.float32)
    truth = n2i.reconstruct_sections(clean, angles, parts, check=False, device="cpu")
    errors = n2i.reconstruct_sections(noise, angles, parts, check=False, device="cpu")
    network = linear(KERNEL)
    excess = np.zeros(draws)
    for inputs, (target,) in n2i.pairs(len(parts)):
        with torch.no_grad():
            given = torch.from_numpy((truth + errors)[list(inputs)].mean(axis=0))
            output = network(given[:, None]).numpy()[:, 0]
        loss = (output - truth[target] - errors[target]) ** 2
        excess += (loss - (output - truth[target]) ** 2 - errors[target] ** 2).mean(axis=(1, 2))
    return float(excess.mean() / (excess.std() / np.sqrt(draws)))


def test_the_expected_loss_is_the_supervised_loss_plus_the_variance_of_the_noise():
    """Hendriksen et al. 2020, proposition 1."""
    assert abs(loss_identity(n2i.split_angles(16, 4))) < 3.5


def test_overlap_rewards_the_network_for_the_noise():
    overlapping = [np.union1d(part, (part + 1) % 16) for part in n2i.split_angles(16, 4)]
    assert loss_identity(overlapping) < -10


# Pairs and batches


def test_each_section_is_the_odd_one_out_once():
    assert n2i.pairs(3) == [((1, 2), (0,)), ((0, 2), (1,)), ((0, 1), (2,))]
    assert n2i.pairs(3, "1:X") == [((0,), (1, 2)), ((1,), (0, 2)), ((2,), (0, 1))]
    steps = n2i.pairs(6, "1:X", group=3)
    assert steps[:3] == n2i.pairs(3, "1:X") and steps[3] == ((3,), (4, 5))
    for wrong in ({"group": 4}, {"group": 1}, {"strategy": "X:2"}):
        with pytest.raises(LowdoseError):
            n2i.pairs(6, **wrong)


def batches(volumes, **changes) -> PairBatches:
    opened = Volumes(volumes)
    rows = opened.shape[0]
    crop = changes.pop("crop", 10)
    common = dict(
        chosen=n2i.pairs(opened.number),
        scale=plain_scale(opened.channels),
        context=1,
        slices=range(opened.slices),
        tops=range(rows - (crop or rows) + 1),
        crop=crop,
        batch=6,
    )
    return PairBatches(opened, **common | changes)


@pytest.mark.parametrize("channels", [None, 3])
def test_batches_from_files_are_those_from_memory(tmp_path, channels):
    volumes = noise_sections(4, 5, 20, channels)
    np.save(tmp_path / "all.npy", volumes)
    wanted = batches(volumes)(np.random.default_rng(4))
    with h5py.File(tmp_path / "all.h5", "w") as file:
        sources = [
            np.load(tmp_path / "all.npy", mmap_mode="r"),
            list(volumes),
            file.create_dataset("all", data=volumes, chunks=True),
            [file.create_dataset(f"section {k}", data=one) for k, one in enumerate(volumes)],
            zarr.create_array(str(tmp_path / "all.zarr"), data=volumes),
        ]
        for source in sources:
            found = batches(source)(np.random.default_rng(4))
            assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    count = channels or 1
    assert wanted[0].shape == (6, 3 * count, 10, 10) and wanted[1].shape == (6, count, 10, 10)


def test_only_the_crops_are_read():
    class Counting:
        def __init__(self, array):
            self.array, self.shape, self.dtype, self.read = array, array.shape, array.dtype, 0

        def __getitem__(self, key):
            part = self.array[key]
            self.read += part.size
            return part

    source = Counting(noise_sections(4, 9, 40))
    batches(source)(np.random.default_rng(0))
    assert 6 * (3 * 2 + 1) * 100 <= source.read <= 6 * (3 * 3 + 1) * 100


def test_context_is_clamped_at_the_edges_and_channels_stay_in_their_slice():
    volume = np.zeros((2, 2, 4, 6, 6), np.float32)  # section, channel, z
    volume += 10 * np.arange(4)[:, None, None] + np.arange(2)[:, None, None, None]
    opened = Volumes(volume)
    assert opened.block(0, 0, 2)[:, 0, 0].tolist() == [0, 1, 0, 1, 0, 1, 10, 11, 20, 21]
    assert opened.block(1, 3, 1)[:, 0, 0].tolist() == [20, 21, 30, 31, 30, 31]


@settings(max_examples=20)
@given(st.integers(0, 1000), st.sampled_from([None, 7]), st.booleans())
def test_input_and_target_are_turned_and_scaled_alike(seed, crop, square):
    one = noise_sections(1, 3, 12)[0] if square else noise_sections(1, 3, 12)[0][..., :9]
    drawn = batches([one, one], crop=crop, scale=plain_scale(1, 0.5, 2.0))(np.random.default_rng(seed))
    assert torch.equal(drawn[0][:, 1:2], drawn[1])
    if crop is None:
        sums = {round(float(plane.sum()), 3) for plane in (one - 0.5) / 2}
        assert {round(float(image.sum()), 3) for image in drawn[1]} <= sums


def test_all_orientations_are_drawn():
    one = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    drawn = batches([one, one], crop=None, context=0, batch=200)(np.random.default_rng(0))[1]
    assert len({tuple(image.ravel().tolist()) for image in drawn}) == 8
    fixed = batches([one, one], crop=None, context=0, turned=False)(np.random.default_rng(0))[1]
    assert all(np.array_equal(image[0], one[0]) for image in fixed)


def test_every_section_is_a_target_equally_often():
    volumes = np.arange(4, dtype=np.float32)[:, None, None, None] * np.ones((1, 3, 5, 5), np.float32)
    targets = batches(volumes, crop=3, batch=2000)(np.random.default_rng(0))[1][:, 0, 0, 0]
    counts = np.bincount(targets.numpy().astype(int), minlength=4)
    assert (np.abs(counts - 500) < 5 * np.sqrt(2000 * 0.25 * 0.75)).all()


# Training


def test_training_on_the_noisy_scan_alone_comes_nearer_to_the_truth(trained, slices, sections):
    denoiser, done = trained
    noisy, truth = slices
    before = quality(noisy, truth)
    results = {way: denoiser.of_sections(sections, way, device="cpu") for way in ("sections", "full", "both")}
    assert np.allclose(results["full"], denoiser(noisy, device="cpu"), atol=1e-3)
    assert np.allclose(results["both"], (results["full"] + results["sections"]) / 2, atol=1e-5)
    for result in results.values():
        assert quality(result, truth) > before + 5
    assert quality(denoiser(noisy, turned=True, device="cpu"), truth) > before + 5
    assert len(done.validation) == 20 and done.validation[-1][1] < done.validation[0][1]


def test_a_saved_denoiser_denoises_in_a_new_network(trained, slices, tmp_path):
    denoiser, _ = trained
    wanted = denoiser(slices[0], device="cpu")
    denoiser.save(tmp_path / "denoiser.pt", data="foam")
    loaded = n2i.Denoiser.load(MSD(depth=10, rng=5), tmp_path / "denoiser.pt")
    assert np.array_equal(loaded(slices[0], device="cpu"), wanted)
    assert (loaded.sections, loaded.strategy, loaded.context) == (4, "X:1", 0)
    training.save_weights(denoiser.network, tmp_path / "weights.pt")
    with pytest.raises(LowdoseError, match="weights alone"):
        n2i.Denoiser.load(MSD(depth=10), tmp_path / "weights.pt")
    with pytest.raises(LowdoseError, match="tensors of this"):
        n2i.Denoiser.load(MSD(depth=9), tmp_path / "denoiser.pt")


def test_neighbouring_slices_may_be_seen(sections, slices):
    network = UNet(3, 1, kernels=8, depth=1)
    denoiser, _ = n2i.train_noise2inverse(
        network, sections, context=1, steps=60, batch=4, crop=32, rng=1, **QUIET
    )
    out = np.empty_like(slices[0])
    assert denoiser(slices[0], device="cpu", out=out) is out
    assert quality(out, slices[1]) > quality(*slices) + 3


def test_time_steps_denoise_each_other():
    """A still object: each interlaced step is the input once, the others of its group its target."""
    angles = interlaced_angles(8, 16, order="van_der_corput")
    clean = foam(20, smallest=0.1, largest=0.3, rng=1).projections(48, angles.ravel(), columns=48)
    noisy = gaussian_noise(clean, 8, rng=0)
    steps = n2i.reconstruct_sections(noisy, angles.ravel(), n2i.time_steps(8, 16), device="cpu")
    network = MSD(depth=8, rng=0)
    denoiser, _ = n2i.train_noise2inverse(
        network, steps, strategy="1:X", group=4, steps=60, batch=4, learning_rate=1e-2, **QUIET
    )
    assert denoiser.sections == 4
    truth = fbp(clean.astype(np.float32), angles.ravel(), device="cpu")
    for step in (0, 7):
        result = denoiser(steps[step], device="cpu")
        assert quality(result, truth) > quality(steps[step], truth) + 5


def test_channels_are_denoised_together_and_keep_their_scales(scan):
    noisy, clean, angles = scan
    spectrum = np.array([1.0, 100.0], np.float32)[:, None, None, None]
    spectral = n2i.reconstruct_sections(spectrum * noisy[:2], angles, device="cpu")
    network = MSD(2, 2, depth=8, rng=0)
    denoiser, _ = n2i.train_noise2inverse(
        network, spectral, steps=60, batch=4, crop=24, learning_rate=5e-3, held_out=0.2, **QUIET
    )
    assert denoiser.scale.factor.ravel()[1] == pytest.approx(100 * denoiser.scale.factor.ravel()[0], rel=1e-4)
    found = denoiser.of_sections(spectral, device="cpu")
    truth = fbp(clean[:2], angles, device="cpu")
    assert found.shape == (2, 2, SIZE, SIZE)
    before = quality(spectral[:, 0].mean(axis=0), truth)
    for channel in range(2):
        assert quality(found[channel] / spectrum[channel], truth) > before + 4


def test_one_number_is_a_scale_for_networks_that_end_in_a_relu(sections):
    network = Enhancer(kernels=2)
    denoiser, _ = n2i.train_noise2inverse(network, sections, scale=200, steps=1, batch=1, crop=16, **QUIET)
    assert denoiser.scale.offset.item() == 0 and denoiser.scale.factor.item() == pytest.approx(1 / 200)
    assert denoiser(sections[0, :1], device="cpu").min() >= 0


def test_an_interrupted_training_goes_on_bit_for_bit(sections, tmp_path):
    class Stopped(MSD):
        calls = 0

        def forward(self, images):
            self.calls += self.training
            if self.calls == 8:
                raise KeyboardInterrupt
            return super().forward(images)

    Stopped.__name__ = "MSD"
    common = dict(steps=12, batch=2, crop=16, held_out=[0], validate_every=4, rng=2, **QUIET)
    wanted, whole = n2i.train_noise2inverse(MSD(depth=3, rng=0), sections, **common)
    common |= {"checkpoint": tmp_path / "run.pt", "checkpoint_every": 5}
    with pytest.raises(KeyboardInterrupt):
        n2i.train_noise2inverse(Stopped(depth=3, rng=0), sections, **common)
    found, part = n2i.train_noise2inverse(MSD(depth=3, rng=9), sections, **common)
    assert part.steps_this_call < 12 and np.array_equal(part.losses, whole.losses)
    assert np.array_equal(found(sections[0], device="cpu"), wanted(sections[0], device="cpu"))


# Validation


def test_validation_is_the_loss_on_the_held_out_slices():
    volumes = noise_sections(3, 4, 12)
    denoiser, done = n2i.train_noise2inverse(
        linear(KERNEL), volumes, scale=1.0, steps=1, learning_rate=1e-12, batch=1, held_out=[1, 2], **QUIET
    )
    losses = []
    with torch.no_grad():
        for inputs, (target,) in n2i.pairs(3):
            given = torch.from_numpy(volumes[list(inputs)][:, 1:3].mean(axis=0))[:, None]
            losses.append(float(((denoiser.network(given)[:, 0] - volumes[target, 1:3]) ** 2).mean()))
    assert done.validation == ((1, pytest.approx(np.mean(losses), rel=1e-5)),)


@pytest.mark.parametrize("held_out", [[1, 2], 0.3])
def test_what_is_held_out_is_never_a_target(held_out, monkeypatch):
    volumes = np.zeros((2, 4, 20, 20), np.float32)
    volumes[..., ::2, :] = 1e-3
    if held_out == 0.3:
        volumes[:, :, 7:13] = 1
    else:
        volumes[:, 1:3] = 1
    seen = []
    monkeypatch.setattr(training, "train", lambda network, drawn, **others: seen.append((drawn, others)))
    n2i.train_noise2inverse(linear(IDENTITY), volumes, scale=1.0, crop=5, batch=300, held_out=held_out)
    drawn, others = seen[0]
    assert drawn(np.random.default_rng(0))[1].max() < 0.5
    doubling = linear(2 * IDENTITY)
    with torch.no_grad():
        assert others["validate"](doubling) == pytest.approx(1)  # all of it was held out: (2 - 1)**2


def test_training_stops_when_the_held_out_loss_no_longer_falls():
    volumes = noise_sections(2, 4, 16)  # nothing but noise: the best is to give nothing
    _, done = n2i.train_noise2inverse(
        linear(np.zeros((3, 3))),
        volumes,
        steps=200,
        batch=1,
        crop=8,
        held_out=[0],
        validate_every=5,
        patience=2,
        **QUIET,
    )
    assert done.stopped == "early" and done.steps_done < 200


# Inference


def test_the_identity_gives_back_what_it_gets():
    volume = noise_sections(1, 3, 14)[0]
    denoiser = n2i.Denoiser(linear(IDENTITY), plain_scale(1, 3.0, 0.1), 4)
    assert np.allclose(denoiser(volume, device="cpu"), volume, atol=1e-5)
    assert np.allclose(denoiser(volume[..., :9], turned=True, device="cpu"), volume[..., :9], atol=1e-5)


def test_turned_is_the_mean_over_all_orientations():
    image = noise_sections(1, 1, 14)[0]
    denoiser = n2i.Denoiser(linear(KERNEL), plain_scale(), 4)
    whole = np.mean(
        [np.rot90(k, q) for k in (KERNEL, KERNEL[:, ::-1]) for q in range(4)], axis=0
    )  # of a kernel
    wanted = n2i.Denoiser(linear(whole), plain_scale(), 4)(image, device="cpu")
    assert np.allclose(denoiser(image, turned=True, device="cpu"), wanted, atol=1e-5)
    half = np.mean([np.rot90(k, q) for k in (KERNEL, KERNEL[:, ::-1]) for q in (0, 2)], axis=0)
    wanted = n2i.Denoiser(linear(half), plain_scale(), 4)(image[..., :9], device="cpu")
    assert np.allclose(denoiser(image[..., :9], turned=True, device="cpu"), wanted, atol=1e-5)


@pytest.mark.parametrize("channels", [None, 2])
def test_volumes_in_files_are_denoised_into_files(tmp_path, channels):
    volumes = noise_sections(3, 4, 12, channels)
    count = channels or 1
    network = UNet(3 * count, count, kernels=4, depth=1)
    torch.nn.init.normal_(network.last.weight, generator=torch.Generator().manual_seed(0))
    denoiser = n2i.Denoiser(network, plain_scale(count), 3, context=1)
    with h5py.File(tmp_path / "all.h5", "w") as file:
        stored = file.create_dataset("all", data=volumes)
        out = file.create_dataset("out", volumes.shape[1:], "f4")
        target = zarr.create_array(str(tmp_path / "out.zarr"), shape=volumes.shape[1:], dtype="f4")
        ways = (
            lambda source, **where: denoiser.of_sections(source, "both", device="cpu", **where),
            lambda source, **where: denoiser(source[0], device="cpu", **where),
            lambda source, **where: n2i.split_disagreement(denoiser, source, device="cpu", **where),
        )
        for way in ways:
            wanted = way(volumes)
            assert np.ptp(wanted) > 0
            assert np.array_equal(way(stored, out=out)[...], wanted)
            assert np.array_equal(way(stored, out=target)[...], wanted)


# Uncertainty


@pytest.mark.parametrize("strategy", ["X:1", "1:X"])
@pytest.mark.parametrize("number", [2, 5])
def test_disagreement_is_the_standard_error_of_a_linear_network(strategy, number):
    volumes = noise_sections(number, 6, 66)
    denoiser = n2i.Denoiser(linear(KERNEL), plain_scale(1, 1.0, 3.0), number, strategy)
    spread = n2i.split_disagreement(denoiser, volumes, device="cpu")[:, 1:-1, 1:-1]
    variance = (KERNEL**2).sum() / number
    assert np.mean(spread**2) == pytest.approx(variance, rel=0.06)
    errors = denoiser.of_sections(volumes, "full", device="cpu")[:, 1:-1, 1:-1] - (1 - KERNEL.sum())
    assert np.mean(errors**2) == pytest.approx(variance, rel=0.06)


def test_calibration_is_the_diagonal_for_true_standard_deviations():
    rng = np.random.default_rng(0)
    sigma = rng.uniform(0.1, 2, (60, 50))
    curve = n2i.calibration(sigma, sigma * rng.standard_normal(sigma.shape), bins=6)
    assert np.allclose(curve.observed / curve.predicted, 1, atol=0.12)
    assert curve.pixels.tolist() == [500] * 6 and (np.diff(curve.predicted) > 0).all()
    doubled = n2i.calibration(sigma, 2 * sigma, bins=6)
    assert np.allclose(doubled.observed, 2 * doubled.predicted)
    for wrong in ((sigma, sigma[1:]), (-sigma, sigma), (sigma * np.nan, sigma)):
        with pytest.raises(LowdoseError, match="bins"):
            n2i.calibration(*wrong)
    with pytest.raises(LowdoseError, match="3001 bins"):
        n2i.calibration(sigma, sigma, 3001)


# Bad input


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"crop": 25}, "crop.*1 to 24 pixels"),
        ({"batch": 0}, "crop, batch"),
        ({"context": 1}, "0 to 0 in a volume of 2 slices"),
        ({"context": -1}, "context"),
        ({"scale": 0.0}, "scale"),
        ({"strategy": "2:1"}, "strategy"),
        ({"group": 3}, "divisor of 4"),
        ({"held_out": [0, 1]}, "not all"),
        ({"held_out": [2]}, "slices 0 to 1"),
        ({"held_out": 0.5}, "crops of None"),
        ({"held_out": 1, "crop": 8}, "a share between 0 and 1"),
        ({"held_out": 0.9, "crop": 8}, "smaller crops"),
        ({"chosen": [((0, 1), (1,))]}, "none in both"),
        ({"chosen": [((0, 4), (1,))]}, "sections 0 to 3"),
        ({"chosen": []}, "no pairs"),
        ({"sections": noise_sections(1)}, "2 at least"),
        ({"sections": [np.zeros((2, 8, 8)), np.zeros((2, 8, 9))]}, "one shape"),
        ({"sections": np.zeros((4, 8, 8))}, "one shape"),
        ({"sections": np.ones((4, 2, 8, 8))}, "channel 0.*counts"),
        ({"sections": np.full((4, 2, 8, 8), np.nan)}, "64 values that are NaN"),
        ({"network": UNet(2, 1)}, "1 channels in"),
        ({"network": torch.nn.Conv2d(1, 1, 3)}, "network: found shape"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(changes, words):
    arguments = {"network": linear(KERNEL), "sections": noise_sections(), **changes}
    with pytest.raises(LowdoseError, match=words):
        n2i.train_noise2inverse(**arguments, steps=1, **QUIET)


def test_a_nan_row_is_named_by_section_and_slice():
    volumes = noise_sections(4, 3)
    volumes[2, 1, 5] = np.nan
    denoiser = n2i.Denoiser(linear(KERNEL), plain_scale(), 4)
    with pytest.raises(LowdoseError, match="slices 1 to 1 of section 2: found 24"):
        denoiser.of_sections(volumes, device="cpu")


def test_volumes_that_the_denoiser_was_not_trained_for_are_refused():
    denoiser = n2i.Denoiser(linear(KERNEL), plain_scale(), 4, context=1)
    for wrong in (
        lambda: denoiser(np.zeros((2, 8, 8))),  # fewer slices than the context
        lambda: denoiser(np.zeros((2, 3, 8, 8))),  # channels
        lambda: denoiser(np.zeros((8, 8))),
        lambda: denoiser(np.zeros((3, 8, 8)), out=np.zeros((3, 8, 9), np.float32)),
        lambda: denoiser.of_sections(noise_sections(3, 3)),
        lambda: denoiser.of_sections(noise_sections(4, 3), "mean"),
    ):
        with pytest.raises(LowdoseError):
            wrong()
