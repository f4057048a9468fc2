"""Noise2Inverse on bad input, little memory, a full disk and ^C: a clear error or an exact resumption."""

from __future__ import annotations

import contextlib
import doctest
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from lowdose_utils import correct, training
from lowdose_utils import noise2inverse as n2i
from lowdose_utils.acquire import uniform_angles
from lowdose_utils.enhance.scaling import Scale
from lowdose_utils.errors import LowdoseError
from lowdose_utils.networks.msd import MSD
from lowdose_utils.networks.unet import UNet
from lowdose_utils.phantoms.blobs import blobs
from lowdose_utils.reconstruct import fbp

pytestmark = pytest.mark.usefixtures("one_thread")

QUIET = {"device": "cpu", "progress": False}
ANGLES = uniform_angles(16)
LINES = np.random.default_rng(0).standard_normal((3, 16, 24)).astype(np.float32)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def drawn(inputs: int = 1, outputs: int = 1, rng: int = 0) -> torch.nn.Conv2d:
    """A convolution with random weights."""
    network = torch.nn.Conv2d(inputs, outputs, 3, padding=1)
    weight = np.random.default_rng(rng).standard_normal(network.weight.shape) / 3
    with torch.no_grad():
        network.weight.copy_(torch.from_numpy(weight))
        network.bias.fill_(0.1)
    return network


def some_scale(channels: int = 1) -> Scale:
    """Another offset and factor for each channel."""
    values = np.arange(1, channels + 1, dtype=np.float32).reshape(-1, 1, 1)
    return Scale(values / 4, values)


def sections_of(sinograms=LINES, angles=ANGLES, sections=4, **settings):
    return n2i.reconstruct_sections(sinograms, angles, sections, device="cpu", **settings)


def train(network, sections, **settings):
    return n2i.train_noise2inverse(network, sections, **{"steps": 1, "batch": 1, **QUIET, **settings})


# Angles and projections


def test_uneven_angles_in_any_order_reconstruct_if_dealt_out_by_direction():
    rng = np.random.default_rng(3)
    angles = rng.permutation(uniform_angles(240) + rng.uniform(-0.4, 0.4, 240) * np.pi / 240)
    angles += rng.integers(-3, 4, 240) * 2 * np.pi  # turns more make no difference
    object_ = blobs(rng=2)
    sinograms = object_.projections(48, angles)[None]
    with pytest.raises(LowdoseError, match="left out between") as caught:
        sections_of(sinograms, angles)
    assert "order = np.argsort(angles % np.pi), then order[j::K]" in str(caught.value)
    order = np.argsort(angles % np.pi)
    found = sections_of(sinograms, angles, [order[j::4] for j in range(4)])
    inside = np.hypot(*(np.mgrid[:48, :48] - 23.5)) < 22
    truth = object_.image(48)
    for one in found[:, 0]:
        assert np.sqrt(np.mean((one - truth)[inside] ** 2)) < 0.03 * truth.max()


def test_angles_of_several_turns_are_those_within_one():
    found = sections_of()
    shifted = sections_of(angles=ANGLES + 14 * np.pi)
    assert np.abs(shifted - found).max() < 0.02 * np.abs(found).max()  # how exact the gridding is


@pytest.mark.parametrize("number", [3, 5, 7, 16])
def test_sections_need_not_divide_the_number_of_projections(number):
    found = sections_of(sections=number)
    assert found.shape == (number, 3, 24, 24) and np.isfinite(found).all()
    for k in (0, number - 1):
        assert np.allclose(found[k], fbp(LINES[:, k::number], ANGLES[k::number], device="cpu"), atol=1e-6)


