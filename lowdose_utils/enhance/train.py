"""Training an enhancer from a few projections that were taken at both doses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import torch

from lowdose_utils import training
from lowdose_utils.enhance.apply import Enhancement, Scaling, check_noise, check_places, noise_channel
from lowdose_utils.enhance.neighbours import Neighbours
from lowdose_utils.enhance.scaling import Scale, finite, global_scale, image_scale
from lowdose_utils.errors import LowdoseError

Floats = npt.NDArray[np.float32]
Noise = float | npt.NDArray[np.floating]


class Pairs:
    """Network inputs and their targets at the angles that were taken at both doses.

    Parameters
    ----------
    network : Module
        What is to be trained; says what it looks at.
    low : sequence of arrays of shape (angle, row, column)
        Scans at low dose, one for each noise level.
    high : array of shape (pair, row, column)
        Projections at high dose.
    at : sequence of int
        Their places among the projections of each scan.
    angles : array of shape (angle,)
        In radians.
    noise : sequence of float or arrays of shape (angle, row, column), optional
        Standard deviation of the noise of each scan; needed by networks that ask for it.
    scaling : {"global", "image"}
        One scale for all, or the paper's: each image by itself.
    axis : float, optional
        Column of the rotation axis.

    Raises
    ------
    LowdoseError
        If shapes, numbers of angles, or values do not fit.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        low: Sequence[npt.NDArray[np.floating]],
        high: npt.ArrayLike,
        at: Sequence[int],
        angles: npt.ArrayLike,
        *,
        noise: Sequence[Noise] | None = None,
        scaling: Scaling = "global",
        axis: float | None = None,
    ) -> None:
        targets = finite("high", high)
        check_pairs(low, targets, at, angles, noise)
        half_width = int(getattr(network, "half_width", 0))
        takes_noise = bool(getattr(network, "takes_noise", False))
        fitting = ("global",) if half_width or takes_noise else get_args(Scaling)
        if scaling not in fitting:
            raise LowdoseError(
                "scaling",
                found=f"{scaling}, for {type(network).__name__}",
                expected=" or ".join(fitting),
                way_out="A context and its noise need one scale for all projections.",
            )
        if takes_noise and noise is None:
            raise LowdoseError(
                "noise",
                found="none",
                expected=f"its standard deviation in each scan, for {type(network).__name__}",
                way_out="Estimate it from air, or from the counts.",
            )
        self.scale: Scale | None = global_scale(targets) if scaling == "global" else None
        near = Neighbours(angles, half_width, targets.shape[2], axis=axis) if half_width else None
        inputs, wanted = [], []
        for level, scan in enumerate(low):
            for place, target in zip(at, targets, strict=True):
                one = finite("low", near.of(place, scan) if near else np.asarray(scan[place])[None])
                given = (self.scale or image_scale(one)).do(one)
                if takes_noise and noise is not None and self.scale is not None:
                    channel = noise_channel(noise[level], place, given.shape[1:]) / self.scale.factor
                    given = np.concatenate([given, channel])
                inputs.append(given.astype(np.float32))
                wanted.append((self.scale or image_scale(target[None])).do(target[None]))
        self.inputs, self.targets = np.stack(inputs), np.stack(wanted)

    def crops(self, side: int | tuple[int, int], batch: int) -> training.Batches:
        """Random crops, half of them mirrored in each direction.

        Parameters
        ----------
        side : int or (int, int)
            Pixels of a square, or rows and columns.
        batch : int
            Crops in a batch.

        Raises
        ------
        LowdoseError
            If a crop is larger than the projections, or there is none in a batch.
        """
        rows, columns = self.targets.shape[-2:]
        high, wide = (side, side) if isinstance(side, int | np.integer) else side
        if not (1 <= high <= rows and 1 <= wide <= columns):
            raise LowdoseError(
                "crop",
                found=f"{high} x {wide} pixels",
                expected=f"1 x 1 to {rows} x {columns}",
                way_out="Take smaller ones.",
            )
        if batch < 1:
            raise LowdoseError("batch", found=batch, expected="a crop at least", way_out="Try 8.")

        def draw(rng: np.random.Generator) -> training.Batch:
            given, wanted = [], []
            for _ in range(batch):
                pair = rng.integers(len(self.inputs))
                top, left = rng.integers(rows - high + 1), rng.integers(columns - wide + 1)
                window = (slice(None), slice(top, top + high), slice(left, left + wide))
                one, other = self.inputs[pair][window], self.targets[pair][window]
                if rng.random() < 0.5:
                    one, other = one[:, ::-1], other[:, ::-1]
                # With its columns mirrored the sample turns the other way, and so does its context.
                if rng.random() < 0.5:
                    one, other = _turned(one, self.inputs.shape[1])[..., ::-1], other[..., ::-1]
                given.append(one)
                wanted.append(other)
            return torch.from_numpy(np.stack(given)), torch.from_numpy(np.stack(wanted))

        return draw


