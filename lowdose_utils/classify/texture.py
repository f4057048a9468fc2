"""Entropy of the grey levels around each pixel."""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt

import numpy as np
import numpy.typing as npt
import torch

from lowdose_utils.classify.smooth import Image

BINS = (32, 64, 128, 256)


def grey_levels(image: Image, low: float, high: float) -> npt.NDArray[np.uint8]:
    """The image rescaled from `low`..`high` to whole grey levels 0..255, rounded as ImageJ does."""
    scale = np.float32(255) / np.float32(high - low) if high > low else np.float32(0)
    return ((image - np.float32(low)) * scale + np.float32(0.5)).astype(np.uint8)


class _DiscCounts:
    """How often each grey level occurs in the disc ``dx² + dy² <= (r + 0.5)²``, clipped at the border."""

    def __init__(self, levels: torch.Tensor, radius: int) -> None:
        self.levels, self.radius = levels, radius
        self.half_widths = [isqrt(radius * (radius + 1) - dy * dy) for dy in range(radius + 1)]
        rows, columns = levels.shape
        # Running counts along the rows, with what is outside the image around them. They may overflow:
        # their differences do not.
        self.running = torch.zeros(
            (rows + 2 * radius, columns + 2 * radius + 1), dtype=torch.int16, device=levels.device
        )

    def __call__(self, level: int) -> torch.Tensor:
        reach, (rows, columns), running = self.radius, self.levels.shape, self.running
        inner = running[reach : reach + rows, reach + 1 : reach + 1 + columns]
        here = (self.levels - level).lt_(1)  # bytes that wrap around; on a CPU a tenth of the time of ==
        inner.copy_(torch.cumsum(here, dim=1, dtype=torch.int16))
        running[reach : reach + rows, reach + 1 + columns :] = inner[:, -1:]
        total = torch.zeros((rows, columns), dtype=torch.int16, device=running.device)
        for dy, half in enumerate(self.half_widths):
            right, left = reach + 1 + half, reach - half
            run = running[:, right : right + columns] - running[:, left : left + columns]
            total += run[reach + dy : reach + dy + rows]
            if dy:
                total += run[reach - dy : reach - dy + rows]
        return total


def _add_c_log_c(total: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """Add ``c log2 c`` to `total`, in place; give back c as float."""
    c = count.float()
    total.addcmul_(c, c.clamp(min=1).log2_())
    return c


def entropy(
    image: Image, radius: int, low: float, high: float, compat: str | None, device: torch.device
) -> Iterator[Image]:
    """``Entropy``: ``-sum p log2 p`` of the histogram of a disc, with 32, 64, 128 and 256 bins.

    The image, whose values run from `low` to `high`, is rescaled to 256 grey levels; the disc
    ``dx² + dy² <= (r + 0.5)²`` is clipped at the border. The plugin has 256 bins of one level each whatever
    is asked, and counts only the first n of them (0 where they are all empty). With ``compat=None``
    neighbouring levels are joined into n bins.
    """
    levels = torch.from_numpy(grey_levels(image, low, high)).to(device)
    counts = _DiscCounts(levels, radius)
    present = set(torch.unique(levels).tolist())
    results = _entropy_of_first if compat == "weka" else _entropy_of_joined
    for result in results(levels, counts, present):
        yield result.cpu().numpy()


def _entropy_of_first(levels: torch.Tensor, counts: _DiscCounts, present: set[int]) -> Iterator[torch.Tensor]:
    sums = torch.zeros_like(levels, dtype=torch.float32)
    number = torch.zeros_like(sums)
    for level in range(256):
        if level in present:
            number += _add_c_log_c(sums, counts(level))
        if level + 1 in BINS:
            number_or_1 = number.clamp(min=1)
            yield (number_or_1.log2() - sums / number_or_1).clamp_(min=0)


def _entropy_of_joined(
    levels: torch.Tensor, counts: _DiscCounts, present: set[int]
) -> Iterator[torch.Tensor]:
    sums = [torch.zeros_like(levels, dtype=torch.float32) for _ in BINS]
    joined = [torch.zeros_like(levels, dtype=torch.int16) for _ in BINS]
    number = torch.zeros_like(levels, dtype=torch.int16)
    filled = [False] * len(BINS)
    for level in range(256):
        if level in present:
            count = counts(level)
            number += count
            for k in range(len(BINS)):
                joined[k] += count
                filled[k] = True
        for k, bins in enumerate(BINS):
            if filled[k] and (level + 1) % (256 // bins) == 0:
                _add_c_log_c(sums[k], joined[k])
                joined[k].zero_()
                filled[k] = False
    for total in sums:
        yield (number.float().log2() - total / number).clamp_(min=0)