@pytest.mark.parametrize("axis", [1e3, -1e3, np.nan, np.inf])
def test_an_axis_outside_the_field_is_refused(axis):
    with pytest.raises(LowdoseError, match=r"axis: found .* on or near the detector, 0 to 23"):
        sections_of(axis=axis)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"angles": ANGLES[:-1]}, "15 angles"),
        ({"sinograms": LINES[:, :-1]}, "16 angles"),
        ({"sections": 1}, "1 of 16"),
        ({"sections": 17}, "17 of 16"),
        ({"sections": 4.0}, "sections, slab: found 4.0"),
        ({"sections": [part + 0.4 for part in n2i.split_angles(16, 4)]}, "vector of places"),
        ({"slab": 0}, "slab"),
        ({"slab": -1}, "slab"),
        ({"out": np.zeros((4, 3, 24, 24), int)}, "out: found .*int64"),
        ({"sinograms": LINES + 1j}, "complex"),
        ({"sinograms": np.zeros((3, 16, 24))}, "sinograms: found 0 everywhere"),
        ({"sinograms": LINES.astype(np.float64) * 1e300}, "NaN or infinite"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_scans_that_cannot_be_divided_are_refused(changes, words):
    with pytest.raises(LowdoseError, match=words):
        sections_of(**changes)


def test_numbers_of_numpy_are_numbers():
    assert np.array_equal(sections_of(sections=np.int64(4)), sections_of())
    train(drawn(), noise(3, 2, 12, 12), crop=np.int64(5), batch=np.int64(2), held_out=np.float32(0.1))
    train(drawn(), noise(3, 2, 12, 12), held_out=np.array([1]))


def test_a_channel_without_counts_is_named_in_all_ways_to_make_lines_of_it():
    counts = np.random.default_rng(0).poisson(20, (2, 3, 16, 24))
    counts[1] = 0
    for estimator in ("half", "digamma", "plain"):
        with pytest.raises(LowdoseError, match=r"channel 1: found .* everywhere; expected counts"):
            sections_of(correct.count_log(counts, 40.0, estimator))
    one_alive = noise(4, 2, 3, 12, 12)
    one_alive[:, 1] = 0.25
    with pytest.raises(LowdoseError, match="channel 1 of the sections"):
        train(drawn(2, 2), one_alive)


def test_a_row_of_nan_is_found_wherever_it_is():
    torn = LINES.copy()
    torn[1, 6] = np.nan
    with pytest.raises(LowdoseError, match=r"24 values that are NaN .* projection 6"):
        sections_of(torn)
    volumes = noise(3, 4, 12, 12)
    volumes[1, 2, 7] = np.nan
    with pytest.raises(LowdoseError, match=r"section 1: found 12 values .*repair_bad_pixels"):
        train(drawn(), volumes, steps=50, batch=8)
    denoiser = n2i.Denoiser(drawn(), some_scale(), 3)
    with pytest.raises(LowdoseError, match="slices 2 to 2 of section 0: found 12"):
        denoiser(volumes[1], device="cpu")


# Kinds of arrays


@pytest.mark.parametrize("kind", [">f4", ">f8", "f2", "fortran", "reversed", "strided", "tensor", "frozen"])
def test_what_an_array_is_like_in_memory_makes_no_difference(kind):
    def changed(array):
        array = array.astype(np.float16).astype(np.float32)
        ways = {
            "fortran": np.asfortranarray,
            "reversed": lambda given: np.ascontiguousarray(given[..., ::-1])[..., ::-1],
            "strided": lambda given: np.repeat(given, 2, axis=-1)[..., ::2],
            "tensor": torch.from_numpy,
            "frozen": lambda given: np.frombuffer(given.tobytes(), np.float32).reshape(given.shape),
        }
        return array, ways[kind](array) if kind in ways else array.astype(kind)

    plain, other = changed(LINES)
    sections = sections_of(plain)
    assert np.array_equal(sections_of(other), sections)
    plain, other = changed(sections)
    trained = [train(drawn(), one, steps=2, batch=2, crop=8)[0] for one in (plain, other)]
    results = [
        denoiser.of_sections(one, "both", turned=True, device="cpu")
        for denoiser, one in zip(trained, (plain, other), strict=True)
    ]
    assert np.array_equal(*results)


def test_whole_numbers_and_large_half_precision_keep_their_values():
    volumes = (1000 * noise(3, 2, 12, 12)).astype(">i2")
    assert np.array_equal(
        train(drawn(), volumes)[0](volumes[0], device="cpu"),
        train(drawn(), volumes.astype(np.float32))[0](volumes[0].astype(np.float32), device="cpu"),
    )
    half = (60000 + 32 * noise(4, 2, 12, 12)).astype(np.float16)  # whose sum is infinite in float16
    assert np.isfinite(train(drawn(), half)[0].of_sections(half, "both", device="cpu")).all()


def test_a_network_in_double_precision_denoises():
    volume, scale = noise(2, 12, 12), some_scale()
    double = n2i.Denoiser(drawn().double(), scale, 4)(volume, device="cpu")
    assert double.dtype == np.float32
    assert np.allclose(double, n2i.Denoiser(drawn(), scale, 4)(volume, device="cpu"), atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 1, 30), (2, 30, 1), (2, 1, 1), (2, 5, 23)])
