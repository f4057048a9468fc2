"""Where arrays live: choosing a torch device, and numpy in, numpy out."""

from __future__ import annotations

import resource
import sys
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from lowdose_utils.errors import LowdoseError

Array: TypeAlias = npt.NDArray[np.floating] | torch.Tensor
ArrayT = TypeVar("ArrayT", npt.NDArray[np.floating], torch.Tensor)


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """Turn ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"`` into a torch device.

    ``"auto"`` takes CUDA if there is any, then Apple's Metal, then the CPU.

    Raises
    ------
    LowdoseError
        If the name is unknown, or the device is not on this machine.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        chosen = None
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if chosen is None or not present.get(chosen.type, False):
        raise LowdoseError(
            "device",
            found=repr(str(device)),
            expected="auto, " + ", ".join(name for name, there in present.items() if there),
            way_out='Use device="auto" to take the best device of this machine.',
        )
    return chosen


def as_tensor(array: Array) -> torch.Tensor:
    """View `array` as a tensor where it is; a copy, if it is in pieces or in foreign byte order."""
    if isinstance(array, torch.Tensor):
        return array
    given = np.ascontiguousarray(array)
    return torch.from_numpy(given.astype(given.dtype.newbyteorder("="), copy=False))


def to_tensor(array: Array, device: torch.device) -> torch.Tensor:
    """Copy or view `array` as a float32 tensor on `device` (float64 tensors stay float64)."""
    tensor = as_tensor(array)
    dtype = (
        torch.float64 if tensor.dtype == torch.float64 and isinstance(array, torch.Tensor) else torch.float32
    )
    return tensor.to(device=device, dtype=dtype)


def like(result: torch.Tensor, given: ArrayT) -> ArrayT:
    """Give `result` back in the kind of `given`: numpy for numpy, a tensor on its device for a tensor."""
    if isinstance(given, torch.Tensor):
        return result.to(given.device)
    return result.cpu().numpy()


def peak_memory() -> float:
    """The most memory that this process has held so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, KiB elsewhere
