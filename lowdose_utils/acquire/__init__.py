"""Acquisition: what a scan does to clean projections, and what a shorter scan would have measured.

Arrays are numpy; projections are ``(angle, row, column)``, but everything that acts on single pixels
takes any shape.
"""

from lowdose_utils.acquire.checks import Rng
from lowdose_utils.acquire.counts import (
    NoiseReference,
    estimate_gain,
    gaussian_noise,
    poisson_counts,
    thin_counts,
)
from lowdose_utils.acquire.geometry import (
    Floats,
    interlaced_angles,
    misalign,
    missing_wedge,
    uniform_angles,
)

__all__ = [
    "Floats",
    "NoiseReference",
    "Rng",
    "estimate_gain",
    "gaussian_noise",
    "interlaced_angles",
    "misalign",
    "missing_wedge",
    "poisson_counts",
    "thin_counts",
    "uniform_angles",
]
