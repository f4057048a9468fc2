"""Neural tissue on a grid: which neuron has which voxel, its membranes, and the density of electrons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lowdose_utils.phantoms.neurite_territory import Territory
from lowdose_utils.phantoms.neurite_trees import Neuron
from lowdose_utils.phantoms.shapes import ellipsoid, sausage, share, slab, texture, voxel_centres

Floats = npt.NDArray[np.floating]

AIR, RESIN, CYTOPLASM, MEMBRANE, MITOCHONDRION, NUCLEUS, LABELLED = range(7)
# Electrons per nm^3. Epoxy resin, 1.2 g/cm^3 with 0.54 mol of electrons per gram: 390. Osmium metal has
# 5400: one per cent of it by volume adds 50. Stained cytoplasm is taken to hold 0.6 %, mitochondria and
# chromatin 1 to 1.5 %, membranes 3.2 % (a third more electrons than cytoplasm), a nucleus with the APEX2
# stain 2.2 %.
ELECTRON_DENSITY = (0.0, 390.0, 420.0, 560.0, 470.0, 440.0, 510.0)
PILLAR, RIND = 0.46, 0.3  # radius of the sample in field widths; um of bare resin around the tissue
HALF = 0.025  # um, half of the stained double membrane with its cleft
TEXTURE, GRAIN = 0.015, 0.15  # of cytoplasm: standard deviation as a share; um between its random values
CHROMATIN, CLUMP = 0.03, 0.4  # the same of nuclei
ROUND = 0.4  # of a closed sample: radius of its rounded edge, in its own radii


class Nucleus(NamedTuple):
    """An ellipsoid: centre (z, y, x) and half axes in um, APEX2-labelled or not; `neuron` (from 1) owns
    it."""

    centre: npt.NDArray[np.float64]
    radii: npt.NDArray[np.float64]
    labelled: bool
    neuron: int
    body: float  # radius of the cell body around it, um


class Mitochondrion(NamedTuple):
    """A sausage around a line (z, y, x) in um, in neuron `neuron` (from 1)."""

    line: npt.NDArray[np.float64]
    radius: float
    neuron: int


class Drawn(NamedTuple):
    """Tissue on a grid (z, y, x).

    `density` in electrons per nm^3; `labels`: the neuron of each voxel, from 1, and 0 where the voxel's
    middle lies in a membrane or outside; `materials`: what is there; `nuclei`: the nucleus of each voxel,
    from 1.
    """

    density: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]
    materials: npt.NDArray[np.uint8]
    nuclei: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Tissue:
    """Where everything is, in um from the volume's middle; `draw` puts it on a grid.

    Attributes
    ----------
    columns, slices : int
        Width of the field of view and height, in voxels.
    voxel_um : float
        Edge of a voxel in um.
    neurons : tuple of Neuron
        The n-th has the number n + 1 in a drawn volume.
    nuclei : tuple of Nucleus
    mitochondria : tuple of Mitochondrion
    closed : bool
        Whether the sample's ends are rounded and inside the volume; else it runs through.
    seed : int
        Of the texture.
    """

    columns: int
    slices: int
    voxel_um: float
    neurons: tuple[Neuron, ...]
    nuclei: tuple[Nucleus, ...]
    mitochondria: tuple[Mitochondrion, ...]
    closed: bool
    seed: int

    def voxels(self, points: Floats) -> Floats:
        """Points (z, y, x) in um as voxel coordinates of the drawn volume, pixel centres whole numbers."""
        middle = (np.array([self.slices, self.columns, self.columns]) - 1) / 2
        found: Floats = np.asarray(points) / self.voxel_um + middle
        return found

    def draw(self, part: slice = slice(None), *, finer: int = 1) -> Drawn:
        """Draw consecutive slices, on voxels smaller by `finer`; the same tissue whatever the grid.

        A neurite has the voxels to whose middles it is nearest, by distance from its line less its radius;
        thin ones swell less. Membranes, mitochondria, nuclei and the sample's surface are drawn by the
        share of a voxel that a plane at the surface's distance would leave on either side. What the grid
        cannot hold: a neurite thinner than some two voxels has few voxels or none in `labels`, and in
        `density` only what its membrane takes of the voxels it crosses. Where branches of one neuron touch
        there is no membrane.

        Raises
        ------
        LowdoseError
            If `part` picks no slices or leaves some out, or `finer` is less than 1.
        """
        z, y, x = voxel_centres(part, finer, slices=self.slices, columns=self.columns, voxel=self.voxel_um)
        voxel = self.voxel_um / finer
        bodies = [(n.neuron, n.centre, n.body) for n in self.nuclei]
        labels, wall = Territory(self.neurons, bodies).fill(z, y, x, self.surface, HALF + voxel)
        density = np.empty(labels.shape, np.float32)
        for k, blobs in enumerate(texture((z, y, x), self.extent(), GRAIN, [self.seed, 0])):
            density[k] = ELECTRON_DENSITY[CYTOPLASM] * (1 + TEXTURE * blobs)
        materials = np.full(labels.shape, CYTOPLASM, np.uint8)
        nuclei = np.zeros(labels.shape, np.int32)
        for line, radius, owner in self.mitochondria:
            box, away = sausage(line, radius, (z, y, x), voxel)
            self._paint(density, materials, labels, box, away, owner, MITOCHONDRION, voxel)
        for number, nucleus in enumerate(self.nuclei, 1):
            box, away = ellipsoid(nucleus.centre, nucleus.radii, (z, y, x), HALF + voxel)
            if not away.size:
                continue
            material = LABELLED if nucleus.labelled else NUCLEUS
            grids = [g[s] for g, s in zip((z, y, x), box, strict=True)]
            clumps = np.stack(list(texture(grids, self.extent(), CLUMP, [self.seed, number])))
            self._paint(density, materials, labels, box, away, nucleus.neuron, material, voxel, clumps)
            nuclei[box][(away < 0) & (labels[box] == nucleus.neuron)] = number
        for k, height in enumerate(z):
            points = np.stack(np.broadcast_arrays(height, y[:, None], x[None]), axis=-1)
            away = self.surface(points)
            tissue, sample = share(away, voxel), share(away - RIND, voxel)
            plane = density[k]
            plane += slab(wall[k], HALF, voxel) * (ELECTRON_DENSITY[MEMBRANE] - plane)
            plane += (1 - tissue) * (ELECTRON_DENSITY[RESIN] - plane)
            plane *= sample
            inside = away < 0
            materials[k][wall[k] < HALF] = MEMBRANE
            materials[k][~inside] = np.where(away < RIND, RESIN, AIR)[~inside]
            labels[k][(wall[k] < HALF) | ~inside] = 0
            nuclei[k][~inside] = 0
        return Drawn(density, labels, materials, nuclei)

    def extent(self) -> tuple[float, float, float]:
        """Edges of the volume (z, y, x) in um."""
        return self.slices * self.voxel_um, self.columns * self.voxel_um, self.columns * self.voxel_um

    def surface(self, points: Floats) -> Floats:
        """Signed distance (...) from the tissue's surface in um, negative inside, of points (..., 3)."""
        radius = PILLAR * self.columns * self.voxel_um - RIND
        away = np.hypot(points[..., 1], points[..., 2]) - radius
        if not self.closed:
            return away
        half = min(PILLAR * self.slices, self.slices / 2 - 1.5) * self.voxel_um - RIND
        edge = ROUND * min(radius, half)
        out, up = away + edge, np.abs(points[..., 0]) - half + edge
        corner = np.hypot(np.maximum(out, 0), np.maximum(up, 0))
        found: Floats = np.minimum(np.maximum(out, up), 0) + corner - edge
        return found

    @staticmethod
    def _paint(
        density: Floats,
        materials: npt.NDArray[np.uint8],
        labels: npt.NDArray[np.int32],
        box: tuple[slice, slice, slice],
        away: Floats,
        owner: int,
        material: int,
        voxel: float,
        texture: Floats | float = 0.0,
    ) -> None:
        """Replace what is inside a surface, in one neuron; a nucleus has an envelope."""
        own = labels[box] == owner
        patch = density[box]
        value = ELECTRON_DENSITY[material] * (1 + CHROMATIN * np.asarray(texture))
        patch += np.where(own, share(away, voxel), 0) * (value - patch)
        inside = own & (away < 0)
        materials[box][inside] = material
        if material in (NUCLEUS, LABELLED):
            patch += np.where(own, slab(np.abs(away), HALF, voxel), 0) * (ELECTRON_DENSITY[MEMBRANE] - patch)
