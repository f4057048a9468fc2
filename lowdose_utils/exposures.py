"""Two scans of one sample at different exposures: line integrals, and which projections belong together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lowdose_utils import correct
from lowdose_utils.errors import LowdoseError
from lowdose_utils.readers import Scan


def line_integrals(scan: Scan, *, air: int = 0) -> npt.NDArray[np.float32]:
    """Line integrals of a scan, whatever it holds: counts with flat fields, transmission, or line integrals.

    Parameters
    ----------
    scan : Scan
        Read into memory whole. Line integrals are taken as they are; of the others, pixels that cannot be
        believed are repaired.
    air : int
        Columns on both sides that the sample never shades: their median is brought to one in each
        projection, as the beam's intensity changes. 0 to leave it. Line integrals are left.

    Returns
    -------
    array (angle, row, column)

    Raises
    ------
    LowdoseError
        If counts come without flat fields, or the corrections find the values unfit.
    """
    values = str(scan.provenance["values"])
    stack = np.asarray(scan.projections[:], dtype=np.float32)
    if values == "line_integral":
        return stack
    if values != "transmission" and scan.flats is None:
        raise LowdoseError(
            "flats",
            found=f"none, with values called {values}",
            expected="open-beam fields, or values of transmission or line integrals",
            way_out='Give flats=, or say values="transmission" or "line_integral" to the reader.',
        )
    if scan.flats is not None and values != "transmission":
        darks = None if scan.darks is None else np.asarray(scan.darks[:])
        stack = correct.flat_field(stack, np.asarray(scan.flats[:]), darks)
    repaired, _ = correct.repair_bad_pixels(stack)
    return correct.minus_log(correct.renormalise_air(repaired, air) if air else repaired)


def matching_views(low: Scan, high: Scan, *, tolerance: float | None = None) -> list[int]:
    """The places in `low` of the projections of `high`.

    Parameters
    ----------
    low, high : Scan
        The second has fewer projections, at angles of the first.
    tolerance : float, optional
        Radians that partners may differ; by default a quarter of the step between angles of `low`.

    Raises
    ------
    LowdoseError
        If the detectors differ, or a projection has no partner; which, and how far the nearest is off.
    """
    shapes = [tuple(scan.projections.shape[1:]) for scan in (low, high)]
    if shapes[0] != shapes[1]:
        raise LowdoseError(
            "low, high",
            found=f"projections of {shapes[0]} and {shapes[1]} pixels",
            expected="the same pixels",
            way_out="Bin or crop one scan to the other's grid and field of view.",
        )
    ordered = np.sort(low.angles)
    step = float(np.median(np.diff(ordered))) if len(ordered) > 1 else np.inf
    most = step / 4 if tolerance is None else tolerance
    places = []
    for number, angle in enumerate(high.angles):
        away = np.abs(low.angles - angle)
        nearest = int(away.argmin())
        if away[nearest] > most:
            raise LowdoseError(
                f"angle of high-dose projection {number}",
                found=f"{np.rad2deg(angle):.3f} deg, {np.rad2deg(away[nearest]):.3f} deg from its nearest",
                expected=f"at most {np.rad2deg(most):.3f} deg",
                way_out="Check unit (radians) and zero of both scans' angles, or raise the tolerance.",
            )
        places.append(nearest)
    return places
