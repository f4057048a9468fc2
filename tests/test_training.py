"""Training learns what is known, and goes on after any interruption as if nothing had happened."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import pickle
import resource
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lowdose_utils import training
from lowdose_utils.errors import LowdoseError
from lowdose_utils.training.guards import interrupts_held
from lowdose_utils.training.plan import check_batch
from lowdose_utils.training.progress import Progress

pytestmark = pytest.mark.usefixtures("one_thread")

KERNEL = torch.tensor([[0.0, 1.0, 0.5], [2.0, -4.0, 1.0], [0.0, 1.0, -1.0]])
STEPS = 24


def filtered(rng: np.random.Generator) -> training.Batch:
    """White noise, and the same through a known linear filter."""
    images = torch.from_numpy(rng.standard_normal((4, 1, 12, 12)))
    return images, torch.nn.functional.conv2d(images, KERNEL.double()[None, None], padding=1)


def one_filter() -> torch.nn.Conv2d:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.nn.Conv2d(1, 1, 3, padding=1, bias=False)


class Small(torch.nn.Module):
    """Has all that a resumed run could forget: running means, and dropout's random numbers."""

    def __init__(self, channels: int = 3, at_step: int = 0, act=None) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.first = torch.nn.Conv2d(1, channels, 3, padding=1)
            self.last = torch.nn.Conv2d(channels, 1, 3, padding=1)
        self.norm, self.dropout = torch.nn.BatchNorm2d(channels), torch.nn.Dropout(0.3)
        self.at_step, self.act, self.calls = at_step, act, 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += self.training
        if self.training and self.calls == self.at_step:
            self.act()
        return self.last(self.dropout(torch.relu(self.norm(self.first(images)))))


def misfit(network: torch.nn.Module) -> float:
    """A validation that falls and rises again, as it does when a network overfits."""
    return float(((network.first.weight - Small().first.weight).abs().mean() - 0.05).abs())


def run(network: torch.nn.Module, checkpoint: Path | None = None, **settings) -> training.Training:
    common = dict(steps=STEPS, validate=misfit, validate_every=5, rng=3, device="cpu", progress=False)
    if checkpoint is not None:
        common |= {"checkpoint": checkpoint, "checkpoint_every": 4}
    return training.train(network, filtered, **common | settings)


def run_and_die(checkpoint: str, step: str) -> None:
    """What another process does in order to be killed."""
    torch.set_num_threads(1)
    run(Small(at_step=int(step), act=lambda: os.kill(os.getpid(), signal.SIGKILL)), Path(checkpoint))


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Equal to the last bit, parameters and buffers."""
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def agree(one: training.Training, other: training.Training) -> bool:
    return np.array_equal(one.losses, other.losses) and (one.validation, one.best_step, one.stopped) == (
        other.validation,
        other.best_step,
        other.stopped,
    )


@pytest.fixture(scope="module")
def uninterrupted() -> tuple[torch.nn.Module, training.Training]:
    network = Small()
    return network, run(network)


# What is learned


def test_the_kernel_of_a_linear_filter_is_recovered():
    network = one_filter()
    done = training.train(network, filtered, steps=400, learning_rate=5e-2, device="cpu", progress=False)
    assert torch.allclose(network.weight[0, 0], KERNEL, atol=1e-4)
    assert done.losses.dtype == np.float32 and done.losses.shape == (400,)
    assert done.losses[-1] < 1e-7 * done.losses[0]
    assert (done.stopped, done.steps_done, done.steps_this_call, done.best_step) == (
        "finished",
        400,
        400,
        400,
    )
    assert not network.training


def test_the_first_step_of_adam_has_the_length_of_the_learning_rate():
    network = one_filter()
    before = network.weight.detach().clone()
    training.train(network, filtered, steps=1, learning_rate=0.01, device="cpu", progress=False)
    assert torch.allclose((network.weight - before).abs(), torch.full((1, 1, 3, 3), 0.01), rtol=1e-3)


def test_half_precision_and_volumes_learn_too():
    network = torch.nn.Conv3d(1, 1, 1)

    def doubled(rng):
        volumes = torch.from_numpy(rng.standard_normal((2, 1, 4, 4, 4), dtype=np.float32))
        return volumes, 2 * volumes + 1

    training.train(
        network, doubled, steps=300, learning_rate=5e-2, precision="bf16", device="cpu", progress=False
    )
    assert network.weight.dtype == torch.float32
    assert network.weight.item() == pytest.approx(2, abs=0.02)
    assert network.bias.item() == pytest.approx(1, abs=0.02)


@pytest.mark.slow
def test_several_devices_share_a_batch_and_change_nothing(tmp_path):
    """In a script, since Fabric starts it once for each device."""
    shared = """