def test_slices_of_one_row_or_pixel_pass(shape):
    for network in (MSD(depth=4, rng=0), UNet(kernels=4, depth=2), drawn()):
        volumes = noise(3, *shape)
        denoiser, _ = train(network, volumes, batch=2)
        assert denoiser.of_sections(volumes, "both", turned=True, device="cpu").shape == shape


def test_a_batch_larger_than_the_data_draws_some_of_it_again():
    assert train(drawn(), noise(2, 1, 8, 8), batch=50, crop=7)[1].steps_done == 1


# Arguments of training and denoising


class Pair(torch.nn.Conv2d):
    def forward(self, images):
        return (super().forward(images),) * 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sections": noise(4, 2, 12, 12) + 1j}, "complex"),
        ({"sections": noise(4, 2, 12, 12).tolist()}, "sections: found 4 volumes"),
        ({"batch": 1.5}, "crop, batch: found 1.5"),
        ({"crop": 4.5}, "crop, batch.* of 4.5"),
        ({"scale": some_scale(3)}, "scale: found 3"),
        ({"scale": Scale(np.zeros(1), np.zeros(1))}, "scale"),
        ({"scale": Scale(np.array([np.nan]), np.ones(1))}, "scale"),
        ({"held_out": np.array([True, False])}, "held_out"),
        ({"held_out": [True, False]}, "held_out"),
        ({"held_out": [0.5]}, "held_out"),
        ({"held_out": [0], "validate": lambda network: 1.0, "validate_every": 1}, "validate, held_out"),
        ({"network": Pair(1, 1, 3, padding=1)}, "network: found"),
    ],
)
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
def test_arguments_that_make_no_sense_are_refused_by_name(changes, words):
    with pytest.raises(LowdoseError, match=words):
        train(**{"network": drawn(), "sections": noise(4, 2, 12, 12), **changes})


def test_a_network_of_fewer_channels_than_the_scale_is_refused_not_repeated():
    denoiser = n2i.Denoiser(drawn(2, 1), some_scale(2), 4)
    with pytest.raises(LowdoseError, match="1 channels; expected 2"):
        denoiser(noise(2, 3, 12, 12), device="cpu")


def test_a_result_must_hold_numbers_with_a_point():
    denoiser, volumes = n2i.Denoiser(drawn(), some_scale(), 3), noise(3, 2, 12, 12)
    for kind in (np.int16, np.uint8, bool):
        out = np.zeros((2, 12, 12), kind)
        for way in (
            lambda out=out: denoiser(volumes[0], device="cpu", out=out),
            lambda out=out: denoiser.of_sections(volumes, device="cpu", out=out),
            lambda out=out: n2i.split_disagreement(denoiser, volumes, device="cpu", out=out),
        ):
            with pytest.raises(LowdoseError, match=r"out: found .*expected .*float"):
                way()
    out = np.zeros((2, 12, 12), ">f8")
    assert np.allclose(denoiser(volumes[0], device="cpu", out=out), denoiser(volumes[0], device="cpu"))


# Properties


@st.composite
def cases(draw):
    """Any denoiser with sections that it takes."""
    number, context = draw(st.integers(2, 6)), draw(st.integers(0, 2))
    channels = draw(st.sampled_from([None, 1, 2, 3]))
    slices = draw(st.integers(2 * context + 1, 6))
    sides = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    lead = (number,) if channels is None else (number, channels)
    volumes = noise(*lead, slices, *sides, seed=draw(st.integers(0, 99)))
    count = channels or 1
    network = drawn(count * (2 * context + 1), count, rng=draw(st.integers(0, 9)))
    strategy = draw(st.sampled_from(["X:1", "1:X"]))
    return n2i.Denoiser(network, some_scale(count), number, strategy, context), volumes


