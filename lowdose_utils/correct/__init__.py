"""Corrections between the detector and the reconstruction. Arrays are numpy."""

from lowdose_utils.axis import find_axis
from lowdose_utils.correct.bad_pixels import find_bad_pixels, repair_bad_pixels
from lowdose_utils.correct.flat import flat_field, renormalise_air
from lowdose_utils.correct.logarithm import count_log, minus_log
from lowdose_utils.correct.rings import remove_rings

__all__ = [
    "count_log",
    "find_axis",
    "find_bad_pixels",
    "flat_field",
    "minus_log",
    "remove_rings",
    "renormalise_air",
    "repair_bad_pixels",
]
