"""Measures of resolution: the width of an edge, and Fourier ring or shell correlation.

Arrays are numpy; lengths are in pixels.
"""

from lowdose_utils.resolution.checks import Floats, same_shape
from lowdose_utils.resolution.edges import Edge, contour_profile, disc_profile, edge_width
from lowdose_utils.resolution.fourier import (
    FourierCorrelation,
    fourier_ring_correlation,
    frc_resolution,
    frc_threshold,
)

__all__ = [
    "Edge",
    "Floats",
    "FourierCorrelation",
    "contour_profile",
    "disc_profile",
    "edge_width",
    "fourier_ring_correlation",
    "frc_resolution",
    "frc_threshold",
    "same_shape",
]