import sys, torch
from lowdose_utils import training

def batches(rng):
    images = torch.from_numpy(rng.standard_normal((4, 1, 12, 12)))
    return images, images.flip(2)

def trained(devices, checkpoint):
    network = torch.nn.Conv2d(1, 1, 3, padding=1)
    network.load_state_dict({"weight": torch.ones(1, 1, 3, 3), "bias": torch.ones(1)})
    done = training.train(
        network, batches, steps=5, devices=devices, device="cpu", progress=False, checkpoint=checkpoint
    )
    return network, done

if __name__ == "__main__":
    trained(2, sys.argv[1])
"""
    script = tmp_path / "several.py"
    script.write_text(shared)
    command = [sys.executable, str(script), str(tmp_path / "two")]
    subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, capture_output=True)
    trained = runpy.run_path(str(script))["trained"]
    (network, one), (other, two) = trained(1, None), trained(1, tmp_path / "two")
    assert two.steps_this_call == 0
    assert torch.allclose(network.weight, other.weight, atol=1e-6)
    assert np.allclose(one.losses, two.losses, rtol=1e-5)


# Schedules


@pytest.mark.parametrize(
    "schedule, fractions",
    [
        ("constant", {0: 1, 50: 1, 99: 1}),
        ("cosine", {0: 1, 25: 0.5 + np.sqrt(0.125), 50: 0.5, 75: 0.5 - np.sqrt(0.125)}),
        ("hold-cosine", {0: 1, 50: 1, 75: 0.5}),
    ],
)
def test_the_schedule_at_known_steps(schedule, fractions):
    for step, fraction in fractions.items():
        assert training.rate(schedule, step, 100) == pytest.approx(fraction)


@settings(deadline=None)
@given(st.sampled_from(["constant", "cosine", "hold-cosine"]), st.integers(1, 10**6))
def test_a_schedule_starts_at_the_full_rate_and_never_rises(schedule, steps):
    rates = [training.rate(schedule, step, steps) for step in np.linspace(0, steps - 1, 30).astype(int)]
    assert rates[0] == 1 and all(a >= b > 0 for a, b in itertools.pairwise(rates))
    if schedule != "constant" and steps >= 100:
        assert rates[-1] < 11 / steps**2


def test_the_rate_of_each_step_follows_the_schedule():
    """Of a loss that is linear in one weight, Adam's step is the learning rate itself."""

    class Weight(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))
            self.seen = []

        def forward(self, images):
            self.seen.append(float(self.weight.detach()))
            return self.weight * images

    network = Weight()
    training.train(
        network,
        lambda rng: (torch.ones(1, 1), torch.ones(1, 1)),
        loss=lambda output, target: output.sum(),
        steps=8,
        learning_rate=1.0,
        device="cpu",
        progress=False,
    )
    moved = -np.diff([*network.seen, float(network.weight.detach())])
    assert moved == pytest.approx([training.rate("hold-cosine", step, 8) for step in range(8)], rel=1e-4)


# Determinism and resumption


