"""A polymer-electrolyte fuel cell in operation: fibres, thin layers, and water that was not there before.

After the scans in Hendriksen et al., "Deep denoising for multi-dimensional synchrotron X-ray tomography
without high-quality reference data", Sci. Rep. 11, 11895 (2021): interior tomography in a parallel beam of
a cell that first runs dry; then water fills pores of a gas diffusion layer and comes out into a channel as
a droplet. All is drawn from geometry, so that the same cell can be had on any grid.

Seen in a slice (y, x), from the middle to both sides: the membrane; the catalyst layers; the gas diffusion
layers of straight carbon fibres (Poisson lines in the plane of the layer, the model of Thiedmann et al.,
J. Electrochem. Soc. 155, B391, 2008, with some tilt); the flow-field plates with channels along z. Left
out: the binder between the fibres, cracks, the spectrum of the beam (attenuation is that at one energy),
and how water really moves (it swells in spheres along a path, and stays where it has been).
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral

import numpy as np

from lowdose_utils.errors import LowdoseError
from lowdose_utils.phantoms.drawn_cell import (
    AIR,
    ATTENUATION,
    CATALYST,
    FIBRE,
    LIFT,
    MEMBRANE,
    PLATE,
    WATER,
    DrawnCell,
)
from lowdose_utils.phantoms.fuel_cell_random import Floats, _fibres, _path

__all__ = [
    "AIR",
    "ATTENUATION",
    "CATALYST",
    "FIBRE",
    "MEMBRANE",
    "PLATE",
    "WATER",
    "DrawnCell",
    "FuelCell",
    "fuel_cell",
]


@dataclass(frozen=True)
class FuelCell:
    """The geometry of a cell and of the water in it. Lengths in metres, positions from the middle, y up.

    The cell is a cylinder along z that fills a square of `size` pixels, wider than the field of view: the
    middle `columns`.

    Attributes
    ----------
    columns, slices : int
        Width of the field of view and height in pixels.
    size : int
        Side of the square in which the cell is drawn, in pixels.
    pixel_size : float
        Side of a pixel.
    gdl, catalyst, membrane : float
        Thickness of a gas diffusion layer, of a catalyst layer and of the membrane.
    channel, rib, depth : float
        Width and distance of the channels, and their depth.
    fibre : float
        Diameter of a fibre.
    points, directions : array of shape (fibre, 3)
        A point (z, y, x) on each fibre's axis, and its direction.
    pools : array of shape (pool, 6)
        Spheres of water in the upper gas diffusion layer: centre (z, y, x), largest radius, and the time
        steps at which it begins and ends to grow.
    droplet : array of shape (5,)
        Where it stands (z, y, x), its largest radius, and the step at which it comes out.
    steps : int
        Time steps, counted from 0.
    attenuation : tuple of float
        Of each label, in 1/m. Any other quantity will do, to have a volume of it.
    """

    columns: int
    slices: int
    size: int
    pixel_size: float
    gdl: float
    catalyst: float
    membrane: float
    channel: float
    rib: float
    depth: float
    fibre: float
    points: Floats
    directions: Floats
    pools: Floats
    droplet: Floats
    steps: int
    attenuation: tuple[float, ...] = ATTENUATION

    @property
    def field(self) -> slice:
        """The rows and the columns of the field of view in a slice of side `size`."""
        margin = (self.size - self.columns) // 2
        return slice(margin, margin + self.columns)

    def draw(self, part: slice = slice(None), *, finer: int = 1) -> DrawnCell:
        """Draw the dry cell, ready for water.

        Parameters
        ----------
        part : slice
            Consecutive slices, to have no more in memory than is wanted.
        finer : int
            Draw on pixels smaller by this factor, for projections whose pixels differ from those on which
            they are reconstructed.

        Raises
        ------
        LowdoseError
            If `part` picks no slices or leaves some out, or `finer` is less than 1.
        """
        chosen = range(self.slices)[part]
        if not chosen or chosen.step != 1 or finer < 1 or finer != int(finer):
            raise LowdoseError(
                "part, finer",
                found=(part, finer),
                expected=f"consecutive slices out of 0 to {self.slices - 1}, and a whole number from 1",
                way_out="Count from 0.",
            )
        return DrawnCell(self, chosen.start, len(chosen), int(finer))


def fuel_cell(
    columns: int = 256,
    slices: int = 16,
    *,
    pixel_size: float = 2.75e-6,
    wider: float = 1.5,
    gdl: float = 160e-6,
    catalyst: float = 12e-6,
    membrane: float = 30e-6,
    channel: float = 300e-6,
    rib: float = 250e-6,
    depth: float = 200e-6,
    fibre: float = 8e-6,
    porosity: float = 0.78,
    clusters: int = 4,
    steps: int = 180,
    onset: float = 0.25,
    outbreak: float = 0.6,
    rng: np.random.Generator | int | None = None,
) -> FuelCell:
    """Make a cell at random.

    Parameters
    ----------
    columns, slices : int
        Field of view and height in pixels.
    pixel_size : float
        Metres.
    wider : float
        Diameter of the cell in units of the field of view: what is more than 1 makes the tomography
        interior, with plates, ribs and layers beside the field in every projection.
    gdl, catalyst, membrane : float
        Thickness in metres of one gas diffusion layer, one catalyst layer, the membrane.
    channel, rib, depth : float
        Width of the channels, of the ribs between them, and depth of the channels, in metres. A channel is
        in the middle.
    fibre : float
        Diameter in metres.
    porosity : float
        Share of the gas diffusion layers without fibres. Fibres pass through one another.
    clusters : int
        Paths along which water grows in the upper layer. The first, in the middle, ends in the droplet.
    steps : int
        Time steps of the series.
    onset, outbreak : float
        When there is first water, and when the droplet comes out, in parts of the series. The defaults
        leave the first fifth dry (36 of 180 steps train the network in the paper).
    rng : Generator or int, optional
        Source of randomness.

    Raises
    ------
    LowdoseError
        If a number makes no sense or the layers do not fit into the cell.
    """
    lengths = (pixel_size, gdl, catalyst, membrane, channel, rib, depth, fibre)
    if not all(0 < length < np.inf for length in lengths) or fibre >= gdl:
        raise LowdoseError(
            "pixel_size, gdl, catalyst, membrane, channel, rib, depth, fibre",
            found=lengths,
            expected="positive lengths, and fibres thinner than their layer",
            way_out="Give them in metres.",
        )
    whole = all(isinstance(number, Integral) for number in (columns, slices, steps, clusters))
    fits = columns >= 8 and slices >= 1 and steps >= 2 and clusters >= 1
    if not (whole and fits and 1 <= wider < 10 and 0 < porosity < 1):
        raise LowdoseError(
            "columns, slices, steps, clusters, wider, porosity",
            found=(columns, slices, steps, clusters, wider, porosity),
            expected="whole numbers from 8, 1, 2, 1; 1 to 10; between 0 and 1",
            way_out="Leave them at their defaults if in doubt.",
        )
    if not 0 <= onset < outbreak < 1:
        raise LowdoseError(
            "onset, outbreak",
            found=(onset, outbreak),
            expected="0 <= onset < outbreak < 1",
            way_out="They are parts of the series, not steps.",
        )
    size = columns + 2 * int(np.ceil(columns * (wider - 1) / 2))
    width, height = size * pixel_size, slices * pixel_size
    top = membrane / 2 + catalyst + gdl
    if top > 0.45 * width:
        raise LowdoseError(
            "thickness of membrane, catalyst and gas diffusion layers",
            found=f"{2 * top:.3g} m",
            expected=f"at most {0.9 * width:.3g} m, nine tenths of the cell",
            way_out="Take more columns, larger pixels or thinner layers.",
        )
    rng = np.random.default_rng(rng)
    layers = [
        _fibres(side, top - gdl, gdl, fibre, porosity, np.hypot(width, height) / 2, rng) for side in (1, -1)
    ]
    points, directions = (np.concatenate(of_both) for of_both in zip(*layers, strict=True))
    foot = np.array([0.0, top, rng.uniform(-0.1, 0.1) * channel])
    largest = min(0.35 * channel, 0.8 * depth / (1 + LIFT))  # clear of the channel's walls
    paths = [_path(foot, gdl, onset, outbreak, rng)]
    for _ in range(clusters - 1):
        rise = rng.uniform(0.3, 0.8) * gdl
        end = np.array([0, top - gdl + rise, 0]) + rng.uniform(-0.35, 0.35, 3) * (height, 0, width)
        paths.append(_path(end, rise, rng.uniform(onset, outbreak), 1.0, rng))
    pools = np.concatenate(paths) * ([1.0] * 4 + [steps - 1.0] * 2)
    return FuelCell(
        columns=columns,
        slices=slices,
        size=size,
        pixel_size=pixel_size,
        gdl=gdl,
        catalyst=catalyst,
        membrane=membrane,
        channel=channel,
        rib=rib,
        depth=depth,
        fibre=fibre,
        points=points,
        directions=directions,
        pools=pools,
        droplet=np.array([*foot, largest, outbreak * (steps - 1)]),
        steps=steps,
    )
