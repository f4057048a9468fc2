"""Reconstructing each section by itself."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import numpy.typing as npt

from lowdose_utils.errors import LowdoseError
from lowdose_utils.noise2inverse.sections import check_sections, split_angles
from lowdose_utils.noise2inverse.volumes import room, single
from lowdose_utils.project import check_angles
from lowdose_utils.readers.stack import Source
from lowdose_utils.reconstruct import fbp


def reconstruct_sections(
    sinograms: Source,
    angles: npt.ArrayLike,
    sections: int | Sequence[npt.ArrayLike] = 4,
    *,
    out: npt.NDArray[np.float32] | None = None,
    check: bool = True,
    slab: int = 16,
    **settings: Any,
) -> npt.NDArray[np.float32]:
    """Filtered back-projection of each section, all spectral channels divided alike.

    Where all sections have as many projections, evenly spread, the mean of their reconstructions is that of
    the scan (filtered back-projection is linear).

    Parameters
    ----------
    sinograms : array of shape (slice, angle, column) or (channel, slice, angle, column)
        Line integrals; also a memory map or dataset, of which `slab` slices are read at a time.
    angles : array of shape (angle,)
        In radians. Of a dynamic scan all time steps one after the other, as in `sinograms`.
    sections : int or sequence of integer arrays
        How many, for `split_angles`; or the projections of each.
    out : array of shape (section, [channel,] slice, size, size), optional
        Where to put the result: a memory map or dataset, if it is too large for memory.
    check : bool
        Whether `check_sections` must agree. False is for showing what goes wrong without.
    slab : int
        Slices to be read and reconstructed together.
    **settings
        For `reconstruct.fbp`: size, axis, filter, pixel_size, device, ...

    Returns
    -------
    array of float32, shape (section, [channel,] slice, size, size)
        `out`, if given.

    Raises
    ------
    LowdoseError
        If angles and projections differ in number, sections are not fit, values are not finite, or a channel
        holds nothing but one value: no counts.
    """
    theta = check_angles(angles)
    shape = tuple(sinograms.shape)
    if len(shape) not in (3, 4) or 0 in shape or shape[-2] != len(theta):
        raise LowdoseError(
            "sinograms and angles",
            found=f"shape {shape}, {len(theta)} angles",
            expected="([channel,] slice, angle, column) with one angle for each projection",
            way_out="Projections (angle, row, column) become sinograms by swapaxes(0, 1).",
        )
    if slab < 1 or (isinstance(sections, Real) and not isinstance(sections, Integral)):
        raise LowdoseError(
            "sections, slab",
            found=f"{sections}, {slab}",
            expected="whole numbers, of slices 1 at least",
            way_out="4 sections are usual; leave slab out.",
        )
    parts = (
        [np.asarray(one) for one in sections]
        if isinstance(sections, Sequence | np.ndarray)
        else split_angles(len(theta), int(sections))
    )
    if check:
        check_sections(parts, theta)
    size = settings.get("size") or shape[-1]
    wanted = (len(parts), *shape[:-2], size, size)
    result = room(wanted, out)
    for channel in range(shape[0]) if len(shape) == 4 else (None,):
        lead = () if channel is None else (channel,)
        low, high = np.inf, -np.inf
        for first in range(0, shape[-3], slab):
            rows = slice(first, first + slab)
            block = single("sinograms", sinograms[(*lead, rows)])
            if bad := block.size - int(np.isfinite(block).sum()):
                angle = int(np.flatnonzero(~np.isfinite(block).all(axis=(0, 2)))[0])
                raise LowdoseError(
                    "sinograms",
                    found=f"{bad} values that are NaN or infinite, first in projection {angle}",
                    expected="finite values",
                    way_out="Repair bad pixels, and let no count below one into a logarithm: see correct.",
                )
            low, high = min(low, float(block.min())), max(high, float(block.max()))
            for k, part in enumerate(parts):
                result[(k, *lead, rows)] = fbp(block[:, part], theta[part], **settings)
        if low == high:
            raise LowdoseError(
                "sinograms" if channel is None else f"channel {channel}",
                found=f"{low:g} everywhere",
                expected="counts",
                way_out="Leave the channel out.",
            )
    return result
