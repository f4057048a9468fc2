"""U-Nets for volumes: the published form for X-ray holographic nano-tomography, and small ones for a CPU."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from lowdose_utils.errors import LowdoseError
from lowdose_utils.networks.convolution3d import Convolution

Padding = Literal["same", "valid"]


class UNet3d(nn.Module):
    """A three-dimensional U-Net (Çiçek et al., MICCAI 2016) that answers with affinities, 0 to 1.

    Two 3 x 3 x 3 convolutions with ReLU at each of `depth` + 1 scales, largest of 2 x 2 x 2 voxels on the way
    down, repetition on the way up, a sigmoid at the end. The defaults are the form that the laboratory of
    Kuan et al. (Nat. Neurosci. 23, 1637, 2020) published for such volumes (github.com/htem,
    xpress-challenge): 24 maps that triple at each of three halvings, convolutions that use no voxel from
    beyond the edge, 132 voxels in and 40 out.

    Parameters
    ----------
    offsets : integer array, shape (offset, 3)
        The neighbours whose affinity is asked for; one output channel each.
    inputs : int
        Channels: the grey values, and whatever is computed from them beforehand.
    kernels : int
        Maps of the first scale.
    growth : int
        Factor between a scale's maps and the next one's.
    depth : int
        Halvings.
    padding : {"valid", "same"}
        "same": zeros beyond the edge, so that the output is as large as the input.
    fold : int
        Cells of so many voxels along each axis become channels before the first convolution and voxels again
        after the last one (Shi et al., CVPR 2016): few voxels with many maps keep a CPU busier than many
        voxels with few. 1 does without.

    Attributes
    ----------
    grid : int
        Inputs that begin at multiples of it are folded and halved in the same places.
    context : int
        Voxels that the output lacks on each side, 0 with "same" padding.
    reach : int
        An output voxel depends on no input further away, along an axis.

    Raises
    ------
    LowdoseError
        If the numbers make no network; in use, if volumes have another shape or a size that does not fit.
    """

    def __init__(
        self,
        offsets: npt.ArrayLike,
        *,
        inputs: int = 1,
        kernels: int = 24,
        growth: int = 3,
        depth: int = 3,
        padding: Padding = "valid",
        fold: int = 1,
    ) -> None:
        super().__init__()
        self.offsets = np.asarray(offsets, np.int64)
        proper = self.offsets.ndim == 2 and self.offsets.shape[1] == 3 and len(self.offsets) > 0
        numbers = min(inputs, kernels, growth, fold) >= 1 and depth >= 0
        if not (proper and numbers and padding in get_args(Padding)):
            raise LowdoseError(
                "offsets, inputs, kernels, growth, depth, padding, fold",
                found=(self.offsets.shape, inputs, kernels, growth, depth, padding, fold),
                expected="(offset, 3), whole numbers from 1, depth from 0, padding same or valid",
                way_out="Leave them at their defaults if in doubt.",
            )
        self.inputs, self.depth, self.padding, self.fold = inputs, depth, padding, fold
        self.grid = fold * 2**depth
        maps = [kernels * growth**scale for scale in range(depth + 1)]
        pad = int(padding == "same")
        self.down = nn.ModuleList(
            _two_convolutions(given, wanted, pad)
            for given, wanted in zip([inputs * fold**3, *maps[:-1]], maps, strict=True)
        )
        self.up = nn.ModuleList(
            _two_convolutions(maps[scale + 1] + maps[scale], maps[scale], pad)
            for scale in reversed(range(depth))
        )
        self.last = Convolution(kernels, len(self.offsets) * fold**3, 1)
        self.context = 0 if pad else fold * _lost(depth)
        spans = (_seen(place, place, 0, depth) for place in range(2**depth))
        ways = [max(place - low, high - place) for place, (low, high) in enumerate(spans)]
        self.reach = fold * max(ways) + fold - 1

    def output_size(self, size: int) -> int:
        """How many voxels along an axis come out for so many in; 0 if none do."""
        if self.padding == "same":
            return size
        left = size - 2 * self.context
        return left if left > 0 and left % self.grid == 0 else 0

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        """Affinities (volume, offset, z, y, x) of volumes (volume, input, z, y, x)."""
        return torch.sigmoid(self.logits(volumes))

    def logits(self, volumes: torch.Tensor) -> torch.Tensor:
        """The same before the sigmoid, any real numbers."""
        sizes = volumes.shape[2:]
        if (
            volumes.ndim != 5
            or volumes.shape[1] != self.inputs
            or not all(self.output_size(n) for n in sizes)
        ):
            fits = f"{2 * self.context} + a multiple of {self.grid}" if self.context else "at least 1"
            raise LowdoseError(
                "volumes",
                found=f"shape {tuple(volumes.shape)}",
                expected=f"(volume, {self.inputs}, z, y, x) with sides of {fits}",
                way_out="neurons.predict cuts a volume of any size into blocks that fit.",
            )
        if self.padding == "same":
            beyond = [end for n in reversed(sizes) for end in (0, -n % self.grid)]
            volumes = functional.pad(volumes, beyond, mode="replicate")
        maps, kept = _folded(volumes, self.fold), []
        for scale, block in enumerate(self.down):
            maps = block(maps if scale == 0 else functional.max_pool3d(maps, 2))
            kept.append(maps)
        for block, skipped, scale in zip(self.up, kept[-2::-1], reversed(range(self.depth)), strict=True):
            maps = functional.interpolate(maps, scale_factor=2, mode="nearest")
            if self.padding == "valid":
                maps = _middle(maps, [n - (n - 4) % 2 ** (self.depth - scale) for n in maps.shape[2:]])
                skipped = _middle(skipped, list(maps.shape[2:]))
            maps = block(torch.cat([maps, skipped], 1))
        found = _unfolded(self.last(maps), self.fold)
        return found[..., : sizes[0], : sizes[1], : sizes[2]]


def _lost(depth: int) -> int:
    """Voxels that valid convolutions lose on each side.

    On the way up so much is cut that the output is a multiple of what was halved: such outputs can be tiled.
    """
    given = left = 8 << depth
    for _ in range(depth):
        given = 2 * given + 4
    left -= 4
    for halved in range(1, depth + 1):
        left = 2 * left - 4
        left -= left % (1 << halved)
    return (given - left) // 2


def _seen(low: int, high: int, scale: int, depth: int) -> tuple[int, int]:
    """First and last place of a scale's input, of which the places `low` to `high` of its output depend."""
    if scale == depth:
        return low - 2, high + 2
    coarse = _seen((low - 2) // 2, (high + 2) // 2, scale + 1, depth)
    return min(low - 4, 2 * coarse[0] - 2), max(high + 4, 2 * coarse[1] + 3)


def _two_convolutions(given: int, wanted: int, padding: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (given, wanted):
        layers += [Convolution(channels, wanted, 3, padding=padding), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _middle(maps: torch.Tensor, sizes: list[int]) -> torch.Tensor:
    """The middle part, of these sizes along the last three axes."""
    first = [(n - size) // 2 for n, size in zip(maps.shape[2:], sizes, strict=True)]
    z, y, x = (slice(start, start + size) for start, size in zip(first, sizes, strict=True))
    return maps[:, :, z, y, x]


def _folded(volumes: torch.Tensor, fold: int) -> torch.Tensor:
    """(volume, channel, z, y, x) to (volume, channel fold^3, z / fold, y / fold, x / fold)."""
    if fold == 1:
        return volumes
    count, channels, *sizes = volumes.shape
    z, y, x = (n // fold for n in sizes)
    cells = volumes.reshape(count, channels, z, fold, y, fold, x, fold)
    return cells.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(count, -1, z, y, x)


def _unfolded(maps: torch.Tensor, fold: int) -> torch.Tensor:
    """The other way."""
    if fold == 1:
        return maps
    count, channels, z, y, x = maps.shape
    cells = maps.reshape(count, channels // fold**3, fold, fold, fold, z, y, x)
    return cells.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(count, -1, z * fold, y * fold, x * fold)
