"""Convolutions of volumes on a CPU, by the faster of torch's two ways."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

_aten = torch.ops.aten


class Convolution(nn.Conv3d):
    """A 3-D convolution that is always oneDNN's on a CPU, and so is its gradient.

    For few channels or voxels torch 2.13 takes its older code (``aten::slow_conv3d``), which needs up to
    twelve times as long: for 16 to 16 maps of 20^3 voxels 19 ms in place of 2 on one core. It also rounds in
    another way, so that a block of a volume would differ from the whole. Where oneDNN is missing, and for
    other devices and types, torch decides.
    """

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """As `torch.nn.Conv3d`."""
        plain = maps.device.type == "cpu" and maps.dtype == self.weight.dtype == torch.float32
        if not (plain and torch.backends.mkldnn.is_available()):  # type: ignore[no-untyped-call]
            return super().forward(maps)
        how = (self.padding, self.stride, self.dilation)
        found: torch.Tensor = _OneDnn.apply(maps, self.weight, self.bias, how)  # type: ignore[no-untyped-call]
        return found


class _OneDnn(torch.autograd.Function):
    """oneDNN's convolution, with its gradient."""

    @staticmethod
    def forward(ctx: Any, maps: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, how: Any) -> Any:
        ctx.save_for_backward(maps, weight)
        ctx.how = how
        return _aten.mkldnn_convolution(maps, weight, bias, *how, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, change: torch.Tensor) -> Any:
        maps, weight = ctx.saved_tensors
        padding, stride, dilation = ctx.how
        # In oneDNN's own layout torch has no choice of code left.
        found = _aten.convolution_backward(
            change.contiguous().to_mkldnn(),
            maps.contiguous().to_mkldnn(),
            weight,
            [len(weight)],
            stride,
            padding,
            dilation,
            False,
            [0, 0, 0],
            1,
            list(ctx.needs_input_grad[:3]),
        )
        return *(one.to_dense() if one is not None and one.is_mkldnn else one for one in found), None
