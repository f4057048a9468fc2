"""The beam taken out: by flat and dark fields, and by the air beside the object."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lowdose_utils.correct.checks import Float32, _stack
from lowdose_utils.errors import LowdoseError


def flat_field(
    projections: npt.ArrayLike, flats: npt.ArrayLike, darks: npt.ArrayLike | None = None
) -> Float32:
    """Transmission ``(projections - dark) / (flat - dark)``, with the mean of the repeats as flat and dark.

    Parameters
    ----------
    projections : array, shape (angle, row, column)
    flats, darks : array, shape (repeat, row, column) or (row, column)
        Open beam, and no beam (None: zero).

    Returns
    -------
    array of float32, shape (angle, row, column)
        1 in air. NaN pixels stay NaN (see `repair_bad_pixels`).

    Raises
    ------
    LowdoseError
        If the shapes differ, or the flat is nowhere brighter than the dark in some pixels (how many is said).
    """
    stack = _stack("projections", projections, "(angle, row, column)")
    white = np.asarray(flats, dtype=np.float64)
    black = np.zeros(stack.shape[1:]) if darks is None else np.asarray(darks, dtype=np.float64)
    white = white.mean(axis=0) if white.ndim == 3 else white
    black = black.mean(axis=0) if black.ndim == 3 else black
    if white.shape != stack.shape[1:] or black.shape != stack.shape[1:]:
        raise LowdoseError(
            "flats and darks",
            found="no flats" if flats is None else f"detectors {white.shape} and {black.shape}",
            expected=f"detectors {stack.shape[1:]} as the projections have",
            way_out="Give flats of the same camera; crop flats, darks and projections alike.",
        )
    beam = white - black
    unlit = beam.size - np.count_nonzero(beam > 0)
    if unlit:
        raise LowdoseError(
            "flats",
            found=f"{unlit} of {beam.size} pixels not brighter than the dark",
            expected="flat above dark in every pixel",
            way_out="Crop to the lit field, or check that flats and darks are not swapped.",
        )
    return ((stack - black) / beam).astype(np.float32)


def renormalise_air(transmission: npt.ArrayLike, margin: int) -> Float32:
    """Divide each projection by the median of its `margin` outer columns on both sides, so that air is 1.

    For a beam that drifts between flats. The object must leave these columns free at every angle.

    Parameters
    ----------
    transmission : array, shape (angle, row, column)
    margin : int
        Columns of air on each side.
    """
    stack = _stack("transmission", transmission, "(angle, row, column)")
    if not 1 <= margin <= stack.shape[2] // 2:
        raise LowdoseError(
            "margin",
            found=margin,
            expected=f"1 to {stack.shape[2] // 2} columns",
            way_out="Count the columns that no angle ever shades.",
        )
    air = np.nanmedian(np.concatenate([stack[..., :margin], stack[..., -margin:]], axis=2), axis=(1, 2))
    if not np.all(air > 0):
        raise LowdoseError(
            "transmission",
            found=f"air level {np.nanmin(air)}",
            expected="positive air",
            way_out="Correct with the flat field first.",
        )
    return np.asarray(stack / air[:, None, None], dtype=np.float32)
