"""The mixed-scale dense network, as Noise2Inverse uses it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.autograd.function import once_differentiable

from lowdose_utils.errors import LowdoseError
from lowdose_utils.networks import msd_kernels
from lowdose_utils.networks.msd_weights import load_msd_pytorch_weights

__all__ = ["MSD", "load_msd_pytorch_weights"]


class MSD(nn.Module):
    """Mixed-scale dense network.

    Each layer is a dilated 3 x 3 convolution of the input and of all earlier layers' maps, plus bias, then
    ReLU; the output is a linear 1 x 1 combination of all of them (Pelt and Sethian, PNAS 115 (2018) 254,
    equations 3 to 5). Images are continued by half-sample symmetry. There is no normalisation layer. As in
    Hendriksen et al. (IEEE Trans. Comput. Imaging 6 (2020) 1320), weights are drawn from
    ``N(0, 2 / (9 (channels_in + width (depth - 1)) + channels_out))``; biases and the last layer are zero.

    One buffer of ``channels_in + depth * width`` maps serves the whole network (two with gradients): see
    `lowdose_utils.networks.msd_kernels`. Without gradients, images go through it a few at a time. The
    computation is in the type of the parameters, under autocast too. Gradients of gradients are not provided.

    Parameters
    ----------
    channels_in, channels_out : int
        Channels of the images that go in and come out.
    depth : int
        Number of layers.
    width : int
        Maps that each layer makes.
    dilations : sequence of int
        Repeated over the layers. 1, 2, 4, 8 is a good choice, too.
    rng : Generator or int, optional
        For the initial weights.

    Attributes
    ----------
    reach : int
        What is more pixels away does not change an output pixel: the sum of all layers' dilations.

    Raises
    ------
    LowdoseError
        If a number is not positive.
    """

    scale_in: torch.Tensor
    shift_in: torch.Tensor
    scale_out: torch.Tensor
    shift_out: torch.Tensor

    def __init__(
        self,
        channels_in: int = 1,
        channels_out: int = 1,
        *,
        depth: int = 100,
        width: int = 1,
        dilations: Sequence[int] = range(1, 11),
        rng: np.random.Generator | int | None = None,
    ) -> None:
        super().__init__()
        sizes = {"channels_in": channels_in, "channels_out": channels_out, "depth": depth, "width": width}
        for name, numbers in [*((name, [size]) for name, size in sizes.items()), ("dilations", dilations)]:
            if len(numbers) == 0 or any(int(one) != one or one < 1 for one in numbers):
                raise LowdoseError(
                    name, found=list(numbers), expected="whole numbers from 1", way_out="Choose such."
                )
        channels_in, channels_out, depth, width = map(int, sizes.values())
        self.channels_in, self.channels_out = channels_in, channels_out
        self.dilations = [int(dilations[layer % len(dilations)]) for layer in range(depth)]
        self.reach = sum(self.dilations)
        generator = np.random.default_rng(rng)
        spread = np.sqrt(2 / (9 * (channels_in + width * (depth - 1)) + channels_out))

        def kernels(known: int) -> nn.Parameter:
            drawn = spread * generator.standard_normal((width, known, 3, 3), dtype=np.float32)
            return nn.Parameter(torch.from_numpy(drawn.astype(np.float32)))

        self.weights = nn.ParameterList(kernels(channels_in + layer * width) for layer in range(depth))
        self.bias = nn.Parameter(torch.zeros(depth * width))
        self.final_weight = nn.Parameter(torch.zeros(channels_out, channels_in + depth * width))
        self.final_bias = nn.Parameter(torch.zeros(channels_out))
        for side, channels in (("in", channels_in), ("out", channels_out)):
            self.register_buffer(f"scale_{side}", torch.ones(channels))
            self.register_buffer(f"shift_{side}", torch.zeros(channels))

    def set_normalization(
        self,
        mean_in: npt.ArrayLike,
        std_in: npt.ArrayLike,
        mean_out: npt.ArrayLike,
        std_out: npt.ArrayLike,
    ) -> None:
        """Let the layers see images of mean 0 and standard deviation 1, inside the network.

        Parameters
        ----------
        mean_in, std_in : float or array of shape (channels_in,)
            Of the images that will go in.
        mean_out, std_out : float or array of shape (channels_out,)
            Of the target images.

        Raises
        ------
        LowdoseError
            If a value is not finite, a standard deviation not positive, or their number is wrong.
        """
        given = {"mean_in": mean_in, "std_in": std_in, "mean_out": mean_out, "std_out": std_out}
        values = {}
        for name, value in given.items():
            count = self.channels_in if name.endswith("_in") else self.channels_out
            array = np.asarray(value, dtype=np.float64)
            sound = array.shape in ((), (count,)) and np.isfinite(array).all()
            if not sound or (name.startswith("std") and not (array > 0).all()):
                raise LowdoseError(
                    name,
                    found=array.tolist(),
                    expected=f"one finite number, or {count}; positive for a standard deviation",
                    way_out="Take mean and standard deviation over the training images.",
                )
            values[name] = torch.from_numpy(np.broadcast_to(array, count).copy())
        self.scale_in.copy_(1 / values["std_in"])
        self.shift_in.copy_(-values["mean_in"] / values["std_in"])
        self.scale_out.copy_(values["std_out"])
        self.shift_out.copy_(values["mean_out"])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Apply the network.

        Parameters
        ----------
        images : torch.Tensor of shape (image, channels_in, y, x)
            Any height and width.

        Returns
        -------
        torch.Tensor of shape (image, channels_out, y, x)

        Raises
        ------
        LowdoseError
            If the shape is wrong.
        """
        if images.ndim != 4 or images.shape[1] != self.channels_in or 0 in images.shape:
            raise LowdoseError(
                "images",
                found=f"shape {tuple(images.shape)}",
                expected=f"(image, {self.channels_in}, y, x), none empty",
                way_out="Add axes of length 1 where one is missing.",
            )
        with torch.autocast(images.device.type, enabled=False):
            x = images.to(self.bias.dtype) * self.scale_in[:, None, None] + self.shift_in[:, None, None]
            parameters = (self.bias, self.final_weight, self.final_bias, *self.weights)
            if torch.is_grad_enabled() and any(one.requires_grad for one in (x, *parameters)):
                y: torch.Tensor = _Network.apply(x, self.dilations, *parameters)  # type: ignore[no-untyped-call]
            else:
                y = self._infer(x)
            return y * self.scale_out[:, None, None] + self.shift_out[:, None, None]

    def _infer(self, images: torch.Tensor) -> torch.Tensor:
        """Apply the network in batches that fill one tile, one after the other in the same buffer."""
        tile = msd_kernels.tile_of(images.device)
        rows, results = None, []
        size = max(1, tile // images[0, 0].numel())
        for first in range(0, len(images), size):
            batch = images[first : first + size]
            rows, frames = msd_kernels.forward(batch, self.dilations, self.bias, list(self.weights), rows)
            results.append(_combine(rows, frames, self.final_weight, self.final_bias))
        return torch.cat(results)


def _combine(
    rows: torch.Tensor, frames: msd_kernels.Frames, weight: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """The linear last layer."""
    return frames.images(weight @ rows) + bias[:, None, None]


class _Network(torch.autograd.Function):
    """Block and last layer, with the gradient written by hand."""

    @staticmethod
    def forward(
        ctx: Any,
        images: torch.Tensor,
        dilations: Sequence[int],
        bias: torch.Tensor,
        final_weight: torch.Tensor,
        final_bias: torch.Tensor,
        *weights: torch.Tensor,
    ) -> torch.Tensor:
        rows, ctx.frames = msd_kernels.forward(images, dilations, bias, weights)
        ctx.dilations = dilations
        ctx.save_for_backward(rows, final_weight, *weights)
        return _combine(rows, ctx.frames, final_weight, final_bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, final_weight, *weights = ctx.saved_tensors
        frames: msd_kernels.Frames = ctx.frames
        # Whoever calls backward within an autocast region must not get another precision than forward's.
        with torch.autocast(rows.device.type, enabled=False):
            above = rows.new_zeros(len(final_weight), frames.total)
            frames.images(above).copy_(gradient)
            final_gradient = frames.body(above) @ frames.body(rows).t()
            image_gradient, bias_gradient, weight_gradients = msd_kernels.backward(
                final_weight.t() @ above,
                rows,
                frames,
                ctx.dilations,
                weights,
                wrt_images=ctx.needs_input_grad[0],
            )
        final_bias_gradient = gradient.sum(dim=(0, 2, 3))
        return image_gradient, None, bias_gradient, final_gradient, final_bias_gradient, *weight_gradients
