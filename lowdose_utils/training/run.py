"""The one call that trains any network of the book."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from lowdose_utils.device import resolve_device
from lowdose_utils.errors import LowdoseError
from lowdose_utils.training.guards import own_random_numbers
from lowdose_utils.training.loop import Loop, Training
from lowdose_utils.training.plan import Batches, Loss, Plan, Precision, Schedule, mse
from lowdose_utils.training.weights import class_name, count_parameters

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def train(
    network: torch.nn.Module,
    batches: Batches,
    *,
    steps: int,
    loss: Loss = mse,
    learning_rate: float = 2e-3,
    schedule: Schedule = "hold-cosine",
    validate: Callable[[torch.nn.Module], float] | None = None,
    validate_every: int | None = None,
    patience: int | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int | None = None,
    resume: bool = True,
    rng: int = 0,
    device: str | torch.device = "auto",
    precision: Precision = "32",
    devices: int = 1,
    channels_last: bool = True,
    progress: bool = True,
) -> Training:
    """Train a network in place with Adam (Kingma and Ba, ICLR 2015).

    The same seed gives the same training; interrupted and called again with the same arguments, it ends
    with the same weights as without the interruption, to the last bit on a CPU with as many threads.

    Parameters
    ----------
    network : Module
        Moved to the device and left there, in evaluation mode. With `validate` it ends with the weights of
        the least validation value, else with the last ones. After an error its weights are of no use.
    batches : callable
        Gives a batch ``(input, target)``, CPU tensors of shape (image, channel, ...), drawn with the
        generator that it gets and nothing else random: the generator of each step is made from `rng` and the
        number of the step alone.
    steps : int
        Batches to learn from.
    loss : callable
        Of the network's output and the target; a scalar tensor, the mean over the batch.
    learning_rate : float
        The highest, which `schedule` lowers.
    schedule : {"hold-cosine", "cosine", "constant"}
        See `rate`; the default is constant for half the steps and then falls to nearly 0 as a cosine does.
    validate : callable, optional
        Gives a number for the network, the less the better. Called without gradients in evaluation mode and
        full precision, after each `validate_every` steps and after the last. If it has a `name`, a
        checkpoint of a run validated by another name is refused.
    validate_every : int, optional
        Needed with `validate`.
    patience : int, optional
        Stop after so many validations in a row without a new least value.
    checkpoint : str or Path, optional
        File that keeps the state of the run. If it is there, the run goes on from it; if it holds a finished
        run, the network gets its weights and nothing is trained.
    checkpoint_every : int, optional
        Steps between checkpoints, a twentieth of all by default. One is also kept at the end and on ^C.
    resume : bool
        False: begin anew and replace an older checkpoint.
    rng : int
        Seed of the batches and of torch (dropout) during training. The first weights are the caller's.
    device : str or device
        "auto", "cpu", "cuda", "cuda:1" or "mps".
    precision : {"32", "bf16", "16"}
        Of the network's arithmetic and input ("bf16" keeps 8 significant bits); weights, loss and
        validation are float32 always. "16" needs a GPU.
    devices : int
        Among how many devices each batch is shared; more than one in a script only, which Lightning
        Fabric then runs once for each device, as a whole.
    channels_last : bool
        Keep channels of 2-D images together in memory: up to twice as fast for most convolutional networks.
    progress : bool
        Show a bar in a terminal, at most ten lines elsewhere.

    Returns
    -------
    Training

    Raises
    ------
    LowdoseError
        If an argument, a batch or the checkpoint is wrong, a checkpoint cannot be written, or loss, weights
        or validation become NaN or infinite.
    KeyboardInterrupt
        On ^C, after a checkpoint.
    """
    plan = Plan(
        steps=steps,
        loss=loss,
        learning_rate=learning_rate,
        schedule=schedule,
        validate=validate,
        validate_every=validate_every,
        patience=patience,
        checkpoint=None if checkpoint is None else Path(checkpoint),
        checkpoint_every=checkpoint_every,
        rng=rng,
        precision=precision,
        channels_last=channels_last,
        progress=progress,
    )
    if not count_parameters(network):
        raise LowdoseError(
            "network",
            found=f"a {class_name(network)} without trainable parameters",
            expected="one at least",
            way_out="Set requires_grad on the parameters to be trained.",
        )
    fabric = _fabric(resolve_device(device), devices, precision)
    with own_random_numbers(fabric.device):
        return Loop(network, batches, plan, fabric, resume).run()


def _fabric(device: torch.device, devices: int, precision: Precision) -> Fabric:
    """Lightning Fabric on `devices` devices of the kind of `device`, launched."""
    present = {"cuda": torch.cuda.device_count(), "mps": 1}.get(device.type, max(devices, 1))
    alone = device.index is not None or hasattr(sys, "ps1")
    if not 1 <= devices <= (1 if alone else present) or (device.index or 0) >= present:
        raise LowdoseError(
            "devices",
            found=f"{devices} on {device}" + (" in a notebook" if hasattr(sys, "ps1") else ""),
            expected=f"1, or up to {present} {device.type} devices in a script",
            way_out="Leave devices out; several run the script that calls once for each of them.",
        )
    if precision == "16" and device.type == "cpu":
        raise LowdoseError(
            "precision", found="16 on a CPU", expected="32 or bf16", way_out="float16 needs a GPU."
        )
    from lightning_fabric import Fabric  # takes longer to import than torch, and only training needs it

    chosen = devices if device.index is None or device.type == "cpu" else [device.index]
    names: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]] = {
        "32": "32-true",
        "bf16": "bf16-mixed",
        "16": "16-mixed",
    }
    fabric = Fabric(accelerator=device.type, devices=chosen, precision=names[precision])
    fabric.launch()
    return fabric
