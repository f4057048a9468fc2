"""A crowd of neurons, made to fit side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import shortest_path
from scipy.spatial import cKDTree

from lowdose_utils.phantoms.neurite_trees import STEP, Neuron

Floats = npt.NDArray[np.floating]

GAP, OWN = 0.05, 0.4  # um left between two neurites, and between branches of one neuron, for others
THIN = 0.1  # um: thinner lines keep others away as if they had this radius
ROUNDS, RENEW = 48, 6  # steps of yielding, and after how many neighbours are looked for again
SLACK = 0.3  # um: who is nearer than this to touching counts as a neighbour
EVEN = 0.08  # share of the way to the mean of its neighbours that a node goes in one step
STRIDE = 0.15  # um, greatest shift of a node in one step
DEPTH = 0.1  # um of tissue between a line and the surface, at least


def yielding(
    neurons: Sequence[Neuron],
    bodies: Sequence[tuple[int, Floats, float]],
    surface: Callable[[Floats], Floats],
) -> list[Neuron]:
    """Shift the lines of a crowd apart until they hardly overlap, and smooth them; who is thin yields more.

    Parameters
    ----------
    neurons : sequence of Neuron
    bodies : sequence of (int, array (3,), float)
        Cell bodies: index of the neuron that owns it, centre and radius in um. They stay where they are.
    surface : function of points (n, 3)
        Signed distance from the tissue's surface in um, negative inside; no node is left outside.

    Returns
    -------
    list of Neuron
        The same trees on shifted nodes.
    """
    counts = [len(n.nodes) for n in neurons]
    first = np.cumsum([0, *counts])
    owner = np.repeat(np.arange(len(counts)), counts)
    nodes = np.concatenate([n.nodes for n in neurons])
    radii = np.maximum(np.concatenate([n.radii for n in neurons]), THIN)
    parents = np.concatenate([n.parents + f for n, f in zip(neurons, first, strict=False)])
    parents[first[:-1]] = -1
    inner = np.flatnonzero(parents >= 0)
    ones = np.ones(2 * len(inner))
    ends = np.concatenate([inner, parents[inner]]), np.concatenate([parents[inner], inner])
    links = coo_matrix((ones, ends), (len(nodes),) * 2).tocsr()
    degree = np.asarray(links.sum(1)).ravel()
    paths = np.concatenate([_paths(n).ravel() for n in neurons])
    starts = np.cumsum([0, *(c * c for c in counts)])
    fixed = np.zeros(len(nodes), bool)
    fixed[[first[k] for k, _, _ in bodies]] = True
    for step in range(ROUNDS):
        if step % RENEW == 0:
            pairs = _near(nodes, radii, OWN + SLACK)
            same = owner[pairs[:, 0]] == owner[pairs[:, 1]]
            i, j = pairs.T
            local = starts[owner[i]] + (i - first[owner[i]]) * np.take(counts, owner[i]) + j - first[owner[i]]
            apart = np.full(len(pairs), np.inf)
            apart[same] = paths[local[same]]
            gap = np.where(same, OWN, GAP)
            kept = apart > 2 * (radii[i] + radii[j]) + 2 * STEP
            kept &= np.linalg.norm(nodes[i] - nodes[j], axis=1) < radii[i] + radii[j] + gap + SLACK
            pairs, gap = pairs[kept], gap[kept]
        i, j = pairs.T
        away = nodes[i] - nodes[j]
        distance = np.linalg.norm(away, axis=1)
        overlap = radii[i] + radii[j] + gap - distance
        push = overlap > 0
        i, j, overlap = i[push], j[push], overlap[push]
        unit = away[push] / np.maximum(distance[push], 1e-6)[:, None]
        share = radii[j] / (radii[i] + radii[j])
        shift = np.zeros_like(nodes)
        for axis in range(3):
            shift[:, axis] = np.bincount(i, share * overlap * unit[:, axis], len(nodes))
            shift[:, axis] -= np.bincount(j, (1 - share) * overlap * unit[:, axis], len(nodes))
        for k, centre, radius in bodies:
            away = nodes - centre
            distance = np.linalg.norm(away, axis=1)
            deep = np.maximum(radius + radii + GAP - distance, 0) * (owner != k)
            shift += 2 * (deep / np.maximum(distance, 1e-6))[:, None] * away
        length = np.linalg.norm(shift, axis=1)
        shift *= np.minimum(1, STRIDE / np.maximum(length, 1e-9))[:, None]
        between = np.asarray(links @ (nodes + shift)) / np.maximum(degree, 1)[:, None] - nodes - shift
        shift += EVEN * between * (degree > 1)[:, None]
        shift[fixed] = 0
        nodes = _kept_inside(nodes + shift, surface)
    return [
        Neuron(n.kind, nodes[a:b], n.parents, n.radii)
        for n, a, b in zip(neurons, first[:-1], first[1:], strict=True)
    ]


def _paths(neuron: Neuron) -> npt.NDArray[np.float32]:
    """Distances along the tree between all nodes, um."""
    n = len(neuron.nodes)
    child = np.arange(1, n)
    tree = coo_matrix((neuron.lengths()[1:], (child, neuron.parents[1:])), (n, n)).tocsr()
    return np.asarray(shortest_path(tree, "D", directed=False), np.float32)


def _near(nodes: Floats, radii: Floats, margin: float) -> npt.NDArray[np.int64]:
    """Pairs of nodes nearer than their radii and a margin; big ones looked for apart, for speed."""
    limit = 0.5 * float(radii.max())
    small, big = np.flatnonzero(radii <= limit), np.flatnonzero(radii > limit)
    found = [small[cKDTree(nodes[small]).query_pairs(2 * limit + margin, output_type="ndarray")]]
    tree = cKDTree(nodes[big])
    found.append(big[tree.query_pairs(4 * limit + margin, output_type="ndarray")])
    mixed = cKDTree(nodes[small]).sparse_distance_matrix(tree, 3 * limit + margin, output_type="ndarray")
    found.append(np.stack([small[mixed["i"]], big[mixed["j"]]], axis=1))
    pairs = np.concatenate(found)
    distance = np.linalg.norm(nodes[pairs[:, 0]] - nodes[pairs[:, 1]], axis=1)
    chosen: npt.NDArray[np.int64] = pairs[distance < radii[pairs].sum(1) + margin]
    return chosen


def _kept_inside(
    nodes: npt.NDArray[np.float64], surface: Callable[[Floats], Floats]
) -> npt.NDArray[np.float64]:
    """Nodes that left the tissue, moved back along the steepest way."""
    depth = surface(nodes) + DEPTH
    out = np.flatnonzero(depth > 0)
    if len(out):
        small = 1e-3 * np.eye(3)
        slope = np.stack([surface(nodes[out] + e) - surface(nodes[out] - e) for e in small], axis=1) / 2e-3
        nodes = nodes.copy()
        nodes[out] -= depth[out, None] * slope
    return nodes
