"""A simulated scanner: line integrals in, a scan with counts, flat and dark fields out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lowdose_utils.acquire import Rng, poisson_counts
from lowdose_utils.errors import LowdoseError
from lowdose_utils.readers import Scan


def simulated_scan(
    line_integrals: npt.ArrayLike,
    angles: npt.ArrayLike,
    *,
    photons: float,
    axis: float | None = None,
    flats: int = 10,
    darks: int = 10,
    offset: float = 100.0,
    read_noise: float = 3.0,
    unevenness: float = 0.1,
    stripes: float = 0.0,
    rng: Rng = None,
) -> Scan:
    """Scan a known object with Poisson counts, an uneven beam, a dark level and electronic noise.

    Parameters
    ----------
    line_integrals : array, shape (angle, column) or (angle, row, column)
        Attenuation along each ray, without unit (Beer-Lambert: transmission is ``exp(-line_integral)``).
    angles : array, shape (angle,)
        Radians.
    photons : float
        Mean photons per pixel in the open beam.
    axis : float, optional
        Column of the rotation axis, if known.
    flats, darks : int
        Repeats of the flat and dark fields.
    offset, read_noise : float
        Dark level and electronic noise (standard deviation), in grey values; one photon is one grey value.
    unevenness : float
        Share of the beam's intensity by which detector columns differ; the flat fields hold it too.
    stripes : float
        Standard deviation of the columns' response that changed since the flat fields were taken, as a
        share: what the flat fields do not hold, and what draws rings.

    Returns
    -------
    Scan
        In memory; ``provenance["values"]`` is "counts".
    """
    lines = np.asarray(line_integrals, dtype=np.float64)
    lines = lines[:, None, :] if lines.ndim == 2 else lines
    if lines.ndim != 3 or photons <= 0:
        raise LowdoseError(
            "line_integrals and photons",
            found=f"shape {lines.shape}, {photons} photons",
            expected="(angle, column) or (angle, row, column), and a positive number",
            way_out="Project a phantom first, and say how bright the beam is.",
        )
    generator = np.random.default_rng(rng)
    beam = photons * (1 + unevenness * generator.uniform(-1, 1, (1, 1, lines.shape[2])))

    changed = 1 + stripes * generator.standard_normal((1, 1, lines.shape[2]))

    def exposed(
        absorption: npt.NDArray[np.float64], photons: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float32]:
        counts = poisson_counts(absorption, photons, generator)
        return (counts + offset + read_noise * generator.standard_normal(counts.shape)).astype(np.float32)

    nothing = np.zeros((1, *lines.shape[1:]))
    dark_noise = read_noise * generator.standard_normal((darks, *lines.shape[1:]))
    return Scan(
        projections=exposed(lines, beam * changed),
        angles=np.asarray(angles, dtype=np.float64),
        flats=exposed(np.repeat(nothing, flats, axis=0), beam),
        darks=(offset + dark_noise).astype(np.float32),
        axis=axis,
        provenance={"values": "counts", "notes": "simulated"},
    )


@dataclass(frozen=True)
class NoisyProjections:
    """Projections whose white Gaussian noise is drawn when they are looked at.

    A scan of a thousand large projections at six noise levels need not be in memory to train on two of them.
    The noise of a projection follows from `seed` and its number alone, whichever way it is asked for.

    Attributes
    ----------
    clean : array of shape (angle, row, column)
        Also memory-mapped.
    sigma : float
        Standard deviation of the noise, in the unit of `clean`.
    seed : int
    """

    clean: npt.NDArray[np.floating]
    sigma: float
    seed: int

    def __post_init__(self) -> None:
        """Refuse noise of negative size, and seeds that numpy would refuse only later."""
        if not (np.isfinite(self.sigma) and self.sigma >= 0 and self.seed >= 0):
            raise LowdoseError(
                "sigma, seed",
                found=(self.sigma, self.seed),
                expected="numbers from 0 up",
                way_out="Sigma is a standard deviation in the unit of the projections.",
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """(angle, row, column)."""
        return self.clean.shape

    def __len__(self) -> int:
        return len(self.clean)

    def __getitem__(self, key: Any) -> npt.NDArray[np.float32]:
        first, *rest = key if isinstance(key, tuple) else (key,)
        chosen = np.arange(len(self.clean))[first]
        if np.ndim(chosen) == 0:
            one: npt.NDArray[np.float32] = self._one(int(chosen))[tuple(rest)]
            return one
        return np.stack([self._one(int(i))[tuple(rest)] for i in chosen])

    def _one(self, index: int) -> npt.NDArray[np.float32]:
        generator = np.random.default_rng([self.seed, index])
        noise = generator.standard_normal(self.clean.shape[1:], dtype=np.float32)
        noisy: npt.NDArray[np.float32] = (self.clean[index] + self.sigma * noise).astype(np.float32)
        return noisy
