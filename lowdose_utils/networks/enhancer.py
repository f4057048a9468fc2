"""The projection-enhancing network of Yang et al., on patches of one size as published, and for any size.

X. Yang et al., "Low-dose x-ray tomography through a deep convolutional neural network", Sci. Rep. 8, 2575
(2018): an encoder of eight 3 x 3 convolutions, three of them with stride 2, from 16 to 64 kernels; a fully
connected layer; a decoder of nine transposed convolutions from 64 kernels to one, which takes in ("merges")
the encoder's maps of the same scale; ReLU after each.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from lowdose_utils.errors import LowdoseError
from lowdose_utils.networks.unet import check_images

SCALE = 8  # three layers of stride 2: sides are multiples of this inside


class Enhancer(nn.Module):
    """The paper's network without its fully connected layer: images of any size.

    What the paper leaves open is chosen so: kernels double with each halving of the image; the encoder's
    maps are merged after each transposed convolution of stride 2; the last bias starts at 0.1 and the
    weights small (torch's default), since a ReLU that is driven to zero never wakes again.
    341,937 parameters.

    Parameters
    ----------
    kernels : int
        Of the first layers; 16 in the paper.

    Raises
    ------
    LowdoseError
        If `kernels` is less than 1; in use, if images have another shape.

    Notes
    -----
    Input and output are (image, 1, row, column). Sides that are no multiple of 8 are filled up to one with
    the last row or column, and cut again. An output pixel depends on the input up to 54 pixels away.
    """

    reach = 56

    def __init__(self, kernels: int = 16) -> None:
        super().__init__()
        if kernels < 1:
            raise LowdoseError("kernels", found=kernels, expected="one at least", way_out="The paper has 16.")
        n = kernels
        widths = [1, n, n, 2 * n, 2 * n, 4 * n, 4 * n, 4 * n, 4 * n]
        self.encoder = nn.ModuleList(
            nn.Conv2d(widths[i], widths[i + 1], 3, stride=2 if i in (1, 3, 5) else 1, padding=1)
            for i in range(8)
        )
        into = [4 * n, 4 * n, 8 * n, 4 * n, 4 * n, 2 * n, 2 * n, n, n]
        out = [4 * n, 4 * n, 4 * n, 2 * n, 2 * n, n, n, n, 1]
        self.decoder = nn.ModuleList(
            nn.ConvTranspose2d(
                into[i],
                out[i],
                3,
                stride=2 if i in (1, 3, 5) else 1,
                padding=1,
                output_padding=1 if i in (1, 3, 5) else 0,
            )
            for i in range(9)
        )
        nn.init.constant_(self.decoder[8].get_parameter("bias"), 0.1)

    def bottleneck(self, maps: torch.Tensor) -> torch.Tensor:
        """What happens between encoder and decoder: nothing."""
        return maps

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Enhance images (image, 1, row, column).

        Raises
        ------
        LowdoseError
            If they have another shape.
        """
        check_images(images, 1)
        rows, columns = images.shape[-2:]
        maps = functional.pad(images, (0, -columns % SCALE, 0, -rows % SCALE), mode="replicate")
        merged = {}
        for i, layer in enumerate(self.encoder):
            maps = functional.relu(layer(maps))
            if i in (0, 2, 4):  # the last maps before each halving
                merged[i] = maps
        maps = self.bottleneck(maps)
        for i, layer in enumerate(self.decoder):
            maps = functional.relu(layer(maps))
            if i in (1, 3, 5):
                maps = torch.cat([maps, merged[5 - i]], 1)
        return maps[..., :rows, :columns]


class PatchEnhancer(Enhancer):
    """The paper's network with its fully connected layer, and so for patches of one size only.

    The layer takes all maps of a patch, an eighth of its side, to as many numbers: where in the patch a thing
    is matters to it, which is why the patches must overlap when a projection is put together again. With
    patches of 32 pixels 1,391,537 parameters.

    Parameters
    ----------
    patch : int
        Side of the patches in pixels, a multiple of 8. The paper does not give it; 32 by default.
    kernels : int
        As for `Enhancer`.

    Raises
    ------
    LowdoseError
        If `patch` is no multiple of 8; in use, if images have another size.
    """

    def __init__(self, patch: int = 32, kernels: int = 16) -> None:
        if patch < SCALE or patch % SCALE:
            raise LowdoseError(
                "patch",
                found=patch,
                expected=f"a multiple of {SCALE} pixels",
                way_out="Take 32, for instance.",
            )
        super().__init__(kernels)
        self.patch = patch
        numbers = 4 * kernels * (patch // SCALE) ** 2
        self.connected = nn.Linear(numbers, numbers)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Enhance patches (image, 1, row, column).

        Raises
        ------
        LowdoseError
            If they have another size.
        """
        if images.shape[-2:] != (self.patch, self.patch):
            raise LowdoseError(
                "images",
                found=f"{' x '.join(map(str, images.shape[-2:]))} pixels",
                expected=f"patches of {self.patch} x {self.patch}",
                way_out="Cut them into patches (enhance.apply does), or use Enhancer, which takes any size.",
            )
        return super().forward(images)

    def bottleneck(self, maps: torch.Tensor) -> torch.Tensor:
        """The fully connected layer over all maps of a patch."""
        numbers = functional.relu(self.connected(maps.reshape(len(maps), -1)))
        return numbers.view(maps.shape)
