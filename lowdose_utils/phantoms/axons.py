"""Myelinated axons in stained cortex: tubes with a bright sheath of known thickness, cell bodies, vessels.

Stands in for the mouse brain of Yang et al., "Low-dose x-ray tomography through a deep convolutional neural
network", Sci. Rep. 8, 2575 (2018), which no public store has. A pillar of tissue in resin stands along z;
everything in it is drawn from geometry, so that the same tissue can be had on any grid. Left out: thin
unmyelinated axons and dendrites, which a field of small blobs stands for, nodes of Ranvier, and branches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from lowdose_utils.errors import LowdoseError
from lowdose_utils.phantoms.drawn_tissue import (
    AIR,
    ATTENUATION,
    AXOPLASM,
    CELL,
    LUMEN,
    MYELIN,
    NEUROPIL,
    NUCLEUS,
    PILLAR,
    RESIN,
    RIND,
    TEXTURE,
    VESSEL,
    Cortex,
    DrawnTissue,
    Tube,
)

Floats = npt.NDArray[np.floating]

__all__ = [
    "AIR",
    "ATTENUATION",
    "AXOPLASM",
    "CELL",
    "LUMEN",
    "MYELIN",
    "NEUROPIL",
    "NUCLEUS",
    "PILLAR",
    "RESIN",
    "RIND",
    "TEXTURE",
    "VESSEL",
    "Cortex",
    "DrawnTissue",
    "Tube",
    "cortex",
]

GAP = 0.06  # um of neuropil between two structures, at least
STEP = 0.05  # um between the points of a line
WAVES = (6.0, 12.0)  # um, least and greatest wavelength of a line's wandering
TRIES = 600


def cortex(
    columns: int = 192,
    slices: int = 64,
    *,
    pixel_um: float = 0.06,
    filling: float = 0.2,
    cells: int = 1,
    vessels: int = 1,
    rng: int = 0,
) -> Cortex:
    """Put axons, cell bodies and vessels into a pillar at random, none touching another.

    Axons run mostly along z, within some 30 degrees, a fifth of them anyhow; they wander by slow waves, and
    their calibre with them. The outer radius is lognormal about 0.65 um, the ratio of inner to outer radius
    ("g-ratio") normal about 0.7, constant along an axon.

    Parameters
    ----------
    columns, slices : int
        Field of view and height in voxels; the pillar's radius is 0.46 of the field.
    pixel_um : float
        Edge of a voxel in um.
    filling : float
        Share of the tissue that axons are to fill, 0 to 0.3; less, where no more find room.
    cells, vessels : int
        How many to try to place first; they may reach out of the pillar, where they are cut.
    rng : int
        Seed.

    Raises
    ------
    LowdoseError
        If a number makes no sense.
    """
    whole = all(isinstance(n, int | np.integer) for n in (columns, slices, cells, vessels, rng))
    sizes = whole and columns >= 16 and slices >= 1 and min(cells, vessels, rng) >= 0
    if not (sizes and 0 < pixel_um < np.inf and 0 <= filling <= 0.3):
        raise LowdoseError(
            "columns, slices, pixel_um, filling, cells, vessels, rng",
            found=(columns, slices, pixel_um, filling, cells, vessels, rng),
            expected="whole numbers from 16, 1; a length in um; a share up to 0.3; whole numbers from 0",
            way_out="Leave them at their defaults if in doubt.",
        )
    generator = np.random.default_rng(rng)
    radius, height = PILLAR * columns * pixel_um - RIND, slices * pixel_um
    others: list[Tube] = []
    for kind, number in ((_cell, cells), (_vessel, vessels)):
        for _ in range(number):
            _place(kind, others, (), (radius, height), generator)
    tubes: list[Tube] = []
    filled = 0.0
    while filled < filling * np.pi * radius**2 * height:
        tube = _place(_axon, tubes, others, (radius, height), generator)
        if tube is None:
            break
        within = (np.hypot(tube.line[:, 1], tube.line[:, 2]) < radius) & (abs(tube.line[:, 0]) < height / 2)
        filled += float(np.pi * (tube.outer[within] ** 2).sum() * STEP)
    return Cortex(columns, slices, pixel_um, (*tubes, *others), len(tubes), rng)


def _place(
    kind: Callable[[float, float, np.random.Generator], Tube],
    placed: list[Tube],
    others: Sequence[Tube],
    size: tuple[float, float],
    rng: np.random.Generator,
) -> Tube | None:
    """Try to add a structure that touches none of the others; None, and no addition, if none of many does."""
    for _ in range(TRIES):
        tube = _cut(kind(*size, rng), *size)
        if not len(tube.line):
            continue
        tree = cKDTree(tube.line)
        if all(_apart(tube, tree, other) for other in (*placed, *others)):
            placed.append(tube)
            return tube
    return None


def _cut(tube: Tube, radius: float, height: float) -> Tube:
    """The piece of a tube that can be seen in the pillar."""
    away = np.hypot(tube.line[:, 1], tube.line[:, 2])
    seen = (away < radius + tube.outer) & (np.abs(tube.line[:, 0]) < height / 2 + tube.outer)
    return tube._replace(line=tube.line[seen], outer=tube.outer[seen], inner=tube.inner[seen])


def _apart(tube: Tube, tree: cKDTree, other: Tube) -> bool:
    away, _ = tree.query(other.line)
    # Where the radius varies the nearest point need not have the least clearance: take the largest radius.
    return bool((away - other.outer - tube.outer.max() > GAP).all())


def _line(centre: Floats, direction: Floats, half: float, slope: float, rng: np.random.Generator) -> Floats:
    """Points along a straight line with two slow waves across it."""
    along = np.arange(-half, half + STEP / 2, STEP)
    across = np.linalg.svd(direction[None])[2][1:]  # two directions square to it
    line: Floats = centre + along[:, None] * direction
    for way in across:
        length = rng.uniform(*WAVES)
        line += (slope * length / (2 * np.pi) * np.sin(2 * np.pi * (along / length + rng.random())))[
            :, None
        ] * way
    return line


def _direction(tilt: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A unit vector (z, y, x) at a normal angle about z (radians)."""
    angle, turn = rng.normal(0, tilt), rng.uniform(0, np.pi)
    return np.array([np.cos(angle), np.sin(angle) * np.sin(turn), np.sin(angle) * np.cos(turn)])


