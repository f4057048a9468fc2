"""Centre lines of neurons: trees of four branch types."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]

KINDS = ("cable", "fork", "comb", "bush")
STEP = 0.3  # um between the nodes of a line
WAVES = (5.0, 12.0)  # um, least and greatest wavelength of a line's wandering
SLOPE = 0.35  # greatest slope of one wave against the straight line


@dataclass(frozen=True)
class Neuron:
    """A tree of centre lines.

    Attributes
    ----------
    kind : str
        Branch type: "cable", "fork", "comb" or "bush" (see `grow`).
    nodes : float array (n, 3)
        Points (z, y, x) in um from the volume's middle.
    parents : int array (n,)
        Index of the node before, -1 for the root, which is node 0; a parent comes before its children.
    radii : float array (n,)
        Radius at each node in um, before the neurites swell to fill what is left between them.
    """

    kind: str
    nodes: npt.NDArray[np.float64]
    parents: npt.NDArray[np.int64]
    radii: npt.NDArray[np.float64]

    def volume(self) -> float:
        """Volume of the cylinders along its pieces in um^3."""
        return float(np.pi * (self.radii**2 * self.lengths()).sum())

    def lengths(self) -> npt.NDArray[np.float64]:
        """Length in um of the piece between each node and its parent; 0 for the root."""
        found: npt.NDArray[np.float64]
        found = np.linalg.norm(self.nodes - self.nodes[np.maximum(self.parents, 0)], axis=1)
        return found


class _Tree:
    """A neuron while it grows inside the tissue."""

    def __init__(self, start: Floats, radius: float, inside: Callable[[Floats], npt.NDArray[np.bool_]]):
        self.nodes, self.parents, self.radii = [np.asarray(start, float)], [-1], [radius]
        self.inside = inside
        self.arms: list[int] = []  # nodes of each

    def arm(
        self, parent: int, way: Floats, length: float, radii: tuple[float, float], rng: np.random.Generator
    ) -> list[int]:
        """Add a wandering line that ends at the tissue's surface at the latest; the indices of its nodes."""
        along = STEP * np.arange(1, max(2, round(length / STEP) + 1))
        line = self.nodes[parent] + along[:, None] * way
        for across in np.linalg.svd(way[None])[2][1:]:  # two directions square to it
            wave, phase = rng.uniform(*WAVES), rng.random()
            swing = np.sin(2 * np.pi * (along / wave + phase)) - np.sin(2 * np.pi * phase)
            line += (SLOPE * wave / (2 * np.pi) * swing)[:, None] * across
        swell = 1 + 0.15 * np.sin(2 * np.pi * (along / rng.uniform(3, 8) + rng.random()))
        radius = np.geomspace(*radii, len(along)) * swell
        inside = self.inside(line)
        last = len(line) if inside.all() else int(np.argmin(inside))
        added = list(range(len(self.nodes), len(self.nodes) + last))
        self.arms.append(last)
        self.nodes.extend(line[:last])
        self.radii.extend(radius[:last])
        self.parents.extend([parent, *added[:-1]] if added else [])
        return added

    def shows(self, kind: str, size: float) -> float:
        """How far it shows its type inside the tissue; from 1 on enough."""
        reach = sorted((STEP * count / size for count in self.arms), reverse=True)
        if kind == "cable":
            return sum(reach) / 4
        if kind == "fork":
            return min(reach) / 2.5
        children = np.bincount(self.parents[1:], minlength=len(self.nodes))
        if kind == "comb":  # teeth that can be seen beside their line
            return sum(count * STEP >= 1.2 * size for count in self.arms[2:]) / 5
        return float((children == 0).sum() - 1) / 7

    def done(self, kind: str, calibres: tuple[float, float]) -> Neuron:
        radii = np.clip(self.radii, calibres[0] / 2, calibres[1] / 2)
        return Neuron(kind, np.array(self.nodes), np.array(self.parents, int), radii)


