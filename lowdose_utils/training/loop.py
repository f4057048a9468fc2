"""The training loop: one for all networks, on any device, to be interrupted and resumed."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import numpy.typing as npt
import torch

from lowdose_utils.device import peak_memory
from lowdose_utils.errors import LowdoseError
from lowdose_utils.training import checkpoint
from lowdose_utils.training.guards import interrupts_held, seed
from lowdose_utils.training.plan import Batch, Batches, Plan, check_batch, rate
from lowdose_utils.training.progress import Progress
from lowdose_utils.training.weights import class_name, copied, write

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Training:
    """What `train` did.

    Attributes
    ----------
    losses : array of float32, shape (steps_done,)
        The loss of each step, before its change of the weights.
    validation : tuple of (int, float)
        Steps made, and the value that `validate` then gave.
    best_step : int
        After how many steps the network had the weights that it ends with.
    stopped : {"finished", "early"}
        Whether all steps were made, or validation had stopped improving.
    steps_done, steps_this_call : int
        Steps of the whole run, and those that this call made (the others came from the checkpoint).
    seconds : float
        Time of the whole run, validation and checkpoints included, all calls together.
    steps_per_second : float
        `steps_done` by `seconds`.
    peak_memory_mib, peak_gpu_memory_mib : float
        The most memory this process has held so far, and torch on the CUDA device (0 without one).
    """

    losses: npt.NDArray[np.float32] = field(repr=False)
    validation: tuple[tuple[int, float], ...]
    best_step: int
    stopped: Literal["finished", "early"]
    steps_done: int
    steps_this_call: int
    seconds: float
    steps_per_second: float
    peak_memory_mib: float
    peak_gpu_memory_mib: float


class Loop:
    """State of a run between two steps, and what can be done with it."""

    def __init__(
        self, network: torch.nn.Module, batches: Batches, plan: Plan, fabric: Fabric, resume: bool
    ) -> None:
        self.network, self.batches, self.plan, self.fabric = network, batches, plan, fabric
        fabric.to_device(network)
        if plan.channels_last:
            for parameter in network.parameters():  # Module.to would refuse the weights of 3-D networks
                if parameter.ndim == 4:
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        self.adam = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], plan.learning_rate)
        self.data = checkpoint.portrait(self._batch(0))
        self.history = checkpoint.History(torch.zeros(plan.steps, device=fabric.device))
        if resume and plan.checkpoint is not None and plan.checkpoint.exists():
            self._restore(checkpoint.load(plan.checkpoint, network, plan, self.data))
        self.before = self.saved = self.history.done
        self.whole = True
        self.model, self.optimizer = fabric.setup(network, self.adam)
        self.started = time.perf_counter() - self.history.seconds

    def run(self) -> Training:
        """Train to the end, then leave the network with its best weights."""
        history, plan = self.history, self.plan
        bar = Progress(plan.steps, history.done, show=plan.progress and self.fabric.is_global_zero)
        self.network.train()
        try:
            while not history.stopped:
                # All that is due follows from the history, so that a resumed run does it, too.
                if self._validation_due():
                    self._validate()
                elif history.done == plan.steps:
                    self._save("finished")
                elif plan.patience is not None and self._without_gain() >= plan.patience:
                    self._save("early")
                else:
                    if history.done % plan.saves_after == 0 and history.done != self.saved:
                        self._save()
                    self._step()
                if not self._validation_due():
                    bar.update(history.done, self._words)
        except KeyboardInterrupt:
            self._keep_interrupted()
            raise
        finally:
            bar.close()
            self.adam.zero_grad(set_to_none=True)
        self.fabric.barrier()  # the last checkpoint is there for all that comes next
        if history.best is not None:
            self.network.load_state_dict(history.best)
        self.network.eval()
        return self._training()

    def _batch(self, step: int) -> Batch:
        generator = np.random.default_rng([int(self.plan.rng), step])
        return check_batch(self.batches(generator), self.fabric.world_size)

    def _place(self, part: torch.Tensor) -> torch.Tensor:
        """This device's share of a batch; from pinned memory, the copy to a GPU runs beside its work."""
        share = part[self.fabric.global_rank :: self.fabric.world_size]
        if self.plan.channels_last and share.ndim == 4:
            share = share.contiguous(memory_format=torch.channels_last)
        if self.fabric.device.type == "cuda":
            share = share.pin_memory()
        placed: torch.Tensor = self.fabric.to_device(share)
        return placed

    def _seed(self) -> None:
        words = [int(self.plan.rng), self.history.done, 1 + self.fabric.global_rank]
        seed(self.fabric.device, int(np.random.SeedSequence(words).generate_state(1)[0]))

    def _step(self) -> None:
        history, plan = self.history, self.plan
        batch = self._batch(history.done)
        given, target = (self._place(part) for part in batch)
        # A GPU may have worked on the last step till now: its loss is looked at only here.
        self._check_loss()
        with interrupts_held():
            self.whole = False
            self._seed()
            for group in self.adam.param_groups:
                group["lr"] = plan.learning_rate * rate(plan.schedule, history.done, plan.steps)
            self.adam.zero_grad(set_to_none=True)
            loss = plan.loss(self.model(given), target)
            self.fabric.backward(loss)
            self.optimizer.step()
            history.losses[history.done] = cast(torch.Tensor, self.fabric.all_reduce(loss.detach()))
            history.done += 1
            self.whole = True

    def _validation_due(self) -> bool:
        done, every = self.history.done, self.plan.validate_every
        if every is None or done == 0 or self._validated() == done:
            return False
        return done % every == 0 or done == self.plan.steps

    def _validated(self) -> int:
        return self.history.validation[-1][0] if self.history.validation else 0

    def _without_gain(self) -> int:
        """Validations since the best one."""
        return sum(step > self.history.best_step for step, _ in self.history.validation)

    def _validate(self) -> None:
        history = self.history
        self._check_loss()
        self._seed()
        self.network.eval()
        try:
            with torch.no_grad():
                assert self.plan.validate is not None
                value = self.fabric.broadcast(float(self.plan.validate(self.network)))
        finally:
            self.network.train()
        if not math.isfinite(value):
            raise self._diverged(f"validation after step {history.done}", value)
        with interrupts_held():
            if value < history.best_value:
                history.best, history.best_step = copied(self.network), history.done
            history.validation.append((history.done, value))

    def _check_loss(self) -> None:
        done = self.history.done
        if done > self.before and not math.isfinite(value := float(self.history.losses[done - 1])):
            raise self._diverged(f"loss of step {done}", value)

    def _diverged(self, thing: str, value: object) -> LowdoseError:
        kept = f" The checkpoint of step {self.saved} is kept." if self.plan.checkpoint and self.saved else ""
        return LowdoseError(
            thing,
            found=value,
            expected="a finite number",
            way_out=f"Make the network anew and train it with a smaller learning_rate than "
            f"{self.plan.learning_rate:g} (and resume=False, or another checkpoint file).{kept}",
        )

    def _restore(self, content: dict[str, Any]) -> None:
        """Take over a checkpoint that fits."""
        self.network.load_state_dict(content["weights"])
        self.adam.load_state_dict(content["adam"])
        self.fabric.strategy.precision.load_state_dict(content["scaler"])
        self.history = checkpoint.History.from_dict(content["history"], self.plan.steps, self.fabric.device)

    def _save(self, stopped: Literal["", "finished", "early"] = "") -> None:
        """Make sure that all is well, and keep it if there is a file for it."""
        history, fabric = self.history, self.fabric
        self._check_loss()
        weights = copied(self.network)
        if bad := [name for name, tensor in weights.items() if not bool(torch.isfinite(tensor).all())]:
            raise self._diverged(f"weights after step {history.done}", f"NaN or infinity in {', '.join(bad)}")
        history.seconds = time.perf_counter() - self.started
        history.stopped = stopped
        if self.plan.checkpoint is None:
            return
        if fabric.is_global_zero:
            content = {
                "network": class_name(self.network),
                "settings": self.plan.settings(),
                "data": self.data,
                "weights": weights,
                "adam": self.adam.state_dict(),
                "scaler": fabric.strategy.precision.state_dict(),
                "history": history.as_dict(),
            }
            write(self.plan.checkpoint, "checkpoint", content)
        self.saved = history.done

    def _keep_interrupted(self) -> None:
        """Keep a last checkpoint and say how to go on."""
        if self.whole:
            self._save(cast(Literal["", "finished", "early"], self.history.stopped))
        how = (
            f"call again with the same arguments to go on from step {self.saved} ({self.plan.checkpoint})."
            if self.plan.checkpoint is not None and (self.whole or self.saved)
            else f"nothing is kept (checkpoint: {self.plan.checkpoint})."
        )
        if self.fabric.is_global_zero:
            print(f"Interrupted after step {self.history.done} of {self.plan.steps}: {how}", file=sys.stderr)

    def _words(self) -> str:
        """What is worth knowing on the way."""
        last = f"loss {float(self.history.losses[self.history.done - 1]):.3g}"
        if not self.history.validation:
            return last
        return f"{last}, validation {self.history.validation[-1][1]:.3g} (best {self.history.best_value:.3g})"

    def _training(self) -> Training:
        history, device = self.history, self.fabric.device
        return Training(
            losses=history.losses[: history.done].cpu().numpy(),
            validation=tuple(history.validation),
            best_step=history.done if history.best is None else history.best_step,
            stopped="finished" if history.stopped == "finished" else "early",
            steps_done=history.done,
            steps_this_call=history.done - self.before,
            seconds=history.seconds,
            steps_per_second=history.done / max(history.seconds, 1e-9),
            peak_memory_mib=peak_memory(),
            peak_gpu_memory_mib=torch.cuda.max_memory_allocated(device) / 2**20
            if device.type == "cuda"
            else 0.0,
        )