@settings(max_examples=60, deadline=None)
@given(cases(), st.booleans(), st.randoms(use_true_random=False))
def test_any_denoiser_keeps_the_shape_and_no_order_of_sections_matters(case, turned, random):
    denoiser, volumes = case
    common = {"turned": turned, "device": "cpu"}
    whole = denoiser(volumes.mean(axis=0), **common)
    full = denoiser.of_sections(volumes, "full", **common)
    split = denoiser.of_sections(volumes, "sections", **common)
    assert whole.shape == full.shape == split.shape == volumes.shape[1:]
    assert whole.dtype == full.dtype == split.dtype == np.float32
    assert np.allclose(full, whole, atol=1e-4)
    order = list(range(len(volumes)))
    random.shuffle(order)
    assert np.allclose(denoiser.of_sections(volumes[order], "sections", **common), split, atol=1e-4)
    # The network is affine: the mean over its outputs is its output for the mean.
    assert np.allclose(split, full, atol=1e-3)


@settings(max_examples=25, deadline=None)
@given(cases())
def test_a_volume_may_be_replaced_by_its_result(case):
    denoiser, volumes = case
    ways = (
        lambda given, **where: denoiser(given[0], device="cpu", **where),
        lambda given, **where: denoiser.of_sections(given, "both", device="cpu", **where),
        lambda given, **where: n2i.split_disagreement(denoiser, given, device="cpu", **where),
    )
    for way in ways:
        wanted, given = way(volumes), volumes.copy()
        way(given, out=given[0])
        assert np.array_equal(given[0], wanted)


@pytest.mark.parametrize(
    "changes",
    [
        *({"strategy": "1:X"}, {"scale": 1.0}, {"group": 2}, {"crop": 11}, {"batch": 3}, {"turned": False}),
        *({"held_out": [2]}, {"held_out": [0, 1]}, {"held_out": 0.2, "crop": 5}),
        {"sections": noise(4, 5, 16, 16, seed=1)},
    ],
    ids=lambda changes: ", ".join(changes),
)
def test_a_checkpoint_of_another_division_of_the_data_is_refused(tmp_path, changes):
    common = {"steps": 2, "batch": 2, "crop": 10, "held_out": [1], "rng": 4, "context": 1}
    common |= {"sections": noise(4, 5, 16, 16), "checkpoint": tmp_path / "run.ckpt"}
    train(drawn(3), **common)
    with pytest.raises(LowdoseError, match=r"checkpoint .*resume=False to begin anew"):
        train(drawn(3), **{**common, **changes})
    assert train(drawn(3), **common)[1].steps_this_call == 0


# Volumes in files


def test_the_example_of_a_scan_in_files_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with h5py.File("scan.h5", "w") as file:
        file["sinograms"], file["angles"] = noise(6, 16, 40), ANGLES
    names = {"h5py": h5py, "np": np, "zarr": zarr, "UNet": UNet, **vars(n2i)}
    example = doctest.DocTestParser().get_doctest(n2i.__doc__, names, "noise2inverse", None, 0)
    assert len(example.examples) > 4
    printed: list[str] = []
    failed, _ = doctest.DocTestRunner().run(example, out=printed.append)
    assert not failed, "".join(printed)
    result = np.load("denoised.npy", mmap_mode="r")
    assert result.shape == (6, 40, 40) and result.std() > 0


# In processes of their own: little memory, a full disk, ^C

SIDE, SLICES, STEPS = 128, 192, 200
LEFT = 20 << 20  # bytes: less than half of the volumes


