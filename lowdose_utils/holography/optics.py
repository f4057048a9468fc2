"""Geometry of a holographic microscope: a focus, the sample at several distances behind it, one detector.

The beam diverges from the focus, so the sample's distance sets both magnification and propagation. By the
Fresnel scaling theorem (Paganin, "Coherent X-Ray Optics", 2006, section 4.4) the hologram of a sample z1
behind the focus and z2 before the detector is that of a parallel beam at ``z1 z2 / (z1 + z2)``, seen with
pixels smaller by ``(z1 + z2) / z1``. Lengths are in metres, energies in keV.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass

from lowdose_utils.errors import LowdoseError
from lowdose_utils.gridding import even_fast
from lowdose_utils.optics import fringe_reach, positive, wavelength_of

# Distances of the sample from the focus, the nearest as 1, in four-distance scans of beamline ID16A.
RATIOS = (1.0, 1.043, 1.2145, 1.571)


@dataclass(frozen=True)
class Optics:
    """Where focus, sample and detector are.

    Attributes
    ----------
    energy_kev : float
        Photon energy.
    focus_distances : tuple of float
        From focus to sample, in metres, one for each scan; the first is the nearest, so the most magnified.
    focus_to_detector : float
        In metres.
    detector_pixel : float
        In metres.
    magnified : bool
        False gives all distances the pixels of the first: a parallel beam, which no such microscope has. It
        is for simulations that commit the inverse crime.

    Raises
    ------
    LowdoseError
        If a length is not positive, or distances do not rise from the focus towards the detector.
    """

    energy_kev: float
    focus_distances: tuple[float, ...]
    focus_to_detector: float = 1.208
    detector_pixel: float = 3.0e-6
    magnified: bool = True

    def __post_init__(self) -> None:
        positive("energy_kev", self.energy_kev, "Give it in keV.")
        positive("detector_pixel", self.detector_pixel, "Give it in metres.")
        object.__setattr__(self, "focus_distances", tuple(float(z) for z in self.focus_distances))
        stops = (0.0, *self.focus_distances, self.focus_to_detector)
        if len(stops) < 3 or not all(a < b < math.inf for a, b in itertools.pairwise(stops)):
            raise LowdoseError(
                "focus_distances",
                found=f"{self.focus_distances} m before a detector at {self.focus_to_detector} m",
                expected="one or more, rising from above 0 to below the detector's",
                way_out="Measure from the focus, in metres, the nearest first.",
            )

    @classmethod
    def four(
        cls,
        voxel_size: float,
        energy_kev: float = 33.35,
        *,
        distances: int = 4,
        focus_to_detector: float = 1.208,
        detector_pixel: float = 3.0e-6,
    ) -> Optics:
        """The distances of beamline ID16A of the ESRF for a voxel size in metres.

        1 : 1.043 : 1.2145 : 1.571 are the ratios in the configurations of four scans made there (published
        with holotomocupy, https://github.com/nikitinvv/holotomocupy); the nearest magnifies the detector's
        pixel to `voxel_size`. `distances` takes the first so many of the four.

        Raises
        ------
        LowdoseError
            If the voxel is not smaller than the detector's pixel, or the number is not 1 to 4.
        """
        nearest = voxel_size * focus_to_detector / detector_pixel
        if not (0 < nearest * RATIOS[-1] < focus_to_detector and 1 <= distances <= len(RATIOS)):
            raise LowdoseError(
                "voxel_size, distances",
                found=(voxel_size, distances),
                expected=f"metres, below {detector_pixel / RATIOS[-1]:.3g}, and 1 to {len(RATIOS)}",
                way_out="A few ten to a few hundred nanometres are usual: 120e-9.",
            )
        places = tuple(nearest * ratio for ratio in RATIOS[:distances])
        return cls(energy_kev, places, focus_to_detector, detector_pixel)

    @classmethod
    def parallel(cls, effective_distance: float, pixel_size: float, energy_kev: float) -> Optics:
        """One hologram of which the effective distance and pixel (metres) are known, and no more.

        A focus a million pixels of magnification away stands for them: where it is makes no difference.
        """
        positive("effective_distance", effective_distance, "Give it in metres.")
        positive("pixel_size", pixel_size, "Give it in metres.")
        enlarged = 1e6
        nearest = effective_distance * enlarged / (enlarged - 1)
        return cls(energy_kev, (nearest,), nearest * enlarged, pixel_size * enlarged)

    @property
    def wavelength(self) -> float:
        """In metres."""
        return wavelength_of(self.energy_kev)

    @property
    def voxel_size(self) -> float:
        """The finest pixel in the sample, that of the first distance: the grid of all reconstructions."""
        return self.detector_pixel / self.magnification(0)

    @property
    def pixel_sizes(self) -> tuple[float, ...]:
        """The detector's pixel in the sample, for each distance."""
        if not self.magnified:
            return (self.voxel_size,) * len(self.focus_distances)
        return tuple(self.detector_pixel / self.magnification(j) for j in range(len(self.focus_distances)))

    @property
    def effective_distances(self) -> tuple[float, ...]:
        """``z1 z2 / (z1 + z2)`` for each distance: how far a parallel beam would propagate."""
        whole = self.focus_to_detector
        return tuple(z * (whole - z) / whole for z in self.focus_distances)

    @property
    def fresnel_numbers(self) -> tuple[float, ...]:
        """Of one pixel at each distance: pixel squared over wavelength times effective distance."""
        pairs = zip(self.pixel_sizes, self.effective_distances, strict=True)
        return tuple(pixel**2 / (self.wavelength * distance) for pixel, distance in pairs)

    def magnification(self, number: int) -> float:
        """By how much the detector's image of the sample at distance `number` (from 0) is enlarged."""
        return self.focus_to_detector / self.focus_distances[number]

    def first(self, count: int) -> Optics:
        """The same microscope with the first `count` distances only."""
        return dataclasses.replace(self, focus_distances=self.focus_distances[:count])

    def without_magnification(self) -> Optics:
        """The same effective distances, all seen with the pixels of the first; see `magnified`."""
        return dataclasses.replace(self, magnified=False)

    def needed_columns(self, sample: float, wander: float = 0.0) -> int:
        """Detector pixels across which hold a sample `sample` voxels wide and the fringes around it.

        The finest detail that pixels resolve bends the beam by ``wavelength / (2 pixel)``: its fringe lies
        up to ``wavelength D / (2 pixel**2)`` pixels beside it (`optics.fringe_reach`). What falls outside
        of the field is lost, and with it the detail.

        Parameters
        ----------
        sample : float
            Width of the sample in voxels.
        wander : float
            How far the sample moves to either side, in voxels.
        """
        needed = 0.0
        for pixel, distance in zip(self.pixel_sizes, self.effective_distances, strict=True):
            wide = (sample + 2 * wander) * self.voxel_size / pixel
            needed = max(needed, wide + 2 * fringe_reach(distance, self.wavelength, pixel))
        return math.ceil(needed - 1e-6)

    def check_field(self, columns: int, sample: float, wander: float = 0.0) -> None:
        """Refuse a field too small for the sample and the fringes around it; see `needed_columns`.

        Raises
        ------
        LowdoseError
            If so; it says how many pixels are needed.
        """
        needed = self.needed_columns(sample, wander)
        if columns < needed:
            raise LowdoseError(
                "columns",
                found=f"a field of {columns} pixels for a sample of {sample:g} voxels",
                expected=f"{needed} pixels or more: the fringes spread that far",
                way_out=f"Take columns={even_fast(needed)}, larger voxels, or a smaller sample.",
            )
