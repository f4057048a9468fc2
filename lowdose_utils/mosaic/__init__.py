"""Overlapping scans joined into one volume: where each lies, by what the overlaps show, and their blend.

A tile is a volume (z, y, x) on its own grid. Its `Placement` says where that grid lies in the sample: the
stage gives it roughly, and each scan has its own turn about the rotation axis and its own magnification.
"""

from lowdose_utils.mosaic.blend import Seam, blend, levels, seams
from lowdose_utils.mosaic.register import Overlap, Registered, register
from lowdose_utils.mosaic.tiles import Placement, placement_error

__all__ = [
    "Overlap",
    "Placement",
    "Registered",
    "Seam",
    "blend",
    "levels",
    "placement_error",
    "register",
    "seams",
]