def test_one_seed_one_training_whatever_state_torch_is_in(uninterrupted):
    network, reference = uninterrupted
    other = Small()
    torch.rand(7)
    state = torch.get_rng_state()
    done = run(other)
    assert same(network, other) and agree(done, reference)
    assert torch.equal(state, torch.get_rng_state())
    assert not np.array_equal(run(Small(), rng=4).losses, reference.losses)


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> dict[int, Path]:
    """Checkpoints of two processes, killed in the midst of their 3rd and 18th step."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_training as t; t.run_and_die(*sys.argv[2:])"
    )
    files = {step: tmp_path_factory.mktemp("killed") / "run.ckpt" for step in (3, 18)}
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(Path(__file__).parent), str(file), str(step)])
        for step, file in files.items()
    ]
    assert [process.wait() for process in running] == 2 * [-signal.SIGKILL]
    return files


@pytest.mark.parametrize("step, kept", [(3, 0), (18, 16)])
def test_a_killed_run_goes_on_bit_for_bit(killed, uninterrupted, step, kept):
    assert killed[step].exists() == (kept > 0)
    network = Small()
    done = run(network, killed[step])
    assert done.steps_this_call == STEPS - kept
    assert same(network, uninterrupted[0]) and agree(done, uninterrupted[1])


@settings(max_examples=8, deadline=None)
@given(stop=st.integers(1, STEPS), where=st.sampled_from(["batch", "forward", "validation", "signal"]))
def test_an_interrupt_anywhere_keeps_a_checkpoint(tmp_path_factory, uninterrupted, stop, where):
    checkpoint = tmp_path_factory.mktemp("run") / "run.ckpt"

    def interrupt():
        raise KeyboardInterrupt

    def batches(rng):
        batches.drawn += 1
        if where == "batch" and batches.drawn == stop + 1:  # the first looks whether data are the same
            interrupt()
        return filtered(rng)

    def validate(network):
        if where == "validation" and batches.drawn > stop:
            interrupt()
        return misfit(network)

    batches.drawn = 0
    act = interrupt if where == "forward" else lambda: os.kill(os.getpid(), signal.SIGINT)
    network = Small(at_step=stop if where in ("forward", "signal") else 0, act=act)
    common = dict(steps=STEPS, validate_every=5, rng=3, device="cpu", progress=False, checkpoint=checkpoint)
    with pytest.raises(KeyboardInterrupt), contextlib.redirect_stderr(io.StringIO()) as printed:
        training.train(network, batches, validate=validate, checkpoint_every=4, **common)
    # ^C waits for the end of the step; an exception within the step leaves the older checkpoint.
    expected = {"batch": stop - 1, "signal": stop, "forward": (stop - 1) // 4 * 4}.get(where)
    said = printed.getvalue()
    assert "Interrupted after step" in said
    network = Small()
    done = run(network, checkpoint)
    assert same(network, uninterrupted[0]) and agree(done, uninterrupted[1])
    if expected is not None:
        assert done.steps_this_call == STEPS - expected
        assert f"go on from step {expected}" in said or not expected


def test_an_interrupt_without_a_checkpoint_says_that_nothing_is_kept(capsys):
    network = Small(at_step=2, act=lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        run(network)
    assert "nothing is kept" in capsys.readouterr().err


def test_a_second_interrupt_does_not_wait():
    reached = []
    with pytest.raises(KeyboardInterrupt), interrupts_held():
        os.kill(os.getpid(), signal.SIGINT)
        reached.append(1)
        os.kill(os.getpid(), signal.SIGINT)
        reached.append(2)
    assert reached == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_finished_run_is_not_repeated(tmp_path):
    first, second = Small(), Small()
    done = run(first, tmp_path / "run.ckpt")
    second.last.weight.data.zero_()
    again = run(second, tmp_path / "run.ckpt")
    assert (again.steps_this_call, again.steps_done) == (0, STEPS)
    assert same(first, second) and agree(done, again) and done.seconds == again.seconds
    assert run(Small(), tmp_path / "run.ckpt", resume=False).steps_this_call == STEPS


# Validation


def test_early_stopping_keeps_the_best_weights():
    seen = []
    values = iter([3.0, 2.0, 1.0, 1.5, 1.0, 4.0, 0.0])

    def validate(network):
        assert not network.training and not torch.is_grad_enabled()
        seen.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        return next(values)

    network = Small()
    done = run(network, validate=validate, validate_every=3, patience=3)
    assert (done.stopped, done.best_step, done.steps_done) == ("early", 9, 18)
    assert done.validation == ((3, 3.0), (6, 2.0), (9, 1.0), (12, 1.5), (15, 1.0), (18, 4.0))
    assert all(torch.equal(tensor, seen[2][name]) for name, tensor in network.state_dict().items())
    assert not torch.equal(seen[2]["first.weight"], seen[-1]["first.weight"])


def test_a_run_stopped_early_stays_stopped(tmp_path):
    rising = {"validate": lambda network: float(network.norm.num_batches_tracked), "validate_every": 1}
    first, second = Small(), Small()
    done = run(first, tmp_path / "run.ckpt", patience=4, **rising)
    again = run(second, tmp_path / "run.ckpt", patience=4, **rising)
    assert done.steps_done == 5 and done.best_step == 1 and again.steps_this_call == 0
    assert same(first, second) and agree(done, again)


def test_the_last_step_is_validated():
    assert [step for step, _ in run(Small(), validate_every=10).validation] == [10, 20, STEPS]


# Checkpoints that do not fit, or cannot be written


@pytest.mark.parametrize(
    "network, changed, named",
    [
        (Small(4), {}, "other shape.*first.weight"),
        (one_filter(), {"validate": lambda network: 1.0}, "Conv2d"),
        (Small(), {"learning_rate": 1e-3}, "learning_rate 0.002; expected learning_rate 0.001"),
        (Small(), {"rng": 4, "schedule": "cosine"}, "expected schedule cosine, rng 4"),
        (Small(), {"steps": 30}, "steps 24"),
        (Small(), {"patience": 3}, "patience"),
        (Small(), {"precision": "bf16"}, "precision"),
        (Small(), {"loss": torch.nn.functional.l1_loss}, "loss mse"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_by_name(other_run, network, changed, named):
    with pytest.raises(LowdoseError, match=named) as caught:
        run(network, other_run, **changed)
    assert "resume=False" in str(caught.value)


@pytest.fixture(scope="module")
def other_run(tmp_path_factory) -> Path:
    checkpoint = tmp_path_factory.mktemp("other") / "run.ckpt"
    run(Small(), checkpoint)
    return checkpoint


@pytest.mark.parametrize(
    "change, named", [(lambda part: 1.2 * part, "deviation"), (lambda part: part[:2], "batch size")]
)
def test_a_checkpoint_of_other_data_is_refused(other_run, change, named):
    common = dict(steps=STEPS, validate=misfit, validate_every=5, rng=3, device="cpu", progress=False)
    with pytest.raises(LowdoseError, match=named):
        training.train(Small(), lambda rng: tuple(map(change, filtered(rng))), checkpoint=other_run, **common)


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "text", "code"])
def test_a_damaged_checkpoint_is_refused_and_never_run(tmp_path, other_run, damage):
    content = bytearray(other_run.read_bytes())
    marker = tmp_path / "run by the file"

    class Code:
        def __reduce__(self):
            return Path.touch, (marker,)

    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        losses = torch.load(other_run, weights_only=True)["history"]["losses"]
        place = content.index(losses.numpy().tobytes())
        content[place] ^= 255
    elif damage == "code":
        buffer = io.BytesIO()
        torch.save({"kind": "checkpoint", "format": 1, "weights": Code()}, buffer)
        content = buffer.getvalue()
    else:
        content = b"" if damage == "empty" else b"no checkpoint"
    broken = tmp_path / "broken.ckpt"
    broken.write_bytes(content)
    with pytest.raises(LowdoseError, match=r"checkpoint .*broken.*Delete it"):
        run(Small(), broken)
    assert not marker.exists()


def test_a_full_disk_leaves_the_older_checkpoint(tmp_path, uninterrupted):
    checkpoint = tmp_path / "run.ckpt"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))

    try:
        with pytest.raises(LowdoseError, match=r"not written .* MiB free.*room"):
            run(Small(at_step=10, act=fill), checkpoint)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == [checkpoint]
    network = Small()
    assert run(network, checkpoint).steps_this_call == STEPS - 8
    assert same(network, uninterrupted[0])


# Divergence


def test_a_loss_that_is_no_number_is_named_with_its_step(tmp_path):
    network = Small(at_step=11, act=lambda: network.first.weight.data.fill_(torch.nan))
    with pytest.raises(
        LowdoseError, match=r"loss of step 11: found nan.*smaller learning_rate.*step 8 is kept"
    ):
        run(network, tmp_path / "run.ckpt", validate=None, validate_every=None)
    good = torch.load(tmp_path / "run.ckpt", weights_only=True)
    assert good["history"]["done"] == 8
    assert all(torch.isfinite(tensor).all() for tensor in good["weights"].values())


def test_weights_that_are_no_numbers_are_never_kept(tmp_path):
    """The loss of the last step is finite, its gradient is not."""

    def steep(output, target):
        return (output - output.detach()).abs().sqrt().sum()

    with pytest.raises(LowdoseError, match="weights after step 1: found NaN or infinity in weight"):
        training.train(
            one_filter(),
            filtered,
            steps=1,
            loss=steep,
            checkpoint=tmp_path / "c",
            device="cpu",
            progress=False,
        )
    assert not list(tmp_path.iterdir())


def test_a_validation_that_is_no_number_is_refused():
    with pytest.raises(LowdoseError, match="validation after step 5: found nan"):
        run(Small(), validate=lambda network: float("nan"))


# Bad input


@pytest.mark.parametrize(
    "changed, named",
    [
        ({"steps": 0}, "^steps"),
        ({"steps": 2.5}, "^steps"),
        ({"learning_rate": 0.0}, "^learning_rate"),
        ({"learning_rate": float("nan")}, "^learning_rate"),
        ({"schedule": "linear"}, "^schedule.*constant or cosine or hold-cosine"),
        ({"precision": "64"}, "^precision"),
        ({"precision": "16"}, "^precision.*GPU"),
        ({"validate": lambda network: 1.0}, "^validate_every"),
        ({"validate_every": 2}, "^validate:"),
        ({"patience": 2}, "^validate:.*patience"),
        ({"validate": lambda network: 1.0, "validate_every": 0}, "^validate_every"),
        ({"validate": lambda network: 1.0, "validate_every": 1, "patience": 0}, "^patience"),
        ({"checkpoint_every": 2}, "^checkpoint:"),
        ({"checkpoint": "never_made", "checkpoint_every": 0}, "^checkpoint_every"),
        ({"rng": -1}, "^rng"),
        ({"rng": np.random.default_rng(0)}, "^rng.*seed"),
        ({"device": "abacus"}, "^device"),
        ({"devices": 0}, "^devices"),
    ],
)
def test_bad_settings_are_refused(changed, named):
    with pytest.raises(LowdoseError, match=named):
        training.train(one_filter(), filtered, **{"steps": 2, "device": "cpu", "progress": False} | changed)


@pytest.mark.parametrize(
    "batch, named",
    [
        ((torch.ones(2, 1, 3, 3), torch.ones(3, 1, 3, 3)), "the same number"),
        ((torch.ones(0, 1, 3, 3), torch.ones(0, 1, 3, 3)), "the same number"),
        ((torch.ones(2, 1, 3, 3), torch.full((2, 1, 3, 3), torch.inf)), "18 values of the target"),
        ((torch.full((2, 1, 3, 3), torch.nan), torch.ones(2, 1, 3, 3)), "18 values of the input"),
        ((np.ones((2, 1, 3, 3)), torch.ones(2, 1, 3, 3)), "ndarray.*from_numpy"),
        (torch.ones(2, 1, 3, 3), "a pair of tensors"),
        ((torch.ones(2, 1, 3, 3), torch.ones(2, 3, 3)), "network output.*target's shape"),
    ],
)
def test_a_bad_batch_is_refused(batch, named):
    with pytest.raises(LowdoseError, match=named):
        training.train(one_filter(), lambda rng: batch, steps=1, device="cpu", progress=False)


def test_a_batch_must_be_shared_evenly():
    with pytest.raises(LowdoseError, match=r"3 images.*multiple of the 2 devices"):
        check_batch((torch.ones(3, 1), torch.ones(3, 1)), 2)


def test_a_network_with_nothing_to_learn_is_refused():
    network = one_filter()
    network.weight.requires_grad_(False)
    with pytest.raises(LowdoseError, match="without trainable parameters"):
        training.train(network, filtered, steps=1)


# Files of weights


def test_weights_come_back_with_where_they_come_from(tmp_path):
    network, other = Small(), Small()
    other.first.weight.data.zero_()
    training.save_weights(network, tmp_path / "new" / "w.pt", section="01", levels=[5, 30])
    assert training.load_weights(other, tmp_path / "new" / "w.pt") == {"section": "01", "levels": [5, 30]}
    assert same(network, other)


def test_weights_that_do_not_fit_are_named_and_change_nothing(tmp_path):
    training.save_weights(Small(), tmp_path / "w.pt")
    network = Small(2)
    del network.last
    network.extra = torch.nn.Linear(1, 1)
    before = network.first.weight.clone()
    with pytest.raises(
        LowdoseError,
        match=r"missing: extra.bias \(1,\).*unexpected: last.bias.*other shape: first.bias \(3,\) for \(2,\)",
    ):
        training.load_weights(network, tmp_path / "w.pt")
    assert torch.equal(before, network.first.weight)


def test_other_files_are_no_weights(tmp_path, other_run):
    with pytest.raises(LowdoseError, match="no such file"):
        training.load_weights(Small(), tmp_path / "none.pt")
    with pytest.raises(LowdoseError, match="kind checkpoint"):
        training.load_weights(Small(), other_run)
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({}))
    with pytest.raises(LowdoseError, match="of another kind"):
        training.load_weights(Small(), tmp_path / "plain.pt")


def test_provenance_must_be_plain(tmp_path):
    with pytest.raises(LowdoseError, match="provenance"):
        training.save_weights(Small(), tmp_path / "w.pt", levels=np.ones(3))
    assert not list(tmp_path.iterdir())


def test_parameters_are_counted_by_hand():
    assert training.count_parameters(Small()) == 3 * 9 + 3 + 3 * 9 + 1 + 2 * 3
    network = one_filter()
    network.weight.requires_grad_(False)
    assert training.count_parameters(network) == 0


# Progress


@settings(deadline=None)
@given(total=st.integers(1, 300), start=st.integers(0, 299))
def test_outside_a_terminal_there_are_ten_lines_at_most(total, start):
    start = min(start, total - 1)
    written = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", written)
        progress = Progress(total, start)
        for done in range(start + 1, total + 1):
            progress.update(done, lambda: "loss 1")
        progress.close()
    lines = written.getvalue().splitlines()
    assert 1 <= len(lines) <= 10 and lines[-1] == f"step {total} of {total}: loss 1"


def test_in_a_terminal_there_is_a_bar(monkeypatch, capsys):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    training.train(one_filter(), filtered, steps=3, device="cpu")
    assert "3/3" in terminal.getvalue() and not capsys.readouterr().out


def test_lines_tell_loss_and_validation(capsys):
    run(Small(), progress=True)
    lines = capsys.readouterr().out.splitlines()
    assert (
        len(lines) == 10 and lines[-1].startswith(f"step {STEPS} of {STEPS}: loss ") and "best" in lines[-1]
    )
