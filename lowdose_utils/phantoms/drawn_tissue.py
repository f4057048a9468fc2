"""Tissue on a grid: materials, the tubes that it is made of, and how they fill voxels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from lowdose_utils.phantoms.shapes import share, texture, voxel_centres

Floats = npt.NDArray[np.floating]

AIR, RESIN, NEUROPIL, MYELIN, AXOPLASM, CELL, NUCLEUS, VESSEL, LUMEN = range(9)
# Assumed linear attenuation at 8 keV, 1/um: resin as light plastic, tissue by how much heavy metal it takes.
ATTENUATION = (0.0, 0.0006, 0.004, 0.02, 0.0025, 0.0035, 0.0045, 0.006, 0.0006)
PILLAR, RIND = 0.46, 0.3  # radius of the pillar in field widths; um of bare resin around the tissue
TEXTURE = 0.2  # standard deviation of the neuropil's attenuation, as a share of it
GRAIN = 0.15  # um, distance of the random values between which the texture is a cubic spline


class Tube(NamedTuple):
    """A structure around a line: an axon, a vessel, or a cell body around a short one.

    `line` has the points (z, y, x) in um from the volume's middle, `outer` the radius at each, `inner` the
    radius of what the shell (sheath, wall, cell plasm) holds. `shell` and `core` are materials.
    """

    line: Floats
    outer: Floats
    inner: Floats
    shell: int
    core: int


class DrawnTissue(NamedTuple):
    """Tissue on a grid (z, y, x): attenuation in 1/um, the material and the axon (from 1) of each voxel."""

    attenuation: npt.NDArray[np.float32]
    materials: npt.NDArray[np.uint8]
    axons: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Cortex:
    """Where everything is; `draw` puts it on a grid.

    Attributes
    ----------
    columns, slices : int
        Width of the field of view and height, in voxels.
    pixel_um : float
        Edge of a voxel in um.
    tubes : tuple of Tube
        Axons first.
    axons : int
        How many of `tubes` are axons; the n-th has the number n + 1 in a drawn volume.
    seed : int
        Of the texture.
    """

    columns: int
    slices: int
    pixel_um: float
    tubes: tuple[Tube, ...]
    axons: int
    seed: int

    def voxels(self, points: Floats) -> Floats:
        """Points (z, y, x) in um as voxel coordinates of the drawn volume, pixel centres whole numbers."""
        middle = (np.array([self.slices, self.columns, self.columns]) - 1) / 2
        found: Floats = np.asarray(points) / self.pixel_um + middle
        return found

    def draw(self, part: slice = slice(None), *, finer: int = 1) -> DrawnTissue:
        """Draw consecutive slices, on voxels smaller by `finer`.

        An edge is as wide as a voxel: each takes the shares of materials that a plane at the surface's
        distance would leave in it.

        Raises
        ------
        LowdoseError
            If `part` picks no slices or leaves some out, or `finer` is less than 1.
        """
        z, y, x = voxel_centres(part, finer, slices=self.slices, columns=self.columns, voxel=self.pixel_um)
        voxel = self.pixel_um / finer
        away = np.hypot(y[:, None], x[None]) - PILLAR * self.columns * self.pixel_um
        disc, tissue = share(away, voxel), share(away + RIND, voxel)
        plane = np.where(away < 0, np.where(away < -RIND, NEUROPIL, RESIN), AIR).astype(np.uint8)
        shape = (len(z), len(y), len(x))
        materials = np.broadcast_to(plane, shape).copy()
        axons = np.zeros(shape, np.int32)
        attenuation = np.empty(shape, np.float32)
        extent = [whole * self.pixel_um for whole in (self.slices, self.columns, self.columns)]
        for k, blobs in enumerate(texture((z, y, x), extent, GRAIN, [self.seed])):
            neuropil = ATTENUATION[NEUROPIL] * np.maximum(1 + TEXTURE * blobs, 0)
            attenuation[k] = disc * (ATTENUATION[RESIN] + tissue * (neuropil - ATTENUATION[RESIN]))
        for number, tube in enumerate(self.tubes, 1):
            for k, box, outside, inside in _planes(tube, z, y, x, voxel):
                here = tissue[box]  # nothing outside the tissue
                shell, core = share(outside, voxel) * here, share(inside, voxel) * here
                patch = attenuation[k][box]
                patch += shell * (ATTENUATION[tube.shell] - patch)
                patch += core * (ATTENUATION[tube.core] - patch)
                solid = (outside < 0) & (here > 0.5)
                materials[k][box][solid] = np.where(inside < 0, tube.core, tube.shell)[solid]
                if number <= self.axons:
                    axons[k][box][solid] = number
        return DrawnTissue(attenuation, materials, axons)


def _planes(
    tube: Tube, z: Floats, y: Floats, x: Floats, voxel: float
) -> Iterator[tuple[int, tuple[slice, slice], Floats, Floats]]:
    """Planes that a tube crosses: number, box, and there the distances from outer and inner surface."""
    margin = tube.outer + voxel
    for k, height in enumerate(z):
        near = np.abs(tube.line[:, 0] - height) < margin
        if not near.any():
            continue
        line, reach = tube.line[near], margin[near]
        sides = []
        for axis, grid in ((1, y), (2, x)):
            low, high = (line[:, axis] - reach).min(), (line[:, axis] + reach).max()
            sides.append(slice(int(np.searchsorted(grid, low)), int(np.searchsorted(grid, high))))
        rows, columns = sides
        if rows.start == rows.stop or columns.start == columns.stop:
            continue
        points = np.stack(np.broadcast_arrays(height, y[rows][:, None], x[columns][None]), axis=-1)
        away, nearest = cKDTree(line).query(points)
        yield k, (rows, columns), away - tube.outer[near][nearest], away - tube.inner[near][nearest]
