"""How holograms are taken: counts, blur, motion, and the detector's pixels."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from lowdose_utils.errors import LowdoseError
from lowdose_utils.holography.optics import Optics
from lowdose_utils.holography.response import SIGMA_OF_FWHM

FLATS = 20  # exposures of the open beam at each distance


@dataclass(frozen=True)
class Camera:
    """How holograms are taken.

    Attributes
    ----------
    columns : int
        Detector pixels across, and down.
    photons : float
        Counts per detector pixel in the open beam, for each exposure; infinite for none of their noise.
    source : float
        Full width at half maximum of the focus in metres: no fringe is sharper than its image.
    detector_blur : float
        Standard deviation of the scintillator's and lenses' blur in detector pixels, a Gaussian.
    offset : float
        Each distance's scan lies off the first one by a normal deviate of so many pixels in both directions.
    jitter : float
        Each exposure lies off its scan by a normal deviate of so many pixels.
    flats : int
        Exposures of the open beam whose mean corrects each distance; 0 for a perfect one.
    """

    columns: int
    photons: float = 1000.0
    source: float = 30e-9
    detector_blur: float = 0.4
    offset: float = 1.5
    jitter: float = 0.3
    flats: int = FLATS

    def __post_init__(self) -> None:
        least = min(self.source, self.detector_blur, self.offset, self.jitter, self.flats)
        if self.columns < 2 or not self.photons > 0 or not least >= 0:
            raise LowdoseError(
                "columns, photons, source, detector_blur, offset, jitter, flats",
                found=dataclasses.astuple(self),
                expected="2 or more, above 0, and the others from 0 up",
                way_out="Leave them at their defaults if in doubt.",
            )

    @property
    def wander(self) -> float:
        """How far the sample is to be expected off its place, in pixels: three standard deviations."""
        return 3 * math.hypot(self.offset, self.jitter)

    def crime(self) -> Camera:
        """The same without motion, blur, and noise of the open beam."""
        return dataclasses.replace(self, source=0.0, detector_blur=0.0, offset=0.0, jitter=0.0, flats=0)

    def blur(self, optics: Optics, number: int) -> float:
        """Standard deviation of all blur at a distance, in metres in the sample."""
        share = 1 - 1 / optics.magnification(number)  # of the source, as seen through the sample
        return math.hypot(
            SIGMA_OF_FWHM * self.source * share, self.detector_blur * optics.pixel_sizes[number]
        )


def positions(camera: Camera, distances: int, angles: int, rng: int) -> npt.NDArray[np.float64]:
    """Where the sample is at each exposure, (distance, angle, 2) pixels; the first scan has no offset."""
    generator = np.random.default_rng([rng, 0])
    offsets = camera.offset * generator.standard_normal((distances, 1, 2))
    offsets[0] = 0
    return np.asarray(offsets + camera.jitter * generator.standard_normal((distances, angles, 2)))


def pixel_weights(
    columns: int, ratio: float, period: int, sigma: float, place: torch.device | str = "cpu"
) -> torch.Tensor:
    """Weights (column, fine pixel) of means over detector pixels, `ratio` fine pixels wide, after a blur.

    Fine pixels are taken as constant over their width. `sigma` is the Gaussian's standard deviation in fine
    pixels. Middles coincide; what lies outside of the grid counts as zero.
    """
    edges = (torch.arange(columns + 1, dtype=torch.float64) - columns / 2) * ratio
    fine = torch.arange(period + 1, dtype=torch.float64) - period / 2
    away = edges[:, None] - fine
    if sigma:
        # The step's integral, blurred: its second differences are the share of each fine pixel.
        density = torch.exp(-0.5 * (away / sigma) ** 2) / math.sqrt(2 * math.pi)
        ramp = away * torch.special.ndtr(away / sigma) + sigma * density
    else:
        ramp = away.clamp_min(0)
    weights: torch.Tensor = -torch.diff(torch.diff(ramp, dim=0), dim=1) / ratio
    return weights.to(place, torch.float32)
