"""A small U-Net for images of any size."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from lowdose_utils.errors import LowdoseError
from lowdose_utils.networks.blocks import two_convolutions


class UNet(nn.Module):
    """U-Net (Ronneberger, Fischer and Brox, MICCAI 2015) of the kind used for denoising.

    Two 3 x 3 convolutions with leaky ReLU at each of `depth` + 1 scales, means of 2 x 2 pixels on the way
    down, bilinear interpolation on the way up, no normalisation layers, which would lose the scale. It
    learns the difference to the middle input channel: untrained, it changes nothing.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    kernels : int
        Of the first scale; the second has twice, all further four times as many.
    depth : int
        Halvings of the image.

    Raises
    ------
    LowdoseError
        If the numbers make no network; in use, if images have another shape.

    Notes
    -----
    Sides that are no multiple of ``2**depth`` are filled up to one with the last row or column, and cut
    again. An output pixel depends on the input up to `reach` pixels away, and images that begin at multiples
    of `grid` are halved in the same places.
    """

    def __init__(self, inputs: int = 1, outputs: int = 1, *, kernels: int = 16, depth: int = 3) -> None:
        super().__init__()
        if not (1 <= outputs <= inputs and kernels >= 1 and depth >= 0):
            raise LowdoseError(
                "inputs, outputs, kernels, depth",
                found=(inputs, outputs, kernels, depth),
                expected="1 <= outputs <= inputs, a kernel at least, depth not negative",
                way_out="The network changes its middle input channels: it cannot give more than it gets.",
            )
        self.inputs, self.outputs, self.depth = inputs, outputs, depth
        self.reach, self.grid = 8 * 2**depth, 2**depth
        widths = [kernels * min(2**scale, 4) for scale in range(depth + 1)]
        self.down = nn.ModuleList(
            two_convolutions(given, kernels)
            for given, kernels in zip([inputs, *widths[:-1]], widths, strict=True)
        )
        self.up = nn.ModuleList(
            two_convolutions(widths[scale + 1] + widths[scale], widths[scale])
            for scale in reversed(range(depth))
        )
        self.last = nn.Conv2d(kernels, outputs, 1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Denoise images (image, inputs, row, column) to (image, outputs, row, column)."""
        check_images(images, self.inputs)
        rows, columns = images.shape[-2:]
        step = 2**self.depth
        maps = functional.pad(images, (0, -columns % step, 0, -rows % step), mode="replicate")
        kept = []
        for scale, block in enumerate(self.down):
            maps = block(maps if scale == 0 else functional.avg_pool2d(maps, 2))
            kept.append(maps)
        for block, skipped in zip(self.up, kept[-2::-1], strict=True):
            maps = block(
                torch.cat([functional.interpolate(maps, scale_factor=2, mode="bilinear"), skipped], 1)
            )
        first = (self.inputs - self.outputs) // 2
        change: torch.Tensor = self.last(maps)[..., :rows, :columns]
        return images[:, first : first + self.outputs] + change


def check_images(images: torch.Tensor, channels: int) -> None:
    """Refuse what is not (image, `channels`, row, column).

    Raises
    ------
    LowdoseError
        If the shape is another, or empty.
    """
    if images.ndim != 4 or images.shape[1] != channels or 0 in images.shape:
        raise LowdoseError(
            "images",
            found=f"shape {tuple(images.shape)}",
            expected=f"(image, {channels}, row, column), none empty",
            way_out="Add axes of length 1 where one is missing.",
        )
