"""From labelled volumes to centre lines: thinning, a tree without loops, and no spurs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree
from scipy.spatial import cKDTree
from skimage.morphology import skeletonize

from lowdose_utils.errors import LowdoseError

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Skeleton:
    """A tree of centre lines, or several trees where a segment is in pieces.

    Attributes
    ----------
    segment : int
        Its number in the labelled volume.
    nodes : float array (n, 3)
        Points (z, y, x) in um from the volume's middle.
    parents : int array (n,)
        Index of the node before, -1 for a root; a parent comes before its children. A root is an end of the
        longest path of its tree.
    radii : float array (n,)
        Distance in um from the segment's surface.
    """

    segment: int
    nodes: npt.NDArray[np.float64]
    parents: npt.NDArray[np.int64]
    radii: npt.NDArray[np.float64]

    def lengths(self) -> npt.NDArray[np.float64]:
        """Length in um of the piece between each node and its parent; 0 for roots."""
        found: npt.NDArray[np.float64]
        found = np.linalg.norm(self.nodes - self.nodes[np.maximum(self.parents, 0)], axis=1)
        return np.where(self.parents < 0, 0.0, found)


def skeletons(
    labels: npt.ArrayLike,
    voxel_um: float,
    *,
    smallest: int = 200,
    spur: tuple[float, float] = (1.5, 0.6),
    smoothing: int = 3,
) -> list[Skeleton]:
    """Centre lines of all segments.

    Each segment is thinned to lines one voxel wide (Lee, Kashyap and Chu, CVGIP 56, 462, 1994, by scikit-
    image) after its cavities are filled, which would leave shells. Neighbouring voxels of the lines are
    linked, loops opened by a minimum spanning tree, and end branches cut off that are no longer than
    `spur[0]` times the segment's radius where they begin and `spur[1]` um: bumps of the surface make these.

    Parameters
    ----------
    labels : integer array (z, y, x)
        Segments from 1; 0 is none.
    voxel_um : float
        Edge of a voxel in um.
    smallest : int
        Voxels of a segment, at least; smaller ones are left out.
    spur : two floats
        (0, 0) keeps all end branches.
    smoothing : int
        How often each inner node is moved half-way to the mean of its neighbours, against the staircase of
        voxels, which makes lines some 10 % too long.

    Returns
    -------
    list of Skeleton
        In the order of the segments' numbers.

    Raises
    ------
    LowdoseError
        If there is no labelled volume or a number makes no sense.
    """
    volume = np.asarray(labels)
    fits = volume.ndim == 3 and volume.size > 0 and volume.dtype.kind in "ui"
    if not (fits and 0 < voxel_um < np.inf and smallest >= 1 and min(spur) >= 0 and smoothing >= 0):
        raise LowdoseError(
            "labels, voxel_um, smallest, spur, smoothing",
            found=(f"{volume.dtype} {volume.shape}", voxel_um, smallest, spur, smoothing),
            expected="a volume (z, y, x) of whole numbers, a length in um, a count from 1, numbers from 0",
            way_out="Give a segmentation, 0 where there is no segment.",
        )
    numbers, compact = np.unique(volume, return_inverse=True)
    compact = np.asarray(compact).reshape(volume.shape) + (0 if numbers[0] == 0 else 1)
    numbers = numbers[numbers > 0]
    sizes = np.bincount(compact.ravel(), minlength=len(numbers) + 1)
    middle = (np.array(volume.shape) - 1) / 2
    found = []
    for index, box in enumerate(ndimage.find_objects(compact, len(numbers)), 1):
        if box is None or sizes[index] < smallest:
            continue
        # A margin, so that what the volume's end cuts is a surface too.
        mask = np.pad(ndimage.binary_fill_holes(compact[box] == index), 1)
        low = np.array([s.start - 1 for s in box])
        places, depth = _thinned(mask)
        if not len(places):
            continue
        nodes, parents, radii = _tree(places, depth, (spur[0], spur[1] / voxel_um))
        nodes = _smoothed(nodes, parents, smoothing)
        found.append(
            Skeleton(int(numbers[index - 1]), (nodes + low - middle) * voxel_um, parents, radii * voxel_um)
        )
    return found


def _thinned(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], Floats]:
    """Voxels of the lines, and how deep they lie."""
    lines = skeletonize(mask)
    if not lines.any():  # a speck can vanish
        lines = np.zeros_like(mask)
        lines[np.unravel_index(ndimage.distance_transform_edt(mask).argmax(), mask.shape)] = mask.any()
    places = np.argwhere(lines)
    return places, ndimage.distance_transform_edt(mask)[tuple(places.T)]


def _tree(
    places: npt.NDArray[np.int64], depth: Floats, spur: tuple[float, float]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Nodes, parents and depths, parents first."""
    size = len(places)
    pairs = cKDTree(places).query_pairs(1.8, output_type="ndarray")
    apart = np.linalg.norm(places[pairs[:, 0]] - places[pairs[:, 1]], axis=1)
    links = minimum_spanning_tree(coo_array((apart, pairs.T), (size, size)).tocsr())
    links = links + links.T
    kept: list[int] = []
    parents: list[int] = []
    for start in _pieces(links):
        order, before = _from_an_end(links, start)
        alive = _without_spurs(order, before, places, depth, spur)
        place = np.full(size, -1)
        chosen = order[alive[order]]
        place[chosen] = len(kept) + np.arange(len(chosen))
        parents.extend([-1, *place[before[chosen[1:]]]])
        kept.extend(chosen)
    nodes = places[kept].astype(float)
    return nodes, np.array(parents, np.int64), depth[kept].astype(float)


