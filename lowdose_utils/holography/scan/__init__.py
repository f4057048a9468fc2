"""From a drawn tissue to its reconstructed electron density: all steps, a few angles at a time."""

from lowdose_utils.holography.scan.density import central, centred, density_of
from lowdose_utils.holography.scan.imaging import image_tissue
from lowdose_utils.holography.scan.phases import Floats, Method, Phases, camera_for, take_phases

__all__ = [
    "Floats",
    "Method",
    "Phases",
    "camera_for",
    "central",
    "centred",
    "density_of",
    "image_tissue",
    "take_phases",
]