def grow(
    kind: str,
    through: Floats,
    inside: Callable[[Floats], npt.NDArray[np.bool_]],
    *,
    calibres: tuple[float, float],
    size: float,
    rng: np.random.Generator,
) -> tuple[Neuron, float]:
    """Grow a neuron through a point, as far as the tissue's surface.

    - cable: one line, from surface to surface, without a branch.
    - fork: a line from the surface to the point, where it parts into two alike children that leave it at
      25 to 40 degrees and run to the surface.
    - comb: a cable whose one half carries side branches, one in 0.8 um, square to it and
      thinner.
    - bush: a line from the surface to the point, where it parts into two, these again, and again: eight tips.

    Main lines are 20 to 100 % of `calibres[1]` thick (thin ones more often), side branches from half of their
    line's thickness down to `calibres[0]` (log-uniform); a bush thins by 0.55 to 0.75 at each parting.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    through : array (3,)
        Point in um.
    inside : function of points (n, 3)
        Whether each lies in the tissue.
    calibres : two floats
        Least and greatest diameter in um.
    size : float
        Factor on the length of side branches.
    rng : Generator

    Returns
    -------
    Neuron
    float
        How far it shows its type inside the tissue: 1 for a fork whose shortest arm has 2.5 um, a comb with
        five teeth of 1.2 um, a bush with eight tips of nine, a cable of 4 um (lengths times `size`).
    """
    far = 1e3 * STEP  # longer than any tissue drawn: the surface ends it
    thick = calibres[1] / 2
    main = float(np.exp(np.log(0.2) * np.sqrt(rng.random()))) * thick
    main = max(main, calibres[0] / 2)
    way = _direction(rng)
    tree = _Tree(through, main, inside)
    tree.arm(0, -way, far, (main, 0.9 * main), rng)
    if kind == "fork":
        for child in _pair(way, np.deg2rad(rng.uniform(25, 40)), rng):
            tree.arm(0, child, far, (0.8 * main, 0.7 * main), rng)
        return tree.done(kind, calibres), tree.shows(kind, size)
    if kind == "bush":
        _split(tree, 0, way, main, 3, calibres, size, rng)
        return tree.done(kind, calibres), tree.shows(kind, size)
    half = tree.arm(0, way, far, (main, 0.9 * main), rng)
    if kind == "comb":
        every = max(1, round(0.8 * size / STEP))
        turn = rng.uniform(0, 2 * np.pi)
        for node in half[1::every]:
            turn += rng.uniform(1.5, 3.0)  # radians about the line: neighbours point apart
            one, two = np.linalg.svd(way[None])[2][1:]
            side = np.cos(turn) * one + np.sin(turn) * two + 0.2 * rng.standard_normal() * way
            radius = _thinner(main, calibres, rng)
            length = size * rng.uniform(1.5, 3.0) + main
            tree.arm(node, side / np.linalg.norm(side), length, (radius, 0.8 * radius), rng)
    return tree.done(kind, calibres), tree.shows(kind, size)


def _split(
    tree: _Tree,
    parent: int,
    way: Floats,
    radius: float,
    levels: int,
    calibres: tuple[float, float],
    size: float,
    rng: np.random.Generator,
) -> None:
    for child in _pair(way, np.deg2rad(rng.uniform(30, 50)), rng):
        thin = _thinner(radius, calibres, rng, 0.75, 0.55)
        arm = tree.arm(parent, child, size * rng.uniform(1.5, 2.4) + radius, (thin, 0.9 * thin), rng)
        if levels > 1 and arm:
            _split(tree, arm[-1], child, thin, levels - 1, calibres, size, rng)


def _thinner(
    radius: float,
    calibres: tuple[float, float],
    rng: np.random.Generator,
    most: float = 0.5,
    least: float = 0.0,
) -> float:
    low = max(calibres[0] / 2, least * radius)
    high = max(low, most * radius)
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _direction(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    way = rng.standard_normal(3)
    return way / np.linalg.norm(way)


def _pair(way: Floats, angle: float, rng: np.random.Generator) -> list[npt.NDArray[np.float64]]:
    """Two directions at an angle to a third, one on either side of it."""
    one, two = np.linalg.svd(way[None])[2][1:]
    turn = rng.uniform(0, 2 * np.pi)
    side = np.cos(turn) * one + np.sin(turn) * two
    return [np.cos(angle) * way + s * np.sin(angle) * side for s in (-1, 1)]
