"""A simulated transmission X-ray microscope: line integrals in, scans of two exposures out.

Steps, in the beam's order: a sample that shrank and blurred with the dose so far, and drifted; absorption
(Beer-Lambert); the blur of the zone plate; the condenser's spot, which wanders between exposures; photons
(Poisson); the detector's dark level and electronic noise. Not simulated: the depth of focus, phase contrast,
the halo of the unfocused order, stripes of the detector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lowdose_utils.acquire import Rng
from lowdose_utils.errors import LowdoseError
from lowdose_utils.readers import Scan

Floats = npt.NDArray[np.floating]


class Exposed(NamedTuple):
    """A scan, and where the sample was in each projection: (angle, 2) shifts (row, column) in pixels."""

    scan: Scan
    shifts: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Microscope:
    """The instrument and what it does to the sample.

    Attributes
    ----------
    photons : float
        Mean counts per pixel and second in the middle of the open beam.
    blur : float
        Standard deviation of the point spread in detector pixels.
    falloff : float
        Share by which the condenser's spot is darker in the corners of the field.
    wander : float
        Standard deviation of the spot's place between exposures, as a share of the field's width; flats and
        projections each have their own.
    jitter : float
        Standard deviation of the sample's place between exposures, in pixels.
    dark, read_noise : float
        Dark level and standard deviation of the electronic noise in counts.
    shrinkage : float
        Share of its size that the sample loses in 1000 s of exposure, about the middle of the field.
    fading : float
        Standard deviation of the blur that 1000 s of exposure add, in pixels, in quadrature.
    """

    photons: float = 500.0
    blur: float = 0.5
    falloff: float = 0.3
    wander: float = 0.01
    jitter: float = 0.2
    dark: float = 100.0
    read_noise: float = 3.0
    shrinkage: float = 0.0
    fading: float = 0.0

    def __post_init__(self) -> None:
        """Refuse an instrument that cannot be."""
        values = tuple(vars(self).values())
        if not (all(0 <= v < np.inf for v in values) and self.photons > 0 and self.falloff < 1):
            raise LowdoseError(
                "microscope",
                found=self,
                expected="finite numbers from 0, photons above 0, a falloff below 1",
                way_out="Leave out what you do not know.",
            )

    def expose(
        self,
        lines: Floats,
        angles: npt.ArrayLike,
        seconds: float,
        *,
        binning: int = 1,
        shift: tuple[float, float] = (0.0, 0.0),
        before: float = 0.0,
        flats: int = 20,
        darks: int = 20,
        pixel_size: float | None = None,
        rng: Rng = None,
    ) -> Exposed:
        """Take one exposure at each angle.

        Parameters
        ----------
        lines : array (angle, row, column)
            Line integrals of the attenuation, without unit, on pixels smaller by `binning`.
        angles : array (angle,)
            Radians.
        seconds : float
            Exposure of a projection, and of a flat field.
        binning : int
            Fine pixels to a side of a detector pixel; their intensities are added.
        shift : (float, float)
            Mean place (row, column) of the sample in detector pixels: what differs between two scans.
        before : float
            Seconds of exposure that the sample had already; each projection adds its own.
        flats, darks : int
            Repeats.
        pixel_size : float, optional
            Of the detector at the sample, in metres, for the scan.
        rng : int or Generator, optional

        Returns
        -------
        Exposed
            A scan of counts, its axis in the middle of the field, and the true shifts.

        Raises
        ------
        LowdoseError
            If shapes or numbers do not fit.
        """
        theta = np.asarray(angles, dtype=np.float64)
        given = _checked(lines, theta.shape, binning)
        if not (0 < seconds < np.inf and 0 <= before < np.inf and flats >= 1 and darks >= 1):
            raise LowdoseError(
                "seconds, before, flats, darks",
                found=(seconds, before, flats, darks),
                expected="a time above 0, one from 0, a field at least of each",
                way_out="Give the exposure in seconds.",
            )
        generator = np.random.default_rng(rng)
        rows, columns = (side // binning for side in given.shape[1:])
        shifts = np.asarray(shift) + self.jitter * generator.standard_normal((len(theta), 2))
        counts = np.empty((len(theta), rows, columns), np.float32)
        for i, (one, place) in enumerate(zip(given, shifts, strict=True)):
            through = self._transmission(one, place, before + i * seconds, binning)
            counts[i] = self._counted(through, seconds, generator)
        nothing = np.ones((rows, columns))
        dark = self.dark + self.read_noise * generator.standard_normal((darks, rows, columns))
        scan = Scan(
            projections=counts,
            angles=theta,
            flats=np.stack([self._counted(nothing, seconds, generator) for _ in range(flats)]),
            darks=dark.astype(np.float32),
            axis=(columns - 1) / 2,
            pixel_size=pixel_size,
            provenance={"values": "counts", "notes": f"simulated, {seconds:g} s a projection"},
        )
        return Exposed(scan, shifts)

    def without_noise(
        self, lines: Floats, *, binning: int = 1, shifts: npt.ArrayLike | None = None
    ) -> npt.NDArray[np.float32]:
        """Line integrals that a fresh sample would give under an even beam of endless photons.

        Parameters
        ----------
        lines, binning
            As for `expose`.
        shifts : array (angle, 2), optional
            Place (row, column) of the sample in each projection, in detector pixels; the middle by default.

        Returns
        -------
        array (angle, row, column)
            On the detector's pixels, blurred by the zone plate.

        Raises
        ------
        LowdoseError
            If shapes do not fit.
        """
        places = np.zeros((len(lines), 2)) if shifts is None else np.asarray(shifts, dtype=np.float64)
        given = _checked(lines, places.shape[:1], binning)
        views = [
            -np.log(self._transmission(one, place, 0.0, binning))
            for one, place in zip(given, places, strict=True)
        ]
        return np.stack(views).astype(np.float32)

    def _transmission(self, lines: Floats, place: Floats, dose: float, binning: int) -> Floats:
        """Of the sample where it is, after `dose` seconds of exposure, blurred, on the detector's pixels."""
        through = np.exp(-self._aged(lines, place * binning, dose, binning))
        through = ndimage.gaussian_filter(through, self.blur * binning, mode="nearest")
        rows, columns = (side // binning for side in lines.shape)
        binned: Floats = through.reshape(rows, binning, columns, binning).mean(axis=(1, 3))
        return binned

    def _aged(self, lines: Floats, place: Floats, dose: float, binning: int) -> Floats:
        """Line integrals of the sample where it is, after `dose` seconds of exposure."""
        size = 1 - self.shrinkage * dose / 1000
        middle = (np.array(lines.shape) - 1) / 2
        # Pixel p shows what was at middle + (p - middle - place) / size. Mass is kept: a smaller sample
        # absorbs as much along a ray that is shorter and denser, per area more.
        offset = middle - (middle + place) / size
        moved: Floats = (
            ndimage.affine_transform(lines, np.full(2, 1 / size), offset, order=3, mode="nearest") / size**2
        )
        fading = self.fading * np.sqrt(dose / 1000) * binning
        return ndimage.gaussian_filter(moved, fading) if fading else moved

    def _counted(
        self, transmission: Floats, seconds: float, rng: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        """Counts of one exposure: the spot where it is this time, photons, dark level, electronics."""
        rows, columns = transmission.shape
        middle = self.wander * columns * rng.standard_normal(2)
        y = (np.arange(rows) - (rows - 1) / 2 - middle[0])[:, None]
        x = np.arange(columns) - (columns - 1) / 2 - middle[1]
        spot = 1 - self.falloff * (x**2 + y**2) / (
            0.5 * columns**2
        )  # 1 - falloff in a square field's corners
        expected = self.photons * seconds * np.maximum(spot, 0) * transmission
        electrons = self.read_noise * rng.standard_normal(transmission.shape)
        counts: npt.NDArray[np.float32] = (rng.poisson(expected) + self.dark + electrons).astype(np.float32)
        return counts


def _checked(lines: Floats, number: tuple[int, ...], binning: int) -> npt.NDArray[np.float32]:
    """Line integrals, if there are as many as angles or shifts and their sides can be binned."""
    given = np.asarray(lines, dtype=np.float32)
    fits = given.ndim == 3 and number == given.shape[:1] and binning >= 1
    if not fits or any(side % binning for side in given.shape[1:]) or np.isnan(given).any():
        raise LowdoseError(
            "lines, angles, binning",
            found=f"shapes {given.shape} and {number}, binning {binning}",
            expected="(angle, row, column) without NaN, (angle,), and sides that binning divides",
            way_out="Project on pixels smaller by a whole number.",
        )
    return given
