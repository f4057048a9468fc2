"""Which sections the network sees, and which it is to predict; and the batches drawn from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch

from lowdose_utils.enhance.scaling import Scale
from lowdose_utils.errors import LowdoseError
from lowdose_utils.noise2inverse.volumes import Floats, Volumes
from lowdose_utils.training import Batch, Loss

Strategy = Literal["X:1", "1:X"]
Pair: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]


def pairs(sections: int, strategy: Strategy = "X:1", group: int | None = None) -> list[Pair]:
    """Input sections and target sections, each section the odd one out once.

    Parameters
    ----------
    sections : int
        Their number, or that of the time steps.
    strategy : {"X:1", "1:X"}
        ``"X:1"``: the mean of all but one is the input, the one the target. ``"1:X"``: the other way round
        (Hendriksen et al. 2020); so are time steps combined (2021, Methods).
    group : int, optional
        Successive sections that belong together; all by default. See `group_size`.

    Returns
    -------
    list of (input sections, target sections)

    Raises
    ------
    LowdoseError
        If the strategy is unknown, or groups of two at least do not come out even.
    """
    if strategy not in get_args(Strategy):
        raise LowdoseError(
            "strategy",
            found=repr(strategy),
            expected=" or ".join(get_args(Strategy)),
            way_out="Use X:1 for static scans, 1:X for time steps.",
        )
    size = sections if group is None else group
    if size < 2 or sections % size:
        raise LowdoseError(
            "group",
            found=f"{size} of {sections} sections",
            expected=f"2 at least, and a divisor of {sections}",
            way_out="Leave the sections out that fill no group; one section has no other to learn from.",
        )
    found: list[Pair] = []
    for first in range(0, sections, size):
        for one in range(first, first + size):
            others = tuple(k for k in range(first, first + size) if k != one)
            found.append((others, (one,)) if strategy == "X:1" else ((one,), others))
    return found


@dataclass(frozen=True)
class PairBatches:
    """Draws batches of crops or whole slices; of the volumes only these are read.

    Attributes
    ----------
    volumes : Volumes
    chosen : sequence of Pair
        Drawn with equal chances.
    scale : Scale
        Of input and target.
    context : int
        Slices on either side that the network sees.
    slices : sequence of int
        Slices to be predicted.
    tops : sequence of int
        Rows at which crops may begin.
    crop : int, optional
        Side of the crops in pixels; None for whole slices.
    batch : int
        How many.
    turned : bool
        Whether they are flipped and turned at random by multiples of 90 degrees (180, if not square).
    """

    volumes: Volumes
    chosen: Sequence[Pair]
    scale: Scale
    context: int
    slices: Sequence[int]
    tops: Sequence[int]
    crop: int | None
    batch: int
    turned: bool = True

    def __call__(self, rng: np.random.Generator) -> Batch:
        """Draw a batch: (crop, slice x channel, y, x) and (crop, channel, y, x)."""
        drawn = [self._one(rng) for _ in range(self.batch)]
        given, wanted = (torch.from_numpy(np.stack(parts)) for parts in zip(*drawn, strict=True))
        return given, wanted

    def _one(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        pair = self.chosen[int(rng.integers(len(self.chosen)))]
        z = self.slices[int(rng.integers(len(self.slices)))]
        rows, columns = slice(None), slice(None)
        if self.crop is not None:
            top = self.tops[int(rng.integers(len(self.tops)))]
            left = int(rng.integers(self.volumes.shape[1] - self.crop + 1))
            rows, columns = slice(top, top + self.crop), slice(left, left + self.crop)
        given, wanted = example(self.volumes, pair, z, self.context, self.scale, (rows, columns))
        if self.turned:
            quarters = int(rng.integers(4))
            if given.shape[-2] != given.shape[-1]:
                quarters &= 2
            flipped = bool(rng.integers(2))
            given, wanted = (oriented(part, quarters, flipped) for part in (given, wanted))
        return given, wanted


@dataclass(frozen=True)
class HeldOut:
    """The mean loss on examples that training never has as targets.

    Attributes
    ----------
    volumes : Volumes
    examples : sequence of (Pair, int)
        Sections and slice of each.
    scale, context
        As for `PairBatches`.
    band : slice
        Rows.
    loss : callable
        Of output and target.
    """

    volumes: Volumes
    examples: Sequence[tuple[Pair, int]]
    scale: Scale
    context: int
    band: slice
    loss: Loss

    @property
    def name(self) -> str:
        """What is held out: a run that goes on with something else would have learnt what it is tested on."""
        return (
            f"slices {sorted({int(z) for _, z in self.examples})}, rows {self.band.start} to {self.band.stop}"
        )

    def __call__(self, network: torch.nn.Module) -> float:
        """Apply the network to all examples."""
        place = next(network.parameters()).device
        losses = []
        for pair, z in self.examples:
            parts = example(self.volumes, pair, z, self.context, self.scale, (self.band, slice(None)))
            given, wanted = (torch.from_numpy(part)[None].to(place) for part in parts)
            losses.append(float(self.loss(network(given), wanted)))
        return float(np.mean(losses))


def example(
    volumes: Volumes, pair: Pair, z: int, context: int, scale: Scale, window: tuple[slice, slice]
) -> tuple[Floats, Floats]:
    """Scaled input (slice x channel, y, x) and target (channel, y, x) of one pair at slice `z`."""
    given = volumes.mean(pair[0], z, context, window)
    return scaled(given, scale), scale.do(volumes.mean(pair[1], z, 0, window))


def scaled(given: Floats, scale: Scale) -> Floats:
    """Slices (slice x channel, y, x) in the network's range."""
    return scale.do(given.reshape(-1, len(scale.offset), *given.shape[-2:])).reshape(given.shape)


def oriented(images: Floats, quarters: int, flipped: bool) -> Floats:
    """Images (..., y, x) turned by quarters of a turn, then flipped."""
    turned = np.rot90(images, quarters, axes=(-2, -1))
    # A copy: torch takes no negative stride, which an axis of length 1 may keep in a contiguous array.
    return (turned[..., ::-1] if flipped else turned).copy()
