"""TomoPy's gridrec, made to agree with this package in orientation, centre and scale.

gridrec pads nothing itself and so loses the lowest frequencies, its absolute scale is 13 to 17 per cent
too high depending on the width, its images are centred on pixel ``width / 2``, and it takes the angles to
be evenly spaced (TomoPy 1.15). Here the sinograms are padded to twice the width, moved so that the axis and
the image's centre fall where gridrec has them, and weighted; the scale is taken from one more slice, a
wide Gaussian whose projections are known.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lowdose_utils.device import ArrayT, like, to_tensor
from lowdose_utils.errors import LowdoseError
from lowdose_utils.phantoms.blobs import Blobs

_NAMES = {
    "ramp": "ramlak",
    "shepp-logan": "shepp",
    "cosine": "cosine",
    "hann": "hann",
    "parzen-gridrec": "parzen",
}


def gridrec(
    sinograms: ArrayT,
    angles: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    *,
    size: int,
    axis: float | None,
    filter: str | None,
    pixel_size: float,
) -> ArrayT:
    """Reconstruct by gridrec; parameters and result are those of `fbp`, which has checked them.

    Raises
    ------
    LowdoseError
        If TomoPy is not installed, or `filter` is None or unknown.
    """
    if filter is None or filter not in _NAMES:
        raise LowdoseError(
            "filter",
            found=filter,
            expected=", ".join(_NAMES),
            way_out='gridrec always filters; backend="torch" can do without.',
        )
    tomopy = _tomopy()
    numbers = to_tensor(sinograms, torch.device("cpu")).numpy()
    columns = numbers.shape[2]
    axis = (columns - 1) / 2 if axis is None else axis
    # An even width that leaves the detector as much empty room again, and holds the wanted image.
    width = 2 * max(columns, (size + 1) // 2 + 1)
    wide = np.zeros((len(numbers) + 1, len(angles), width), dtype=np.float32)
    wide[:-1, :, :columns] = numbers
    sigma = max(min(axis, columns - 1 - axis) / 5, 2.0)
    wide[-1, :, :columns] = _gauge(sigma, columns).projections(columns, angles, axis=axis)
    # gridrec's pixels are at integers from the axis; those of an image with an even side at half integers.
    half = size // 2 - (size - 1) / 2
    shift = axis - width // 2 + half * (np.cos(angles) - np.sin(angles))
    spectrum = np.fft.rfft(wide) * np.exp(2j * np.pi * np.fft.rfftfreq(width) * shift[:, None])
    moved = np.fft.irfft(spectrum, width) * (weights * len(angles) / np.pi)[:, None]
    images = tomopy.recon(
        moved.astype(np.float32),
        angles.astype(np.float32),
        center=width // 2,
        sinogram_order=True,
        algorithm="gridrec",
        filter_name=_NAMES[filter],
    )
    start = width // 2 - size // 2
    images = images[:, start : start + size, start : start + size]
    truth = _gauge(sigma, size).image(size)
    gain, _ = np.polyfit(truth.ravel(), images[-1].ravel(), 1)
    return like(torch.from_numpy(images[:-1] / (gain * pixel_size)).float(), sinograms)


def _gauge(sigma: float, size: int) -> Blobs:
    """A centred Gaussian of height 1 with `sigma` in pixels, for images of `size` pixels."""
    return Blobs(np.ones(1), np.zeros((1, 2)), np.array([2 * sigma / size]))


def _tomopy() -> Any:
    try:
        import tomopy
    except ImportError:
        raise LowdoseError(
            "backend",
            found="tomopy, which is not installed",
            expected="torch",
            way_out='TomoPy comes with "conda install -c conda-forge tomopy"; backend="torch" needs nothing.',
        ) from None
    return tomopy
