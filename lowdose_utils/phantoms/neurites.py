"""Densely packed neurites in stained tissue: membranes, mitochondria, nuclei, and every neuron's centre line.

Stands in for the tissue of Kuan et al., "Dense neuronal reconstruction through X-ray holographic nano-
tomography", Nat. Neurosci. 23, 1637 (2020), where no truth is known for every voxel. Centre lines are drawn
first, as trees of four branch types; they yield to one another; then every neurite swells until the tissue
is full. Everything is geometry in um, so that the same tissue can be had on any grid. Left out: myelin,
glia, vessels, synapses, and the extracellular space, which counts as a part of the membranes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from lowdose_utils.errors import LowdoseError
from lowdose_utils.phantoms.drawn_neurites import (
    AIR,
    CYTOPLASM,
    ELECTRON_DENSITY,
    HALF,
    LABELLED,
    MEMBRANE,
    MITOCHONDRION,
    NUCLEUS,
    PILLAR,
    RESIN,
    RIND,
    Drawn,
    Mitochondrion,
    Nucleus,
    Tissue,
)
from lowdose_utils.phantoms.neurite_crowd import yielding
from lowdose_utils.phantoms.neurite_trees import KINDS, Neuron, grow

Floats = npt.NDArray[np.floating]

__all__ = [
    "AIR",
    "CYTOPLASM",
    "ELECTRON_DENSITY",
    "HALF",
    "KINDS",
    "LABELLED",
    "MEMBRANE",
    "MITOCHONDRION",
    "NUCLEUS",
    "PILLAR",
    "RESIN",
    "RIND",
    "Drawn",
    "Mitochondrion",
    "Neuron",
    "Nucleus",
    "Tissue",
    "tissue",
]

FILLING = 0.5  # share of the tissue that neurites have before they swell
USUAL = 6.5  # um: a tissue of this radius or more has nuclei and side branches of full size
NUCLEAR, PLASM = (1.2, 2.0), 0.3  # um: half axes of a nucleus; cytoplasm around it, at least
BEYOND = 1.0  # um of tissue on either side of an open sample's slices
TRIES, PROPOSALS, ANEW = 400, 8, 40


def tissue(
    columns: int = 128,
    slices: int = 128,
    *,
    voxel_um: float = 0.12,
    neurons: int | None = None,
    nuclei: int = 3,
    labelled: int = 2,
    closed: bool = True,
    calibres_um: tuple[float, float] = (0.05, 2.0),
    rng: int = 0,
) -> Tissue:
    """Fill a cylinder with neurons of four branch types in turn.

    Nuclei come first, each in the round cell body of a cable; then neurons through points that have most
    room, in directions drawn evenly over the sphere, anew (up to 40 times) until the tissue leaves enough of
    one to tell its type by; then all lines shift until they hardly overlap.

    Parameters
    ----------
    columns, slices : int
        Field of view and height in voxels, from 32 and 16; the sample's radius is 0.46 of the field, with a
        rind of resin, and its axis is z.
    voxel_um : float
        Edge of a voxel in um.
    neurons : int, optional
        How many; by default as many as fill half of the tissue before they swell (about 150 at the default
        size).
    nuclei, labelled : int
        How many nuclei, and how many of them are APEX2-labelled.
    closed : bool
        Round the sample's ends and keep them inside the volume; else it runs through, and so may lines.
    calibres_um : two floats
        Least and greatest diameter of the neurites before they swell.
    rng : int
        Seed.

    Returns
    -------
    Tissue

    Raises
    ------
    LowdoseError
        If a number makes no sense, the tissue is thinner than 1 um, or so many nuclei find no room.
    """
    counts = (columns, slices, nuclei, labelled, rng, *(() if neurons is None else (neurons,)))
    whole = all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in counts)
    sizes = (
        whole and columns >= 32 and slices >= 16 and min(nuclei, labelled, rng) >= 0 and labelled <= nuclei
    )
    enough = whole and (neurons is None or neurons >= max(1, nuclei))
    low, high = calibres_um
    if not (sizes and enough and 0.01 <= voxel_um <= 1 and 0.02 <= low < high <= 4):
        raise LowdoseError(
            "columns, slices, voxel_um, neurons, nuclei, labelled, calibres_um, rng",
            found=(columns, slices, voxel_um, neurons, nuclei, labelled, calibres_um, rng),
            expected="whole numbers from 32 and 16; 0.01 to 1 um; at least one neuron per nucleus; no more "
            "labelled than nuclei; two diameters from 0.02 to 4 um; a seed from 0",
            way_out="Leave them at their defaults if in doubt.",
        )
    empty = Tissue(columns, slices, voxel_um, (), (), (), closed, rng)
    generator = np.random.default_rng(rng)
    # Where the sample runs on, so does its tissue, a little.
    reach = np.array(empty.extent()) / 2 + (0 if closed else BEYOND) * np.array([1, 0, 0])
    room = float(-empty.surface(np.zeros(3)))
    if room < 0.5:
        raise LowdoseError(
            "columns, slices, voxel_um",
            found=f"tissue {2 * room:.2g} um thick",
            expected="at least 1 um inside the rind of resin",
            way_out="Take more or larger voxels.",
        )
    cells = _nuclei(empty, nuclei, labelled, reach, generator)
    grown: list[Neuron] = []
    points, volume = np.empty((0, 3)), _volume(empty, reach)
    # Bodies are there already; what is left is to be filled.
    target = FILLING * (volume - sum(4 / 3 * np.pi * n.body**3 for n in cells))
    filled = 0.0
    while len(grown) < neurons if neurons is not None else filled < target:
        k = len(grown)
        kind = "cable" if k < len(cells) else KINDS[k % len(KINDS)]
        best = -1.0
        crowd = cKDTree(points) if len(points) else None
        for _ in range(1 if k < len(cells) else ANEW):
            through = cells[k].centre if k < len(cells) else _roomiest(empty, crowd, cells, reach, generator)
            found, shown = grow(
                kind,
                through,
                lambda line: (empty.surface(line) < 0) & (abs(line[:, 0]) < reach[0]),
                calibres=calibres_um,
                size=min(1.0, room / USUAL),
                rng=generator,
            )
            if shown > best:
                neuron, best = found, shown
            if best >= 1:
                break
        grown.append(neuron)
        filled += neuron.volume()
        points = np.concatenate([points, neuron.nodes])
    bodies = [(n.neuron - 1, n.centre, n.body) for n in cells]
    fitted = yielding(grown, bodies, empty.surface)
    inner = tuple(m for k, n in enumerate(fitted, 1) for m in _mitochondria(n, k, generator))
    return Tissue(columns, slices, voxel_um, tuple(fitted), tuple(cells), inner, closed, rng)


def _volume(empty: Tissue, reach: Floats) -> float:
    """Volume of the tissue in um^3, by counting."""
    axes = [np.linspace(-r, r, 41)[:-1] + r / 40 for r in reach]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    return float((empty.surface(points) < 0).mean() * 8 * np.prod(reach))


def _anywhere(
    empty: Tissue, reach: Floats, depth: float, rng: np.random.Generator
) -> npt.NDArray[np.float64] | None:
    """A point of the tissue at least so many um below its surface, or None if there seems to be none."""
    for _ in range(TRIES):
        point = rng.uniform(-1, 1, 3) * reach
        if empty.surface(point) <= -depth:
            return point
    return None


def _nuclei(
    empty: Tissue, nuclei: int, labelled: int, reach: Floats, rng: np.random.Generator
) -> list[Nucleus]:
    """Place nuclei whose bodies do not touch; a tissue thinner than usual has smaller ones."""
    size = min(1.0, float(-empty.surface(np.zeros(3))) / USUAL)
    placed: list[Nucleus] = []
    for _ in range(TRIES):
        if len(placed) == nuclei:
            return placed
        radii = size * rng.uniform(*NUCLEAR) * rng.uniform(0.85, 1.15, 3)
        body = float(radii.max()) + PLASM * size
        centre = _anywhere(empty, reach, 0.8 * body, rng)
        if centre is None:
            continue
        if all(np.linalg.norm(centre - n.centre) > body + n.body + 0.2 for n in placed):
            placed.append(Nucleus(centre, radii, len(placed) < labelled, len(placed) + 1, body))
    if len(placed) == nuclei:
        return placed
    raise LowdoseError(
        "nuclei", found=nuclei, expected=f"no more than find room, here {len(placed)}", way_out="Take fewer."
    )


def _roomiest(
    empty: Tissue, crowd: cKDTree | None, cells: list[Nucleus], reach: Floats, rng: np.random.Generator
) -> Floats:
    """Of some random points the one farthest from all lines and bodies so far."""
    found = (_anywhere(empty, reach, 0.1, rng) for _ in range(PROPOSALS))
    some = np.array([p for p in found if p is not None] or [np.zeros(3)])
    room = crowd.query(some)[0] if crowd else np.ones(len(some))
    for n in cells:
        room = np.minimum(room, np.linalg.norm(some - n.centre, axis=1) - n.body)
    best: Floats = some[int(room.argmax())]
    return best


def _mitochondria(neuron: Neuron, number: int, rng: np.random.Generator) -> list[Mitochondrion]:
    """About one in 3 um of lines thicker than half a um, 0.6 to 1.8 um long."""
    found, free = [], 0
    for start in range(1, len(neuron.nodes)):
        if start < free or neuron.radii[start] < 0.25 or rng.random() > 0.12:
            continue
        stop = start + int(rng.integers(2, 7))
        run = np.arange(start, min(stop, len(neuron.nodes)))
        straight = neuron.parents[run[1:]] == run[:-1]
        run = run[: 1 + (len(straight) if straight.all() else int(np.argmin(straight)))]
        thin = float(neuron.radii[run].min())
        if len(run) < 2 or thin < 0.2:
            continue
        radius = min(0.3, thin * rng.uniform(0.4, 0.6))
        aside = rng.standard_normal(3)
        aside *= rng.uniform(0, 0.9) * (thin - radius) / np.linalg.norm(aside)
        found.append(Mitochondrion(neuron.nodes[run] + aside, radius, number))
        free = stop + 1
    return found
