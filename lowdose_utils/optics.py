"""Wavelengths, and images made ready for the Fourier transforms of `phase`: in parts, and continued."""

from __future__ import annotations

import math
from numbers import Integral
from types import EllipsisType
from typing import Literal

import numpy as np
import torch

from lowdose_utils.errors import LowdoseError
from lowdose_utils.gridding import even_fast

Padding = int | Literal["auto"]

# Images go through the FFT a few at a time, so that whole scans need no spectra of their own size.
CHUNK_PIXELS = {"cpu": 2.0e6, "cuda": 1.0e8}


def wavelength_of(energy: float) -> float:
    """Wavelength in metres of X-rays of `energy` in keV.

    Raises
    ------
    LowdoseError
        If the energy is not positive.
    """
    positive("energy", energy, "Give it in keV.")
    return 1.239841984e-9 / energy


def fringe_reach(distance: float, wavelength: float, pixel_size: float) -> float:
    """How far a wave spreads to each side on its way over `distance`, in pixels.

    The finest detail that pixels can hold, half a cycle each, is bent by ``wavelength / (2 pixel_size)``.
    An image closer to the border than this sees what lies beyond the border.
    """
    return abs(distance) * wavelength / (2 * pixel_size**2)


def in_parts(images: torch.Tensor, device: torch.device) -> list[slice]:
    """Divide a stack (image, y, x) into parts that the device's memory or cache has room for."""
    budget = CHUNK_PIXELS.get(device.type, CHUNK_PIXELS["cpu"])
    chunk = max(1, int(budget / images[0].numel()))
    return [slice(first, first + chunk) for first in range(0, len(images), chunk)]


def padded_images(
    images: torch.Tensor, padding: int, mode: Literal["edge", "symmetric"]
) -> tuple[torch.Tensor, tuple[EllipsisType | slice, ...]]:
    """Continue `images` (..., y, x) to sides that the FFT likes, and say where they are in the result."""
    if padding == 0:
        return images, (..., slice(None), slice(None))
    places, inside = [], []
    for side in images.shape[-2:]:
        wide = even_fast(side + 2 * padding)
        if mode == "symmetric":
            wide = min(wide, 2 * side)  # an image and its mirror image are periodic without a seam
        before = min(padding, wide - side)
        place = np.pad(np.arange(side), (before, wide - side - before), mode)
        places.append(torch.from_numpy(place).to(images.device))
        inside.append(slice(before, before + side))
    return images[..., places[0][:, None], places[1]], (..., *inside)


def positive(thing: str, value: float, way_out: str) -> None:
    """Refuse a number that is not above zero and finite.

    Raises
    ------
    LowdoseError
        If it is not.
    """
    if not 0 < value < math.inf:
        raise LowdoseError(thing, found=value, expected="a positive number", way_out=way_out)


def check_optics(wavelength: float, pixel_size: float) -> None:
    """Refuse lengths that are none.

    Raises
    ------
    LowdoseError
        If one is not positive.
    """
    positive("wavelength", wavelength, "Give it in metres: wavelength_of(energy in keV).")
    positive("pixel_size", pixel_size, "Give it in metres.")


def check_padding(padding: int | str) -> int:
    """Give the number of pixels back if it is one.

    Raises
    ------
    LowdoseError
        If it is negative or not whole.
    """
    if not isinstance(padding, Integral) or padding < 0:
        raise LowdoseError("padding", found=padding, expected='pixels from 0 up, or "auto"', way_out="Try 0.")
    return int(padding)
