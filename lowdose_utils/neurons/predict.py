"""Affinities of a whole volume, in blocks that memory holds."""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit

from lowdose_utils.device import resolve_device
from lowdose_utils.errors import LowdoseError
from lowdose_utils.networks.unet3d import UNet3d
from lowdose_utils.neurons.train import channels


def predict(
    network: UNet3d,
    raw: npt.ArrayLike,
    *,
    block: int = 192,
    offsets: int = 3,
    device: str | torch.device = "auto",
) -> npt.NDArray[np.float32]:
    """Predict affinities block by block; each value is what the network gives for the volume as a whole.

    A block is read with a halo as wide as the network sees, begins at a multiple of its grid, and keeps its
    middle only. A network that uses no voxel from beyond the edge ("valid") gets the volume mirrored at its
    faces; one that puts zeros there ("same") gets them where the volume ends and nowhere else.

    Parameters
    ----------
    network : UNet3d
        Trained; left on the device, in evaluation mode.
    raw : array, shape (z, y, x) or (channel, z, y, x)
        As in training; anything that can be sliced, so that a file will do.
    block : int
        Edge of a block in voxels without the halo, rounded down to the network's grid. What a block's halo
        costs is lost: take as large ones as memory holds.
    offsets : int
        How many of the network's offsets to keep, the first ones: three are what agglomeration takes.
    device : str or device

    Returns
    -------
    array of float32, shape (offsets, z, y, x)

    Raises
    ------
    LowdoseError
        If `raw` is no volume, the block is smaller than the network's grid, or more offsets are asked for
        than there are.
    """
    shape = np.shape(raw)[-3:]
    step = block // network.grid * network.grid
    wanted = [(network.inputs, *shape)] + [shape] * (network.inputs == 1)
    fits = len(shape) == 3 and all(shape) and np.shape(raw) in wanted
    if not fits or step < 1 or not 1 <= offsets <= len(network.offsets):
        raise LowdoseError(
            "raw, block, offsets",
            found=(np.shape(raw), block, offsets),
            expected=f"{network.inputs} channels of (z, y, x), at least {network.grid}, and 1 to "
            f"{len(network.offsets)}",
            way_out="Leave block and offsets at their defaults.",
        )
    place = resolve_device(device)
    network.to(place).eval()
    found = np.empty((offsets, *shape), np.float32)
    for corner in product(*(range(0, n, step) for n in shape)):
        boxes = [
            _box(network, first, min(first + step, n), n) for first, n in zip(corner, shape, strict=True)
        ]
        given = torch.from_numpy(_read(raw, [low_high for low_high, _ in boxes]))[None].to(place)
        with torch.inference_mode():
            # torch's sigmoid rounds the last few values of a row in another way than the others.
            maps = expit(network.logits(given)[0, :offsets].cpu().numpy())
        kept = [min(step, n - first) for first, n in zip(corner, shape, strict=True)]
        inner = [slice(skip, skip + keep) for (_, skip), keep in zip(boxes, kept, strict=True)]
        target = [slice(first, first + keep) for first, keep in zip(corner, kept, strict=True)]
        found[:, *target] = maps[:, *inner]
    return found


def _box(network: UNet3d, first: int, end: int, size: int) -> tuple[tuple[int, int], int]:
    """What to read along an axis for the output from `first` to `end`, and what to skip of the answer."""
    if network.padding == "valid":
        end = first + -(-(end - first) // network.grid) * network.grid
        return (first - network.context, end + network.context), 0
    halo = -(-network.reach // network.grid) * network.grid
    low = max(first - halo, 0)
    return (low, min(end + halo, size)), first - low


def _read(raw: npt.ArrayLike, box: list[tuple[int, int]]) -> npt.NDArray[np.float32]:
    """A part of a volume, with its channels, that may reach beyond its faces, where it is mirrored."""
    indices = []
    for (low, high), n in zip(box, np.shape(raw)[-3:], strict=True):
        before, after = max(-low, 0), max(high - n, 0)
        indices.append(np.pad(np.arange(n), (before, after), mode="reflect")[low + before : high + before])
    parts = tuple(slice(index.min(), index.max() + 1) for index in indices)
    piece = channels(raw[(..., *parts)])  # type: ignore[index, call-overload]
    return np.ascontiguousarray(piece[:, *np.ix_(*(index - index.min() for index in indices))])