def start(work: str, folder: Path) -> subprocess.Popen[str]:
    """Call one of the functions below in a fresh process."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_noise2inverse_bad_input as t; "
        f"from pathlib import Path; t.torch.set_num_threads(1); t.{work}(Path(sys.argv[2]))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, str(Path(__file__).parent), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def in_little_memory(folder: Path) -> None:
    """Reconstruct, train and denoise volumes that do not fit into the memory that is left."""
    with h5py.File(folder / "scan.h5", "w") as file, h5py.File(folder / "volumes.h5", "w") as volumes:
        lines = file.create_dataset("sinograms", (SLICES, 16, SIDE), "f4")
        for z in range(SLICES):
            lines[z] = noise(16, SIDE, seed=z)
        sections = volumes.create_dataset(
            "sections", (4, SLICES, SIDE, SIDE), "f4", chunks=(1, 4, SIDE, SIDE)
        )
        out = np.lib.format.open_memmap(folder / "out.npy", "w+", np.float32, (SLICES, SIDE, SIDE))

        def work(lines, sections, out):
            n2i.reconstruct_sections(lines, ANGLES, 4, out=sections, slab=2, device="cpu")
            denoiser, _ = train(drawn(3), sections, context=1, steps=4, batch=4, crop=32, held_out=[1])
            denoiser.of_sections(sections, "both", device="cpu", out=out)

        first = volumes.create_dataset("few", (4, 4, SIDE, SIDE), "f4", chunks=(1, 1, SIDE, SIDE))
        work(lines[:4], first, out[:4])  # what libraries keep for themselves is there after this
        held = int(re.search(r"VmData:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) << 10
        resource.setrlimit(resource.RLIMIT_DATA, (held + LEFT, -1))
        with contextlib.suppress(MemoryError):
            sections[...]
            raise SystemExit("the volumes fit into memory")
        work(lines, sections, out)
        print(float(np.abs(out[-1]).max()))


def until_the_disk_is_full(folder: Path) -> None:
    """Train until no file may grow beyond a few bytes."""
    print(len(interrupted_training(folder, loss=filling)[1].losses))


def until_interrupted(folder: Path) -> None:
    """Train, telling how far it is, till somebody presses ^C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start some processes without
    interrupted_training(folder, progress=True)


def interrupted_training(folder: Path | None, **changes) -> tuple[n2i.Denoiser, training.Training]:
    """One and the same training, with or without a checkpoint."""
    kept = {} if folder is None else {"checkpoint": folder / "run.ckpt", "checkpoint_every": 25}
    common = {"steps": STEPS, "batch": 2, "crop": 10, "held_out": [1], "rng": 4, "validate_every": 100}
    return train(drawn(3), noise(4, 5, 16, 16), context=1, **{**common, **kept, **changes})


def filling(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The usual loss; another program fills the disk at the 60th call."""
    filling.calls += 1
    if filling.calls == 60:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    return training.mse(output, target)


filling.calls = 0
filling.__qualname__ = training.mse.__qualname__


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """All three at work, side by side."""
    started = {}
    for work in ("in_little_memory", "until_the_disk_is_full", "until_interrupted"):
        folder = tmp_path_factory.mktemp(work)
        started[work] = (start(work, folder), folder)
    yield started
    for process, _ in started.values():
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def uninterrupted():
    return interrupted_training(None)


def goes_on_exactly(folder: Path, uninterrupted, before: range) -> None:
    """Look that the rest of the training makes the same denoiser, to the last bit."""
    wanted, whole = uninterrupted
    found, done = interrupted_training(folder)
    assert STEPS - done.steps_this_call in before
    assert np.array_equal(done.losses, whole.losses) and done.validation == whole.validation
    for one, other in zip(found.network.parameters(), wanted.network.parameters(), strict=True):
        assert torch.equal(one, other)
    assert [path.name for path in folder.iterdir()] == ["run.ckpt"]


def test_control_c_keeps_all_steps_and_training_goes_on_bit_for_bit(processes, uninterrupted):
    process, folder = processes["until_interrupted"]
    said = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=200)
    assert said.startswith(f"step {STEPS // 10} of {STEPS}"), said + err
    assert process.returncode and "KeyboardInterrupt" in err
    last = int(re.search(rf"Interrupted after step (\d+) of {STEPS}: call again", err)[1])
    goes_on_exactly(folder, uninterrupted, range(last, last + 1))
    assert STEPS // 10 <= last < STEPS, out


def test_a_full_disk_in_training_leaves_the_older_checkpoint(processes, uninterrupted):
    process, folder = processes["until_the_disk_is_full"]
    out, err = process.communicate(timeout=200)
    assert process.returncode == 1 and not out
    assert re.search(r"LowdoseError: checkpoint .*run.ckpt: found not written .* Make room", err), err
    goes_on_exactly(folder, uninterrupted, range(50, 51))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's own memory so")
def test_volumes_larger_than_memory_are_reconstructed_learnt_from_and_denoised(processes):
    assert 4 * 4 * SLICES * SIDE**2 > 2 * LEFT
    process, _ = processes["in_little_memory"]
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert float(out) > 0
