"""Networks that denoise or enhance images."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

Network = TypeVar("Network", bound=torch.nn.Module)


def seeded(build: Callable[[], Network], rng: int) -> Network:
    """Build a network whose first weights follow from the seed `rng`; torch's own state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(rng)
        return build()
