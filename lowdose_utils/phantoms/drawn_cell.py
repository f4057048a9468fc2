"""The simulated fuel cell on a grid of pixels: volumes, labels and sinograms, dry and at any time step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from lowdose_utils.errors import LowdoseError
from lowdose_utils.project import Projector

if TYPE_CHECKING:
    from lowdose_utils.phantoms.fuel_cell import FuelCell

Floats = npt.NDArray[np.floating]
Labels = npt.NDArray[np.uint8]

AIR, PLATE, FIBRE, CATALYST, MEMBRANE, WATER = range(6)

#: Attenuation in 1/m of each label, at about 30 keV (mass attenuation coefficients of Elam et al., Radiat.
#: Phys. Chem. 63, 121, 2002): graphite and fibres of 1.8 g/cm3; a catalyst layer with 0.33 g/cm3 of
#: platinum (0.4 mg/cm2 in 12 um) in carbon and ionomer; a perfluorinated membrane of 2 g/cm3; water.
ATTENUATION = (0.0, 46.0, 46.0, 900.0, 100.0, 37.6)

# Where the droplet's middle is above the layer, in its radii: a contact angle of 120 degrees.
LIFT = 0.5


class DrawnCell:
    """A cell on a grid of cubic pixels; see `FuelCell.draw`. Time steps are made one at a time.

    A pixel holds the mean over its volume to first order: by the distance of its middle from the surface.
    Steps may be fractions, for the motion within one; without a step the cell is dry.
    """

    def __init__(self, cell: FuelCell, first: int, slices: int, finer: int) -> None:
        self.cell, self.finer, self._pitch = cell, finer, cell.pixel_size / finer
        side = cell.size * finer
        # Middles of the pixels, in pixels; `down` is -y, so that all grow with the index.
        self._z = np.arange(first * finer, (first + slices) * finer) - (cell.slices * finer - 1) / 2
        self._x = np.arange(side) - (side - 1) / 2
        down = self._x
        ends = np.cumsum([cell.membrane / 2, cell.catalyst, cell.gdl, cell.depth]) / self._pitch
        period, half = (cell.channel + cell.rib) / self._pitch, cell.channel / 2 / self._pitch
        aside = self._x - period * np.round(self._x / period)
        disc = _inside(np.hypot(down[:, None], self._x), (cell.size / 2 - 1) * finer)

        def rows(low: float, high: float) -> Floats:
            return (_overlap(down, -high, -low) + _overlap(down, low, high))[:, None]

        layers = rows(ends[1], ends[2])
        channels = rows(ends[2], ends[3]) * _overlap(aside, -half, half)
        membrane, catalyst = rows(0, ends[0]), rows(ends[0], ends[1])
        plate = 1 - membrane - catalyst - layers - channels
        fibres, in_fibre = self._draw_fibres()
        mu = np.subtract(cell.attenuation, cell.attenuation[AIR])
        plane = disc * (mu[PLATE] * plate + mu[MEMBRANE] * membrane + mu[CATALYST] * catalyst)
        plane += cell.attenuation[AIR]
        fibrous = (mu[FIBRE] * disc * layers).astype(np.float32)
        self._dry: npt.NDArray[np.float32] = fibrous * fibres + plane.astype(np.float32)

        within, zone = disc >= 0.5, np.searchsorted(ends, np.abs(down))[:, None]
        pores, hollows = (zone == 2) & within, (zone == 3) & within & (np.abs(aside) <= half)
        kinds = np.array([MEMBRANE, CATALYST, AIR, PLATE, PLATE], dtype=np.uint8)[zone]
        kinds = np.where(within & ~hollows, kinds, np.uint8(AIR))
        self._labels: Labels = np.where(pores & in_fibre, np.uint8(FIBRE), kinds)

        # Room for water: between the fibres of the upper layer, and in the channels above it.
        self._layer, self._above = (_extent((down < 0) & room.any(axis=1)) for room in (layers, channels))
        self._pores = (layers * disc)[self._layer].astype(np.float32) * (1 - fibres[:, self._layer])
        self._channels = (disc * channels)[self._above].astype(np.float32)
        self._in_pores, self._in_channels = pores[self._layer], hollows[self._above]

    def volume(self, step: float | None = None) -> npt.NDArray[np.float32]:
        """Attenuation in 1/m, (z, y, x), at time `step`.

        Raises
        ------
        LowdoseError
            If `step` is outside the series; also for the methods below.
        """
        result = self._dry.copy()
        if step is not None:
            pools, droplet = self._swollen(step)
            wet = np.float32(self.cell.attenuation[WATER] - self.cell.attenuation[AIR])
            result[:, self._layer] += wet * pools * self._pores
            result[:, self._above] += wet * droplet * self._channels
        return result

    def water(self, step: float) -> npt.NDArray[np.bool_]:
        """Where the pixels' middles are in water at time `step`, (z, y, x): it grows from step to step."""
        pools, droplet = self._swollen(step)
        result = np.zeros(self._labels.shape, dtype=bool)
        result[:, self._layer] = (pools >= 0.5) & self._in_pores
        result[:, self._above] |= (droplet >= 0.5) & self._in_channels
        result &= self._labels == AIR
        return result

    def labels(self, step: float | None = None) -> Labels:
        """What is at the pixels' middles, (z, y, x).

        0 air (also around the cell), 1 plate, 2 fibre, 3 catalyst, 4 membrane, 5 water.
        """
        result = self._labels.copy()
        if step is not None:
            result[self.water(step)] = WATER
        return result

    def sinograms(
        self, angles: npt.ArrayLike, step: float | None = None, *, device: str | torch.device = "auto"
    ) -> npt.NDArray[np.float32]:
        """Line integrals (slice, angle, column) in the field of view, through all of the cell.

        Of a cell drawn `finer`, each is the mean over the finer pixels of a detector pixel: what is
        reconstructed on the detector's own grid then is no inverse crime.

        Parameters
        ----------
        angles : array of shape (angle,)
            In radians.
        step : float, optional
            Time step; without it the cell is dry.
        device : str or torch.device
            Where to project.
        """
        fine, columns = self.finer, self.cell.columns
        volume = self.volume(step)
        volume = volume.reshape(-1, fine, *volume.shape[1:]).mean(axis=1)
        projector = Projector(angles, volume.shape[-1], columns=columns * fine, device=device)
        lines = projector.forward(volume)
        result: npt.NDArray[np.float32] = lines.reshape(*lines.shape[:2], columns, fine).mean(axis=3)
        return result * np.float32(self._pitch)

    def _swollen(self, step: float) -> tuple[Floats, Floats]:
        """Shares of the water, fibres or not, in the rows of the upper layer and of the channels above."""
        cell = self.cell
        if not 0 <= step <= cell.steps - 1:
            raise LowdoseError(
                "step", found=step, expected=f"0 to {cell.steps - 1}", way_out="Count time steps from 0."
            )
        pools = np.zeros(self._pores.shape, dtype=np.float32)
        for z, y, x, largest, begin, end in cell.pools:
            radius = largest * np.cbrt(np.clip((step - begin) / (end - begin), 0, 1))
            self._swell(pools, self._layer, (z, y, x), radius)
        droplet = np.zeros((len(self._z), *self._channels.shape), dtype=np.float32)
        z, y, x, largest, begin = cell.droplet
        radius = largest * np.cbrt(np.clip((step - begin) / (cell.steps - 1 - begin), 0, 1))
        self._swell(droplet, self._above, (z, y + LIFT * radius, x), radius)
        return pools, droplet

    def _swell(self, share: Floats, rows: slice, centre: tuple[float, float, float], radius: float) -> None:
        """Put a ball into `share` (z, some `rows`, x)."""
        z, y, x = (place / self._pitch for place in centre)
        r = radius / self._pitch
        if r < 0.5:  # too small for this grid
            return
        axes = [axis - place for axis, place in ((self._z, z), (self._x[rows], -y), (self._x, x))]
        box = tuple(slice(*np.searchsorted(axis, (-r - 0.5, r + 0.5))) for axis in axes)
        dz, dy, dx = (axis[part] for axis, part in zip(axes, box, strict=True))
        distance = np.sqrt(dz[:, None, None] ** 2 + dy[:, None] ** 2 + dx**2)
        share[box] = np.maximum(share[box], _inside(distance, r))

    def _draw_fibres(self) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Share of fibres in each pixel (z, y, x), and whether its middle is in one."""
        shape = (len(self._z), len(self._x), len(self._x))
        share, middle = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=bool)
        r = self.cell.fibre / 2 / self._pitch
        # A linear fall over one pixel has 1/12 square pixel too much area; thin fibres are made paler.
        drawn, strength = float(np.sqrt(max(r**2 - 1 / 12, 0.25))), min(1.0, 3 * r**2)
        reach = int(np.ceil(1.5 * drawn + 1))  # sqrt(2) for a direction between two axes, and tilt
        offsets = np.arange(-reach, reach + 1)
        for point, (dz, dy, dx) in zip(self.cell.points / self._pitch, self.cell.directions, strict=True):
            direction = np.array([dz, -dy, dx])
            start = point * (1, -1, 1) - (self._z[0], self._x[0], self._x[0])  # an index into the volume
            along, across = (0, 2) if abs(dz) > abs(dx) else (2, 0)
            index = np.arange(shape[along])
            axis = start + (index - start[along])[:, None] * (direction / direction[along])
            near = (axis[:, across] > -reach) & (axis[:, across] < shape[across] + reach)
            axis = axis[near]
            base = np.round(axis).astype(int)
            places: list[Any] = [index[near, None, None]] * 3
            places[1] = base[:, 1, None, None] + offsets[:, None]
            places[across] = base[:, across, None, None] + offsets
            down, aside = (places[k] - axis[:, k, None, None] for k in (1, across))
            square = down**2 + aside**2 - (down * direction[1] + aside * direction[across]) ** 2
            inside = (places[across] >= 0) & (places[across] < shape[across])
            inside = inside & (places[1] >= 0) & (places[1] < shape[1])
            where = tuple(np.broadcast_to(place, square.shape)[inside] for place in places)
            distance = np.sqrt(np.maximum(square[inside], 0))
            # Fibres overlap at random, also within a pixel.
            share[where] += (1 - share[where]) * strength * _inside(distance, drawn)
            middle[where] |= distance <= r
        return share, middle


def _overlap(middle: Floats, low: float, high: float) -> Floats:
    """Share of pixels of side 1 around `middle` that is between `low` and `high`."""
    share: Floats = np.clip(np.minimum(middle + 0.5, high) - np.maximum(middle - 0.5, low), 0, 1)
    return share


def _inside(distance: Floats, radius: float) -> Floats:
    """Share of a pixel at `distance` that is within `radius`, to first order."""
    share: Floats = np.clip(radius + 0.5 - distance, 0, 1)
    return share


def _extent(rows: npt.NDArray[np.bool_]) -> slice:
    """From the first to the last of the `rows` that are true."""
    found = np.flatnonzero(rows)
    return slice(int(found[0]), int(found[-1]) + 1) if found.size else slice(0, 0)