def _pieces(links: object) -> Iterator[int]:
    """A node of each connected piece."""
    _, piece = connected_components(links, directed=False)
    _, first = np.unique(piece, return_index=True)
    yield from first


def _from_an_end(links: object, start: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Nodes of a piece from one end of its longest path on, and the node before each.

    Twice from a node to the one farthest from it: in a tree that is an end of the longest path.
    """
    far = start
    for _ in range(2):
        order, before = breadth_first_order(links, far, directed=False)
        steps = np.zeros(len(before))
        for node in order[1:]:
            steps[node] = steps[before[node]] + 1
        last, far = far, order[steps[order].argmax()]
    order, before = breadth_first_order(links, last, directed=False)
    return order, before


def _without_spurs(
    order: npt.NDArray[np.int64],
    before: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
    depth: Floats,
    spur: tuple[float, float],
) -> npt.NDArray[np.bool_]:
    """Which nodes stay: the shortest spur goes first, as what it leaves may be a line again."""
    alive = np.zeros(len(places), bool)
    alive[order] = True
    children = np.zeros(len(places), int)
    np.add.at(children, before[order[1:]], 1)
    tips = [node for node in order[1:] if not children[node]]
    while True:
        short = []
        for tip in tips:
            length, node, branch = 0.0, tip, []
            while node != order[0] and children[node] < 2:
                branch.append(node)
                length += float(np.linalg.norm(places[node] - places[before[node]]))
                node = before[node]
            # The root is the end of the longest path: what leads there is no spur.
            if children[node] > 1 and length <= spur[0] * depth[node] + spur[1]:
                short.append((length, tip, branch, node))
        if not short:
            return alive
        _, tip, branch, node = min(short, key=lambda one: one[:2])
        alive[branch] = False
        children[node] -= 1
        tips.remove(tip)


def _smoothed(
    nodes: npt.NDArray[np.float64], parents: npt.NDArray[np.int64], times: int
) -> npt.NDArray[np.float64]:
    inner = np.flatnonzero(parents >= 0)
    count = np.bincount(parents[inner], minlength=len(nodes)) + (parents >= 0)
    for _ in range(times):
        total = np.zeros_like(nodes)
        np.add.at(total, parents[inner], nodes[inner])
        total[inner] += nodes[parents[inner]]
        moved = (nodes + total / np.maximum(count, 1)[:, None]) / 2
        nodes = np.where((count > 1)[:, None], moved, nodes)
    return nodes
