"""From transmission or counts to line integrals."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import digamma

from lowdose_utils.correct.checks import Float32
from lowdose_utils.errors import LowdoseError


def minus_log(transmission: npt.ArrayLike, *, floor: float | None = None) -> Float32:
    """Line integrals ``-log(transmission)``.

    Parameters
    ----------
    transmission : array, any shape
    floor : float, optional
        Raise smaller values to this first. Without it, a value of zero or below is an error; NaN and
        infinity always are.
    """
    values = np.asarray(transmission, dtype=np.float32)
    if floor is not None:
        values = np.maximum(values, np.float32(floor))
    bad = values.size - np.count_nonzero((values > 0) & np.isfinite(values))
    if bad:
        raise LowdoseError(
            "transmission",
            found=f"{bad} of {values.size} values zero, negative, infinite or NaN",
            expected="positive values",
            way_out="Use repair_bad_pixels, a positive floor, or count_log on raw counts.",
        )
    return -np.log(values)


def count_log(
    counts: npt.ArrayLike,
    open_beam: float | npt.ArrayLike,
    estimator: Literal["half", "digamma", "plain"] = "half",
) -> Float32:
    """Line integrals from few photons, with the bias of the logarithm taken out.

    The mean of ``-log(n / I0)`` over Poisson counts is not the line integral; averaging angles, or a
    network that learns the mean, does not remove the difference, since it is no noise.

    Parameters
    ----------
    counts : array
        Photon counts above the dark, zero or more; any shape.
    open_beam : float or array
        Expected counts I0 without the object, broadcast.
    estimator : {"half", "digamma", "plain"}
        ``"half"``: ``-log((n + 1/2) / I0)``, without bias to first order in 1 / mean.
        ``"digamma"``: ``-(psi(n + 1) - log I0)``. Because the mean of ``psi(n + 1)`` is exactly
        ``log N + E1(N)`` for Poisson counts of mean N (E1: exponential integral), its bias is
        -E1(N) and vanishes exponentially. (No function of n is free of bias for all N.)
        ``"plain"``: ``-log(max(n, 1) / I0)``, as in many codes; for comparison.

    Raises
    ------
    LowdoseError
        If a count is negative, infinite or NaN, a beam not positive and finite, or their shapes do not fit.

    Notes
    -----
    Exact bias of the line integral for a mean count N behind the object:

    ======= ====== ====== ======= ======= ======= ======== =======
    N       1      2      3       5       10      30       100
    ======= ====== ====== ======= ======= ======= ======== =======
    plain   -0.222 +0.094 +0.144  +0.115  +0.055  +0.017   +0.0050
    half    -0.169 -0.026 -0.0019 +0.0021 +0.0005 +0.00005 +4e-6
    digamma -0.219 -0.049 -0.013  -0.0011 -4e-6   <1e-12   <1e-12
    ======= ====== ====== ======= ======= ======= ======== =======

    Above about 4.5 counts "digamma" has the least bias; below, "half". The spread is about the same.
    """
    values = np.asarray(counts, dtype=np.float64)
    beam = np.asarray(open_beam, dtype=np.float64)
    wrong = values.size - np.count_nonzero((values >= 0) & np.isfinite(values))
    dark = beam.size - np.count_nonzero((beam > 0) & np.isfinite(beam))
    try:
        np.broadcast_shapes(values.shape, beam.shape)
        fits = True
    except ValueError:
        fits = False
    if wrong or dark or not fits:
        raise LowdoseError(
            "counts and open_beam",
            found=f"{wrong} counts negative, infinite or NaN, {dark} such beams or 0, "
            f"of shapes {values.shape} and {beam.shape}",
            expected="counts from 0 up, a positive beam, shapes that fit",
            way_out="Subtract the dark, divide by the gain, repair NaN pixels, clip at 0.",
        )
    match estimator:
        case "half":
            log_mean = np.log(values + 0.5)
        case "digamma":
            log_mean = digamma(values + 1)
        case "plain":
            log_mean = np.log(np.maximum(values, 1))
        case _:
            raise LowdoseError(
                "estimator",
                found=repr(estimator),
                expected="half, digamma or plain",
                way_out="Use the default if in doubt.",
            )
    return np.asarray(np.log(beam) - log_mean, dtype=np.float32)
