"""From phase maps to electron density: the middle cut out, the axis centred, the slices reconstructed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from lowdose_utils.errors import LowdoseError
from lowdose_utils.holography.align import align_angles, move
from lowdose_utils.holography.matter import phase_per_density
from lowdose_utils.holography.optics import Optics
from lowdose_utils.holography.scan.phases import Floats
from lowdose_utils.project import check_angles
from lowdose_utils.reconstruct import fbp


def density_of(
    phase: npt.ArrayLike,
    angles: npt.ArrayLike,
    optics: Optics,
    *,
    size: int | None = None,
    slices: int | None = None,
    part: slice = slice(None),
    device: str | torch.device = "auto",
) -> Floats:
    """Electron density by filtered back-projection of phase maps, in electrons per cubic nanometre.

    Parameters
    ----------
    phase : array of shape (angle, row, column)
        Radians, the axis in the middle (`align.align_angles`).
    angles : array of shape (angle,)
    optics : Optics
    size, slices : int, optional
        Side of the slices and their number, about the middle; all by default.
    part : slice
        Of the angles: ``slice(0, None, 2)`` takes every second one.
    device : str or torch.device

    Returns
    -------
    array of float32, shape (slice, y, x)
    """
    stack, theta = np.asarray(phase, np.float32), check_angles(angles)
    scale = phase_per_density(optics.wavelength, optics.voxel_size)
    inner = central(stack, slices or stack.shape[1], size or stack.shape[2])[part]
    sinograms = np.ascontiguousarray((inner / scale).swapaxes(0, 1))
    return fbp(sinograms, theta[part], device=device)


def central(images: Floats, rows: int, columns: int) -> Floats:
    """The middle of images (..., row, column)."""
    top, left = (images.shape[-2] - rows) // 2, (images.shape[-1] - columns) // 2
    if min(top, left) < 0 or min(rows, columns) < 1:
        raise LowdoseError(
            "rows, columns",
            found=(rows, columns),
            expected=f"from 1 up to {images.shape[-2:]}",
            way_out="No more than there are.",
        )
    return images[..., top : top + rows, left : left + columns]


def centred(
    phase: Floats, angles: npt.ArrayLike, sample: int, *, device: str | torch.device = "auto"
) -> tuple[Floats, npt.NDArray[np.float64]]:
    """Phase maps with the axis in the middle, and the shifts (angle, 2) that were taken back.

    The shifts are found in the middle `sample` rows and columns (`align.align_angles`).
    """
    found = align_angles(central(phase, sample, sample), angles, device=device)
    return move(phase, -found), found
