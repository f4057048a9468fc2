"""Holographic nano-tomography: from holograms at several distances from a focus to electron density.

`optics` has the geometry, `simulate` makes holograms of a drawn tissue, `align` brings distances (and angles)
over each other, `retrieve` and `refine` find the phase, `scan` does all of it.
"""

from lowdose_utils.holography.optics import Optics

__all__ = ["Optics"]
