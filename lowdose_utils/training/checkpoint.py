"""What an interrupted run needs in order to go on as if nothing had happened."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from lowdose_utils.errors import LowdoseError
from lowdose_utils.training.plan import Batch, Plan
from lowdose_utils.training.weights import check_fit, class_name, read


@dataclass
class History:
    """How far a run has come. There is no random state: each step's is made from the seed and its number."""

    losses: torch.Tensor
    done: int = 0
    validation: list[tuple[int, float]] = field(default_factory=list)
    best: dict[str, torch.Tensor] | None = None
    best_step: int = 0
    stopped: str = ""
    seconds: float = 0.0

    @property
    def best_value(self) -> float:
        """The least validation value so far."""
        return min((value for _, value in self.validation), default=float("inf"))

    def as_dict(self) -> dict[str, Any]:
        """Plain values and tensors on the CPU."""
        return {**vars(self), "losses": self.losses[: self.done].to("cpu", copy=True)}

    @classmethod
    def from_dict(cls, content: dict[str, Any], steps: int, device: torch.device) -> History:
        """The other way."""
        losses = torch.zeros(steps, device=device)
        losses[: content["done"]] = content["losses"]
        pairs = [(step, value) for step, value in content["validation"]]
        return cls(**{**content, "losses": losses, "validation": pairs})


def portrait(batch: Batch) -> dict[str, list[float]]:
    """Shape, mean and standard deviation of a batch: enough to see that a run has got other data."""
    parts = {"input": batch[0].double(), "target": batch[1].double()}
    return {
        name: [*part.shape, float(part.mean()), float(part.std(correction=0))] for name, part in parts.items()
    }


def _alike(one: list[float], other: list[float]) -> bool:
    """Whether two portraits agree but for rounding (data may have been computed anew, with other threads)."""
    spread = 1e-3 * max(one[-1], other[-1]) + 1e-6 * abs(one[-2])
    return one[:-2] == other[:-2] and all(
        abs(a - b) <= spread for a, b in zip(one[-2:], other[-2:], strict=True)
    )


def load(path: Path, network: torch.nn.Module, plan: Plan, data: dict[str, list[float]]) -> dict[str, Any]:
    """Read a checkpoint, and refuse it if it belongs to another run.

    Raises
    ------
    LowdoseError
        If the file is damaged, or holds another network, other settings or other data.
    """
    content = read(path, "checkpoint")
    way_out = "Give the run its own checkpoint file, or resume=False to begin anew and replace this one."
    thing = f"checkpoint {path}"
    check_fit(content, network, thing, way_out)
    there = {"network": content["network"], **content["settings"]}
    wanted = {"network": class_name(network), **plan.settings()}
    differ = [name for name in wanted if there.get(name) != wanted[name]]
    if differ:
        raise LowdoseError(
            thing,
            found=", ".join(f"{name} {there.get(name)}" for name in differ),
            expected=", ".join(f"{name} {wanted[name]}" for name in differ),
            way_out=way_out,
        )
    for name, now in data.items():
        if not _alike(before := content["data"][name], now):
            raise LowdoseError(
                thing,
                found=f"a first batch whose {name} has shape, mean and deviation {_short(before)}",
                expected=f"{_short(now)} as now; the data or the batch size are others",
                way_out=way_out,
            )
    return content


def _short(numbers: list[float]) -> str:
    return "(" + ", ".join(f"{number:.6g}" for number in numbers) + ")"
