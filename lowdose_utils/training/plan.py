"""What is to be trained and how: the settings of a run, checked before anything starts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch

from lowdose_utils.errors import LowdoseError

Batch: TypeAlias = tuple[torch.Tensor, torch.Tensor]
Batches: TypeAlias = Callable[[np.random.Generator], Batch]
Loss: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Schedule = Literal["constant", "cosine", "hold-cosine"]
Precision = Literal["32", "bf16", "16"]


def mse(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean squared difference.

    Raises
    ------
    LowdoseError
        If the shapes differ: broadcasting would compare every image with every other.
    """
    if output.shape != target.shape:
        raise LowdoseError(
            "network output",
            found=f"shape {tuple(output.shape)}",
            expected=f"the target's shape {tuple(target.shape)}",
            way_out="Let the network give, or the batches hold, the same channels and size.",
        )
    return torch.nn.functional.mse_loss(output, target)


def rate(schedule: Schedule, step: int, steps: int) -> float:
    """Learning rate of a step as a fraction of the highest.

    Parameters
    ----------
    schedule : {"constant", "cosine", "hold-cosine"}
        ``"cosine"`` falls as ``(1 + cos(pi t)) / 2`` with ``t = step / steps`` (Loshchilov and Hutter,
        ICLR 2017, eq. 5, without restarts). ``"hold-cosine"`` stays at 1 for the first half and falls
        so over the second: quick progress first, then the noise of the gradient is averaged out.
    step, steps : int
        The step, from 0, and their number.

    Returns
    -------
    float
        1 at first; at the last of many steps about ``2.5 / steps**2`` for ``"cosine"``, and four times that
        for ``"hold-cosine"``.
    """
    start = {"constant": 1.0, "cosine": 0.0, "hold-cosine": 0.5}[schedule]
    passed = step / steps
    return 1.0 if passed <= start else (1 + math.cos(math.pi * (passed - start) / (1 - start))) / 2


@dataclass(frozen=True)
class Plan:
    """Settings of a run, as `train` takes them."""

    steps: int
    loss: Loss
    learning_rate: float
    schedule: Schedule
    validate: Callable[[torch.nn.Module], float] | None
    validate_every: int | None
    patience: int | None
    checkpoint: Path | None
    checkpoint_every: int | None
    rng: int
    precision: Precision
    channels_last: bool
    progress: bool

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        for name in ("steps", "validate_every", "patience", "checkpoint_every"):
            value = getattr(self, name)
            _whole(name, value, 1, optional=name != "steps")
        _whole("rng", self.rng, 0, "Give a seed: a Generator has a state that no checkpoint could restore.")
        for name, choices in (("schedule", get_args(Schedule)), ("precision", get_args(Precision))):
            if getattr(self, name) not in choices:
                raise LowdoseError(
                    name,
                    found=repr(getattr(self, name)),
                    expected=" or ".join(choices),
                    way_out="Leave it out to take the default.",
                )
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise LowdoseError(
                "learning_rate",
                found=self.learning_rate,
                expected="a positive number",
                way_out="Adam's usual rates are 1e-4 to 1e-2.",
            )
        if self.validate is None and (self.validate_every, self.patience) != (None, None):
            raise LowdoseError(
                "validate",
                found="none, with validate_every or patience",
                expected="a function of the network that gives a number, less being better",
                way_out="Give validate, or leave validate_every and patience out.",
            )
        if self.validate is not None and self.validate_every is None:
            raise LowdoseError(
                "validate_every",
                found="none, with validate",
                expected="the number of steps between validations",
                way_out="Give validate_every, say a twentieth of the steps.",
            )
        if self.checkpoint is None and self.checkpoint_every is not None:
            raise LowdoseError(
                "checkpoint",
                found="none, with checkpoint_every",
                expected="the file to keep checkpoints in",
                way_out="Give checkpoint, or leave checkpoint_every out.",
            )

    @property
    def saves_after(self) -> int:
        """Steps between checkpoints."""
        return self.checkpoint_every or max(1, self.steps // 20)

    def settings(self) -> dict[str, Any]:
        """What must not change between the parts of an interrupted run."""
        return {
            "steps": int(self.steps),
            "loss": getattr(self.loss, "__qualname__", type(self.loss).__name__),
            "learning_rate": float(self.learning_rate),
            "schedule": self.schedule,
            "validate": getattr(self.validate, "name", None),
            "validate_every": self.validate_every and int(self.validate_every),
            "patience": self.patience and int(self.patience),
            "rng": int(self.rng),
            "precision": self.precision,
        }


def _whole(name: str, value: object, least: int, way_out: str = "", *, optional: bool = False) -> None:
    """Refuse what is no whole number from `least` up."""
    if optional and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise LowdoseError(
            name,
            found=repr(value),
            expected=f"a whole number from {least} up",
            way_out=way_out or "Count in steps (patience: in validations).",
        )


def check_batch(batch: object, parts: int) -> Batch:
    """An input and a target in float32, finite, as many of each, to be shared by `parts` devices.

    Raises
    ------
    LowdoseError
        If it is anything else.
    """

    def refuse(found: str, expected: str, way_out: str) -> LowdoseError:
        return LowdoseError("batch", found=found, expected=expected, way_out=way_out)

    if not (isinstance(batch, tuple | list) and len(batch) == 2 and all(map(torch.is_tensor, batch))):
        kinds = [type(part).__name__ for part in batch] if isinstance(batch, tuple | list) else type(batch)
        raise refuse(str(kinds), "a pair of tensors (input, target)", "Convert arrays with torch.from_numpy.")
    given, target = (part.float() if part.is_floating_point() else part for part in batch)
    if not (given.ndim and target.ndim and len(given) == len(target) > 0):
        raise refuse(
            f"input {tuple(given.shape)}, target {tuple(target.shape)}",
            "the same number of both, one at least, along the first axis",
            "Draw each target with its input.",
        )
    if len(given) % parts:
        raise refuse(
            f"{len(given)} images", f"a multiple of the {parts} devices", "Change the batch size or devices."
        )
    for name, part in (("input", given), ("target", target)):
        if bad := part.numel() - int(torch.isfinite(part).sum()):
            raise refuse(
                f"{bad} values of the {name} that are NaN or infinite",
                "finite values",
                "Repair the data first: correct.repair_bad_pixels.",
            )
    return given, target
