"""Keeping a run apart from what surrounds it: ^C in the middle of a step, the caller's random numbers."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold ^C back until the block is through: from a half-made step no run could go on exactly.

    A second ^C is let through at once.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield  # No interrupt arrives here, or it is none of Python's business.
        return
    came: list[tuple[int, FrameType | None]] = []

    def hold(number: int, frame: FrameType | None) -> None:
        came.append((number, frame))
        if len(came) > 1:
            handler(number, frame)

    signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
    if came:
        handler(*came[0])


@contextmanager
def own_random_numbers(device: torch.device) -> Iterator[None]:
    """Give torch's random numbers back as they were after the block, on the CPU and on `device`."""
    accelerator = None if device.type == "cpu" else torch.get_device_module(device)
    kept = accelerator and accelerator.get_rng_state()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            if accelerator:
                accelerator.set_rng_state(kept)


def seed(device: torch.device, number: int) -> None:
    """Seed torch on the CPU and on `device`, within `own_random_numbers`."""
    torch.default_generator.manual_seed(number)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(number)
