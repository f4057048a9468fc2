"""How neurons branch: a few numbers from the shape of a centre line alone, and groups of neurons by them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.metrics import silhouette_score
from sklearn.preprocessing import StandardScaler

from lowdose_utils.errors import LowdoseError
from lowdose_utils.neurons.tracing_scores import Line

Floats = npt.NDArray[np.floating]

#: What each feature is, in their order.
FEATURES = {
    "tips": "log(number of tips - 1): 0 for a line without a branch",
    "main share": "length of the longest path over that of all lines",
    "in a row": "greatest number of branch points on one path over the number of all; 1 without any",
}


class Groups(NamedTuple):
    """Neurons in groups.

    Attributes
    ----------
    labels : int array (n,)
        Group of each, from 1.
    number : int
        How many groups.
    silhouettes : dict of int to float
        Mean silhouette at each number of groups tried; the greatest has chosen.
    tree : array (n - 1, 4)
        The hierarchy, as of scipy.cluster.hierarchy.linkage.
    """

    labels: npt.NDArray[np.int64]
    number: int
    silhouettes: dict[int, float]
    tree: npt.NDArray[np.float64]


def branch_features(line: Line, *, shortest: float = 0.0) -> npt.NDArray[np.float64]:
    """Features of a tree's shape; neither its calibre, place, direction nor size is in them.

    Parameters
    ----------
    line : Line
        Of several trees the longest is taken.
    shortest : float
        End branches shorter than this are left out first: what a tracer would not call a branch.

    Returns
    -------
    float array (3,)
        See `FEATURES`.

    Raises
    ------
    LowdoseError
        If the line has fewer than two nodes.
    """
    nodes, links = np.asarray(line.nodes, float), _links(line)
    if not any(links):
        raise LowdoseError(
            "line",
            found=f"{len(nodes)} nodes",
            expected="at least two, linked",
            way_out="Leave out what has not been traced.",
        )
    pieces = _pieces(links)
    lengths = [_length(nodes, links, piece) for piece in pieces]
    piece = pieces[int(np.argmax(lengths))]
    if shortest > 0:
        piece = _without_short(nodes, links, piece, shortest)
    branches = [node for node in piece if len(links[node]) > 2]
    tips = [node for node in piece if len(links[node]) == 1]
    longest = _longest(links, tips[0], lambda a, b: float(np.linalg.norm(nodes[a] - nodes[b])))
    row = _longest(links, tips[0], lambda a, b: float(len(links[b]) > 2))
    return np.array(
        [
            np.log(len(tips) - 1),
            longest / _length(nodes, links, piece),
            row / len(branches) if branches else 1.0,
        ]
    )


def group(features: npt.ArrayLike, *, most: int = 8, method: str = "ward") -> Groups:
    """Group neurons by their features, hierarchically; the mean silhouette chooses the number of groups.

    Features are scaled to mean 0 and standard deviation 1 first. The truth has no part in it.

    Parameters
    ----------
    features : array (neurons, features)
    most : int
        Numbers of groups from 2 to this are tried.
    method : str
        How scipy.cluster.hierarchy.linkage joins groups.

    Raises
    ------
    LowdoseError
        If there are fewer than four neurons, or a value is not finite.
    """
    given = np.asarray(features, dtype=np.float64)
    if given.ndim != 2 or len(given) < 4 or not np.isfinite(given).all() or most < 2:
        raise LowdoseError(
            "features, most",
            found=f"shape {given.shape}, {most}",
            expected="finite features of at least four neurons, and at least two groups",
            way_out="Stack branch_features of all neurons.",
        )
    scaled = StandardScaler().fit_transform(given)
    tree = linkage(scaled, method)
    tried: dict[int, npt.NDArray[np.integer]] = {}
    silhouettes: dict[int, float] = {}
    for count in range(2, min(most, len(given) - 1) + 1):
        labels = fcluster(tree, count, "maxclust")
        if len(np.unique(labels)) == count:
            tried[count] = labels
            silhouettes[count] = float(silhouette_score(scaled, labels))
    if not tried:
        return Groups(np.ones(len(given), np.int64), 1, {}, tree)
    best = max(silhouettes, key=lambda count: silhouettes[count])
    return Groups(tried[best].astype(np.int64), best, silhouettes, tree)


def most_of(segments: npt.ArrayLike, truth: npt.ArrayLike) -> dict[int, int]:
    """For each segment the neuron of which it holds most voxels; segments that hold none are left out.

    Parameters
    ----------
    segments, truth : integer arrays of one shape
        0 is none.

    Raises
    ------
    LowdoseError
        If shapes differ.
    """
    found, known = np.asarray(segments), np.asarray(truth)
    if found.shape != known.shape:
        raise LowdoseError(
            "segments, truth", found=(found.shape, known.shape), expected="one shape", way_out="Cut alike."
        )
    both = (found > 0) & (known > 0)
    pairs, counts = np.unique(np.stack([found[both], known[both]]), axis=1, return_counts=True)
    # The last entry of a number wins: that with most voxels, and of equal ones the neuron of lowest number.
    order = np.lexsort((-pairs[1].astype(np.int64), counts))
    return {int(segment): int(neuron) for segment, neuron in pairs[:, order].T}


def _links(line: Line) -> list[list[int]]:
    links: list[list[int]] = [[] for _ in line.nodes]
    for k, parent in enumerate(line.parents):
        if parent >= 0:
            links[k].append(int(parent))
            links[parent].append(k)
    return links


def _walk(
    links: Sequence[Sequence[int]], start: int, weight: Callable[[int, int], float]
) -> tuple[dict[int, float], dict[int, int]]:
    """The weight of the way from a node to each, and the node before each."""
    away, before, order = {start: 0.0}, {start: -1}, [start]
    for node in order:
        for other in links[node]:
            if other not in away:
                away[other] = away[node] + weight(node, other)
                before[other] = node
                order.append(other)
    return away, before


def _longest(links: Sequence[Sequence[int]], start: int, weight: Callable[[int, int], float]) -> float:
    """Of all paths between tips: twice from a tip to the one farthest from it."""
    for _ in range(2):
        away, _ = _walk(links, start, weight)
        start = max((node for node in away if len(links[node]) == 1), key=lambda node: away[node])
    return away[start]


def _without_short(nodes: Floats, links: list[list[int]], piece: Sequence[int], shortest: float) -> list[int]:
    """Cut short end branches off, the shortest first; `links` is changed, what is left is returned."""
    gone: set[int] = set()
    while True:
        found = []
        for tip in (node for node in piece if len(links[node]) == 1):
            branch, before, node, length = [tip], tip, links[tip][0], 0.0
            while True:
                length += float(np.linalg.norm(nodes[node] - nodes[before]))
                if len(links[node]) != 2:
                    break
                branch.append(node)
                before, node = node, links[node][links[node][0] == before]
            if len(links[node]) > 2 and length < shortest:
                found.append((length, tip, branch, node))
        if not found:
            return [node for node in piece if node not in gone]
        _, _, branch, node = min(found, key=lambda one: one[:2])
        links[node].remove(branch[-1])
        for one in branch:
            links[one].clear()
        gone.update(branch)


def _pieces(links: Sequence[Sequence[int]]) -> list[list[int]]:
    left, found = set(range(len(links))), []
    while left:
        order = [left.pop()]
        for node in order:
            new = [k for k in links[node] if k in left]
            left.difference_update(new)
            order.extend(new)
        found.append(order)
    return found


def _length(nodes: Floats, links: Sequence[Sequence[int]], piece: Sequence[int]) -> float:
    return sum(float(np.linalg.norm(nodes[k] - nodes[j])) for k in piece for j in links[k]) / 2
