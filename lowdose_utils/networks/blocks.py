"""What several networks are built of."""

from __future__ import annotations

from torch import nn


def two_convolutions(given: int, kernels: int, stride: int = 1) -> nn.Sequential:
    """Two 3 x 3 convolutions from `given` to `kernels` channels with leaky ReLU, the first with `stride`."""
    return nn.Sequential(
        nn.Conv2d(given, kernels, 3, stride=stride, padding=1),
        nn.LeakyReLU(0.1),
        nn.Conv2d(kernels, kernels, 3, padding=1),
        nn.LeakyReLU(0.1),
    )
