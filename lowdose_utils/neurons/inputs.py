"""What the network is given: grey values on a fixed scale, and where there seem to be sheets in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lowdose_utils.neurons.intensity import feature
from lowdose_utils.neurons.train import Grey


class Inputs(NamedTuple):
    """Channels for a network: the grey values, and `intensity.feature`'s sheets at some widths.

    A network that learns for minutes starts with what one that learns for days has found by itself. All
    channels stay what they are when a volume is mirrored or turned.

    Attributes
    ----------
    grey : Grey
    sigmas : tuple of float
        Widths in voxels of the sheets' Gaussians.
    spreads : tuple of float
        Each sheet channel is divided by it.
    """

    grey: Grey
    sigmas: tuple[float, ...]
    spreads: tuple[float, ...]

    @classmethod
    def of(
        cls,
        volume: npt.ArrayLike,
        sigmas: Sequence[float] = (),
        tissue: npt.NDArray[np.bool_] | None = None,
    ) -> Inputs:
        """Scales from a volume, or from where there is tissue in it.

        Parameters
        ----------
        volume : array, shape (z, y, x)
        sigmas : sequence of float
        tissue : array of bool, shape (z, y, x), optional
        """
        raw = np.asarray(volume, np.float32)
        within = np.ones(raw.shape, bool) if tissue is None else tissue
        grey = Grey.of(raw[within])
        scaled = grey(raw)
        spreads = tuple(float(feature(scaled, sigma, "sheet")[within].std()) for sigma in sigmas)
        return cls(grey, tuple(sigmas), spreads)

    def __call__(self, volume: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """The channels of a volume (z, y, x), shape (1 + sigmas, z, y, x)."""
        scaled = self.grey(volume)
        pairs = zip(self.sigmas, self.spreads, strict=True)
        return np.stack([scaled, *(feature(scaled, sigma, "sheet") / spread for sigma, spread in pairs)])
