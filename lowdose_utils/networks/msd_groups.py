"""Kernels of several layers of the mixed-scale dense block as one matrix, for `msd_kernels`."""

from __future__ import annotations

from collections.abc import Sequence

import torch

GROUP = 10  # layers to a group, of width 1


class Group:
    """Consecutive layers, and their kernels as one matrix: (layer, tap, map) by the maps they see."""

    def __init__(self, weights: Sequence[torch.Tensor], dilations: Sequence[int]) -> None:
        self.width, self.known = weights[0].shape[:2]
        self.dilations = dilations
        self.taps = 9 * self.width
        self.matrix = weights[0].new_zeros(len(weights) * self.taps, self.known + len(weights) * self.width)
        for number, weight in enumerate(weights):
            kernel = weight.permute(2, 3, 0, 1).reshape(self.taps, -1)
            self.matrix[self.lines(number), : kernel.shape[1]] = kernel

    def lines(self, number: int) -> slice:
        """The matrix's lines for the group's layer `number`."""
        return slice(number * self.taps, (number + 1) * self.taps)

    def start(self, number: int) -> int:
        """The first map that layer `number` makes."""
        return self.known + number * self.width

    def made(self, number: int) -> slice:
        """The maps that layer `number` makes."""
        return slice(self.start(number), self.start(number + 1))

    def unpack(self, matrix: torch.Tensor) -> list[torch.Tensor]:
        """The layers' kernels (map out, map in, 3, 3) out of such a matrix."""
        return [
            matrix[self.lines(number), : self.start(number)].view(3, 3, self.width, -1).permute(2, 3, 0, 1)
            for number in range(len(self.dilations))
        ]

    def reversed_taps(self, matrix: torch.Tensor) -> torch.Tensor:
        """The matrix with the taps of each layer in reversed order."""
        return matrix.view(len(self.dilations), 9, self.width, -1).flip(1).flatten(0, 2)


def in_groups(weights: Sequence[torch.Tensor], dilations: Sequence[int]) -> list[Group]:
    """The layers in groups of about ninety taps."""
    size = max(1, GROUP // weights[0].shape[0])
    return [
        Group(weights[first : first + size], dilations[first : first + size])
        for first in range(0, len(weights), size)
    ]