def _turned(crop: Floats, channels: int) -> Floats:
    """The projections of a context in reverse order; a noise channel stays last."""
    projections = channels - (channels % 2 == 0)
    return np.concatenate([crop[:projections][::-1], crop[projections:]])


def train_enhancer(
    network: torch.nn.Module,
    low: Sequence[npt.NDArray[np.floating]],
    high: npt.ArrayLike,
    at: Sequence[int],
    angles: npt.ArrayLike,
    *,
    noise: Sequence[Noise] | None = None,
    scaling: Scaling = "global",
    axis: float | None = None,
    crop: int | tuple[int, int] | None = None,
    batch: int = 8,
    held_out: Sequence[int] = (),
    **settings: Any,
) -> tuple[Enhancement, training.Training]:
    """Train `network` on the projections `at` that were taken at both doses.

    Parameters
    ----------
    network, low, high, at, angles, noise, scaling, axis
        See `Pairs`.
    crop : int or (int, int), optional
        Side of the training crops in pixels, or rows and columns; 64 by
        default, and the patch of a network on patches.
    batch : int
        Crops in a step.
    held_out : sequence of int, optional
        Which of the pairs (places in `at`) are kept from training, to validate on (with `validate_every`):
        the mean squared error of their projections, all scans together.
    **settings
        For `training.train`: steps, loss, learning_rate, checkpoint, rng, device, ...

    Returns
    -------
    Enhancement, Training

    Raises
    ------
    LowdoseError
        If the pairs do not fit, none is left to train on, a setting makes no sense, or a checkpoint belongs
        to another run.
    """
    targets = finite("high", high)
    common: dict[str, Any] = {"noise": noise, "scaling": scaling, "axis": axis}
    check_pairs(low, targets, at, angles, noise)
    kept = check_places("held_out", held_out, len(at))
    used = [i for i in range(len(at)) if i not in kept]
    if not used:
        raise LowdoseError(
            "at",
            found="no angle to train on",
            expected="one at least",
            way_out="Hold fewer of the pairs out.",
        )
    patch = getattr(network, "patch", None)
    if patch is not None and crop not in (None, patch):
        raise LowdoseError("crop", found=crop, expected=patch, way_out="It is the network's: leave it out.")
    if kept and settings.get("validate") is not None:
        raise LowdoseError(
            "validate, held_out",
            found="both",
            expected="one of them",
            way_out="Pairs that are held out are what is validated on.",
        )
    pairs = Pairs(network, low, targets[used], [at[i] for i in used], angles, **common)
    enhancement = Enhancement(network, pairs.scale)
    if kept:
        places = [at[i] for i in kept]
        device = settings.get("device", "auto")  # validation must not take the network to another one

        def error(_: torch.nn.Module) -> float:
            errors = []
            for level, scan in enumerate(low):
                known = None if noise is None else noise[level]
                found = enhancement(scan, angles, axis=axis, noise=known, at=places, device=device)
                errors.append(np.mean((found - targets[kept]) ** 2))
            return float(np.mean(errors))

        settings["validate"] = error
    side = patch or (64 if crop is None else crop)
    done = training.train(network, pairs.crops(side, batch), **settings)
    return enhancement, done


def check_pairs(
    low: Sequence[npt.NDArray[np.floating]],
    high: npt.NDArray[np.floating],
    at: Sequence[int],
    angles: npt.ArrayLike,
    noise: Sequence[Noise] | None,
) -> None:
    """Refuse scans and projections that do not belong together.

    Raises
    ------
    LowdoseError
        If there is no scan or no pair, or shapes and numbers differ.
    """
    number = len(np.asarray(angles))
    if not len(low) or not len(at) or len(at) != len(high):
        raise LowdoseError(
            "low, at, high",
            found=f"{len(low)} scans, {len(at)} angles to train on, {len(high)} high-dose projections",
            expected="one scan, one angle at least, and a high-dose projection for each angle",
            way_out="`at` holds the places of the high-dose projections among the low-dose ones.",
        )
    for scan in low:
        if tuple(scan.shape) != (number, *high.shape[1:]):
            raise LowdoseError(
                "low",
                found=f"shape {tuple(scan.shape)}",
                expected=f"{(number, *high.shape[1:])}: one projection for each angle, as large as `high`",
                way_out="Give a list of scans, on the same pixels as `high`, and the angles of a scan.",
            )
    check_places("at", at, number)
    if noise is None:
        return
    counted = len(noise) if hasattr(noise, "__len__") else "one number"
    if counted != len(low):
        raise LowdoseError(
            "noise",
            found=counted,
            expected=f"a list of {len(low)}, one for each scan",
            way_out="Give them all.",
        )
    for one in noise:
        check_noise(one, (number, *high.shape[1:]))
