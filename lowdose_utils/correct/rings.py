"""Stripes of sinograms, which are rings in the slices, taken out."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lowdose_utils.correct.checks import Float32, _stack
from lowdose_utils.errors import LowdoseError


def remove_rings(
    sinograms: npt.ArrayLike, method: Literal["sorting", "filtering", "all"] = "sorting", **options: Any
) -> Float32:
    """Take stripes out of sinograms, which would be rings in the slices.

    Vo, Atwood and Drakopoulos, Opt. Express 26, 28396, 2018.

    Parameters
    ----------
    sinograms : array, shape (slice, angle, column)
        Line integrals.
    method : {"sorting", "filtering", "all"}
        ``"sorting"`` (algorithm 3, partial stripes), ``"filtering"`` (algorithms 2 and 3) or ``"all"``
        (algorithms 3 to 6; dead and large stripes as well), from `algotom.prep.removal`.
    **options
        Handed on: ``size`` (median window, columns), ``sigma``, ``snr``, ``la_size``, ``sm_size``.
    """
    from algotom.prep import removal  # slow to import (numba), so only when used

    stack = _stack("sinograms", sinograms, "(slice, angle, column)")
    known = {
        "sorting": removal.remove_stripe_based_sorting,
        "filtering": removal.remove_stripe_based_filtering,
        "all": removal.remove_all_stripe,
    }
    if method not in known:
        raise LowdoseError(
            "method", found=repr(method), expected=", ".join(known), way_out="Start with sorting."
        )
    with np.errstate(divide="ignore", invalid="ignore"):  # "all" divides empty columns by their zero mean
        cleaned = np.stack([known[method](sinogram, **options) for sinogram in stack]).astype(np.float32)
    return np.where(np.isfinite(cleaned), cleaned, stack)