def _centre(
    radius: float, height: float, rng: np.random.Generator, least: float = 0.0
) -> npt.NDArray[np.float64]:
    """A point in the tissue, outside a share `least` of its cross-section around the middle."""
    away, turn = radius * np.sqrt(rng.uniform(least, 1)), rng.uniform(0, 2 * np.pi)
    return np.array([rng.uniform(-height, height) / 2, away * np.sin(turn), away * np.cos(turn)])


def _axon(radius: float, height: float, rng: np.random.Generator) -> Tube:
    if rng.random() < 0.2:
        direction = rng.standard_normal(3)
        direction /= np.linalg.norm(direction)
    else:
        direction = _direction(np.deg2rad(17), rng)
    outer = float(np.clip(rng.lognormal(np.log(0.65), 0.3), 0.35, 1.3))
    ratio = float(np.clip(rng.normal(0.7, 0.05), 0.55, 0.8))
    half = np.hypot(radius, height / 2) + WAVES[1] / 4
    line = _line(_centre(radius, height, rng), direction, half, 0.2, rng)
    along = np.arange(len(line)) * STEP
    swell = 1 + 0.12 * np.sin(2 * np.pi * (along / rng.uniform(*WAVES) + rng.random()))
    return Tube(line, outer * swell, ratio * outer * swell, MYELIN, AXOPLASM)


def _vessel(radius: float, height: float, rng: np.random.Generator) -> Tube:
    half = np.hypot(radius, height / 2) + WAVES[1] / 4
    line = _line(_centre(radius, height, rng, 0.4), _direction(np.deg2rad(25), rng), half, 0.1, rng)
    outer = np.full(len(line), rng.uniform(1.2, 1.8))
    return Tube(line, outer, outer - 0.25, VESSEL, LUMEN)


def _cell(radius: float, height: float, rng: np.random.Generator) -> Tube:
    line = _line(_centre(radius, height, rng, 0.8), _direction(1.0, rng), 0.75, 0.0, rng)
    outer = np.full(len(line), rng.uniform(2.2, 3.2))
    return Tube(line, outer, rng.uniform(0.55, 0.7) * outer, CELL, NUCLEUS)
