"""Training without truth: sections of one scan teach the network about each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any, TypeVar

import numpy as np
import torch

from lowdose_utils import training
from lowdose_utils.enhance.scaling import Scale
from lowdose_utils.errors import LowdoseError
from lowdose_utils.noise2inverse.denoiser import Denoiser, channelwise
from lowdose_utils.noise2inverse.pairs import HeldOut, Pair, PairBatches, Strategy, pairs
from lowdose_utils.noise2inverse.volumes import WHOLE, Sections, Volumes

Item = TypeVar("Item")
MOST = 64  # examples of a validation


def train_noise2inverse(
    network: torch.nn.Module,
    sections: Sections,
    *,
    strategy: Strategy = "X:1",
    group: int | None = None,
    chosen: Sequence[Pair] | None = None,
    context: int = 0,
    scale: Scale | float | None = None,
    crop: int | None = None,
    batch: int = 16,
    turned: bool = True,
    held_out: Sequence[int] | float = (),
    **settings: Any,
) -> tuple[Denoiser, training.Training]:
    """Train `network` to predict some sections of a scan from the others.

    The noise of the target is independent of the input, so that the expected loss is that against the
    noise-free target plus the variance of the noise, which no network can change (Hendriksen et al. 2020,
    proposition 1; 2021, equation 1). The network learns the mean of noise-free reconstructions: what all
    sections share, streaks from few angles or the bias of a logarithm of few counts, stays.

    Parameters
    ----------
    network : Module
        From (image, (2 context + 1) channels, y, x) to (image, channels, y, x). It is trained in place.
    sections : sequence of arrays (z, y, x) or (channel, z, y, x), or one array of all
        Reconstructions of the sections (`reconstruct_sections`) or time steps; memory maps and datasets are
        read a crop at a time. Spectral data: all channels go in, slice by slice, and all come out.
    strategy, group
        See `pairs`. Static scans: the default. Dynamic scans: ``"1:X"`` with `group_size`.
    chosen : sequence of (input sections, target sections), optional
        Train on these instead of all that `pairs` gives: for showing what uneven use does.
    context : int
        Slices above and below that the network sees besides the one to be denoised (2.5-D).
    scale : Scale or float, optional
        By default each channel's mean is taken off and its standard deviation divided by, both of the mean
        of the sections. A number multiplies the images (200 in the original code); needed for networks that
        end in a ReLU, such as `Enhancer`.
    crop : int, optional
        Side of random crops in pixels; whole slices, as in the papers, by default.
    batch : int
        Crops or slices in a step.
    turned : bool
        Flip and turn them at random.
    held_out : sequence of int, or float
        Slices that are never targets, or the share of rows, in the middle of all slices, that crops leave
        out; the same loss there is the validation value, over 64 examples at most. With `patience` it stops
        the training. It holds the noise's variance, so that its smallest changes drown in chance; it does
        not see errors that all sections share; and it is taken for the inputs of training, which are
        noisier than the reconstruction of the scan.
    **settings
        For `training.train`: steps, loss, learning_rate, validate_every (a twentieth of the steps by
        default), patience, checkpoint, rng, device, ...

    Returns
    -------
    Denoiser, Training

    Raises
    ------
    LowdoseError
        If sections, sizes, held-out slices or the network do not fit, a channel is constant, or values
        are not finite.
    """
    volumes = Volumes(sections)
    volumes.check_context(context)
    found = pairs(volumes.number, strategy, group) if chosen is None else list(chosen)
    _check_pairs(found, volumes.number)
    side = _check_sizes(volumes, crop, batch)
    scale = _scale_of(volumes, found, scale)
    _check_network(network, volumes.channels, context, side)
    slices, kept, tops, band = _held_out(volumes, held_out, crop)
    batches = PairBatches(volumes, found, scale, context, slices, tops, crop, batch, turned)
    if kept:
        if "validate" in settings:
            raise LowdoseError(
                "validate, held_out",
                found="both",
                expected="one at most",
                way_out="What is held out validates by itself.",
            )
        examples = _spread([(pair, z) for z in kept for pair in found], MOST)
        loss = settings.get("loss", training.mse)
        settings["validate"] = HeldOut(volumes, examples, scale, context, band, loss)
        settings.setdefault("validate_every", max(1, settings.get("steps", 20) // 20))
    done = training.train(network, batches, **settings)
    return Denoiser(network, scale, group or volumes.number, strategy, context), done


def _scale_of(volumes: Volumes, found: Sequence[Pair], given: Scale | float | None) -> Scale:
    """The scale of each channel."""
    if isinstance(given, Scale):
        offset, factor = (channelwise(part) for part in given)
        sound = np.isfinite(offset).all() and np.isfinite(factor).all() and factor.all()
        if not sound or not {len(offset), len(factor)} <= {1, volumes.channels}:
            raise LowdoseError(
                "scale",
                found=f"{len(factor)} factors {factor.ravel()[:4]}, offsets {offset.ravel()[:4]}",
                expected=f"one of each for each of {volumes.channels} channels, finite, no factor 0",
                way_out="Or leave it out.",
            )
        return Scale(*(np.broadcast_to(part, (volumes.channels, 1, 1)).copy() for part in (offset, factor)))
    if given is not None:
        if not 0 < given < np.inf:
            raise LowdoseError("scale", found=given, expected="a positive number", way_out="Or leave it out.")
        return Scale(*(channelwise(np.full(volumes.channels, value)) for value in (0, 1 / given)))
    slices = _spread(range(volumes.slices), 16)
    some = [found[place * len(found) // len(slices)] for place in range(len(slices))]
    images = [volumes.mean(sum(pair, ()), z).astype(np.float64) for pair, z in zip(some, slices, strict=True)]
    mean = np.mean([image.mean((1, 2)) for image in images], axis=0)
    spread = np.sqrt(np.mean([((image - mean[:, None, None]) ** 2).mean((1, 2)) for image in images], axis=0))
    if (flat := np.flatnonzero(~(spread > 1e-12 * np.abs(mean)))).size:
        raise LowdoseError(
            f"channel {flat[0]} of the sections",
            found=f"{mean[flat[0]]:g} everywhere",
            expected="structure and noise: counts",
            way_out="Leave the channel out.",
        )
    return Scale(channelwise(mean), channelwise(spread))


def _held_out(
    volumes: Volumes, held_out: Sequence[int] | float, crop: int | None
) -> tuple[list[int], list[int], list[int], slice]:
    """Slices to train on and to validate on; rows where crops begin, and those of the validation."""
    rows, every = volumes.shape[0], list(range(volumes.slices))
    tops = list(range(rows - crop + 1)) if crop else []
    if not isinstance(held_out, Iterable):
        held_out = float(held_out)
        height = max(1, round(held_out * rows))
        first = (rows - height) // 2
        outside = [top for top in tops if top + (crop or 0) <= first or top >= first + height]
        if not 0 < held_out < 1 or not outside:
            raise LowdoseError(
                "held_out",
                found=f"{held_out:g} of {rows} rows, crops of {crop}",
                expected="a share between 0 and 1 that leaves rows for a crop above or below",
                way_out="Take smaller crops or a smaller share, or hold out whole slices.",
            )
        return every, _spread(every, 8), outside, slice(first, first + height)
    kept = sorted({*held_out})
    used = [z for z in every if z not in kept]
    # No mask, as numpy would take.
    whole = all(isinstance(z, Integral) and not isinstance(z, bool) for z in kept)
    if not whole or not used or not set(kept) <= set(every):
        raise LowdoseError(
            "held_out",
            found=kept,
            expected=f"some of the slices 0 to {volumes.slices - 1}, not all",
            way_out="Of few slices, hold out a share of the rows instead: 0.2.",
        )
    return used, kept, tops, WHOLE[0]


def _check_pairs(found: Sequence[Pair], number: int) -> None:
    for inputs, targets in found:
        if not inputs or not targets or {*inputs} & {*targets} or not {*inputs, *targets} <= {*range(number)}:
            raise LowdoseError(
                "chosen",
                found=f"input {inputs}, target {targets}",
                expected=f"sections 0 to {number - 1} in both, none in both at once",
                way_out="See pairs.",
            )
    if not found:
        raise LowdoseError("chosen", found="no pairs", expected="one at least", way_out="See pairs.")


def _check_sizes(volumes: Volumes, crop: int | None, batch: int) -> int:
    """The side of a small image to try the network with."""
    shorter = min(volumes.shape)
    whole = all(isinstance(one, Integral) for one in (batch, shorter if crop is None else crop))
    if not whole or (crop is not None and not 1 <= crop <= shorter) or batch < 1:
        raise LowdoseError(
            "crop, batch",
            found=f"{batch} of {crop} pixels",
            expected=f"1 at least, of 1 to {shorter} pixels",
            way_out="Take smaller crops, or None for whole slices.",
        )
    return min(crop or shorter, 32)


def _check_network(network: torch.nn.Module, channels: int, context: int, side: int) -> None:
    """Refuse a network for other channels, before the training starts."""
    inputs = channels * (2 * context + 1)
    parameter = next(network.parameters(), None)
    place = parameter.device if parameter is not None else torch.device("cpu")
    training_before = network.training
    try:
        with torch.no_grad():
            answer = network.eval()(torch.zeros(1, inputs, side, side, device=place))
        shape = tuple(getattr(answer, "shape", ())) or type(answer).__name__
        found, fits = f"shape {shape} from (1, {inputs}, {side}, {side})", shape == (1, channels, side, side)
    except (RuntimeError, LowdoseError) as error:
        found, fits = str(error).partition("\n")[0], False
    finally:
        network.train(training_before)
    if not fits:
        raise LowdoseError(
            "network",
            found=found,
            expected=f"{inputs} channels in ({channels} of each of {2 * context + 1} slices), {channels} out",
            way_out="Make the network with as many.",
        )


def _spread(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many of the items, evenly spread."""
    places = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
    return [items[place] for place in places]
