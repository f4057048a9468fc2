"""What a segmentation is worth to who traces neurons: true centre lines against the segments along them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from scipy import sparse

from lowdose_utils.errors import LowdoseError

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.integer]
Void = Literal["neuron", "segment"]


class Line(Protocol):
    """A neuron's centre line, such as `phantoms.neurites.Neuron` or `neurons.skeletons.Skeleton`."""

    @property
    def nodes(self) -> npt.NDArray[np.float64]: ...

    @property
    def parents(self) -> npt.NDArray[np.int64]: ...


class TracingScore(NamedTuple):
    """Attributes
    ----------
    edge_accuracy : float
        Share of the lines' length whose both ends lie in one segment that holds no other neuron.
    expected_run_length : float
        In the unit of the nodes; see `tracing_score`.
    normalised_run_length : float
        The same over the mean length of a line, as the XPRESS challenge has it; without any error it is
        above 1 where lines differ in length.
    longest_run_length : float
        Of a segmentation without any error on the same lines.
    splits : int
        Pieces of line whose ends lie in different segments, background included.
    merges : int
        Segments that hold more than one neuron, each counted once less than its neurons.
    merged_pairs : int
        Pairs of neurons that share a segment.
    rand_split, rand_merge : float
        Of the nodes: how many of all pairs of nodes of one neuron lie in one segment, and how many of all
        pairs in one segment are of one neuron (adapted Rand recall and precision).
    neurons : int
        Lines scored: each connected part of a line inside the volume counts as one.
    length : float
        Of all of them together.
    """

    edge_accuracy: float
    expected_run_length: float
    normalised_run_length: float
    longest_run_length: float
    splits: int
    merges: int
    merged_pairs: int
    rand_split: float
    rand_merge: float
    neurons: int
    length: float


def segments_along(lines: Sequence[Line], segments: npt.ArrayLike, places: Sequence[Floats]) -> list[Ints]:
    """The segment at every node: 0 in the background, -1 outside of the volume.

    Parameters
    ----------
    lines : sequence of Line
    segments : integer array (z, y, x)
    places : sequence of arrays (n, 3)
        The lines' nodes in voxels, voxel middles whole numbers: ``tissue.voxels(neuron.nodes)``.

    Raises
    ------
    LowdoseError
        If there is no labelled volume, or places and lines do not correspond.
    """
    volume = np.asarray(segments)
    shapes = [np.shape(place) for place in places] == [line.nodes.shape for line in lines]
    if volume.ndim != 3 or volume.dtype.kind not in "ui" or not shapes:
        raise LowdoseError(
            "segments, places",
            found=f"{volume.dtype} {volume.shape}, {len(places)} places for {len(lines)} lines",
            expected="whole numbers (z, y, x), and for every line its nodes in voxels",
            way_out="places=[tissue.voxels(neuron.nodes) for neuron in tissue.neurons]",
        )
    found: list[Ints] = []
    for place in places:
        nearest = np.rint(place).astype(int)
        inside = ((nearest >= 0) & (nearest < volume.shape)).all(1)
        here = np.full(len(nearest), -1, np.int64)
        here[inside] = volume[tuple(nearest[inside].T)]
        found.append(here)
    return found


def resampled(line: Line, step: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Nodes and parents of the same line with nodes at most `step` apart, so that no error slips through.

    Raises
    ------
    LowdoseError
        If `step` is not positive.
    """
    if not step > 0:
        raise LowdoseError("step", found=step, expected="a positive length", way_out="Take a voxel's edge.")
    nodes, parents, last = [], [], np.zeros(len(line.nodes), int)
    for k, (node, parent) in enumerate(zip(line.nodes, line.parents, strict=True)):
        if parent < 0:
            nodes.append(node)
            parents.append(-1)
        else:
            start = line.nodes[parent]
            pieces = max(1, int(np.ceil(np.linalg.norm(node - start) / step)))
            before = last[parent]
            for share in np.arange(1, pieces + 1) / pieces:
                nodes.append(start + share * (node - start))
                parents.append(before)
                before = len(nodes) - 1
        last[k] = len(nodes) - 1
    return np.array(nodes), np.array(parents, np.int64)


def tracing_score(
    lines: Sequence[Line], along: Sequence[Ints], *, stray: float = 0.0, void: Void = "neuron"
) -> TracingScore:
    """Compare true lines with the segments at their nodes.

    The expected run length is that of Januszewski et al., Nat. Methods 15, 605 (2018), by the definition of
    funlib.evaluate: the mean, over all points of all lines, of the length of the correct run that holds the
    point,

        ERL = sum over lines i and segments s of l_is^2 / sum over lines i of L_i,

    L_i being a line's length and l_is the length of its pieces with both ends in segment s. Points of pieces
    between two segments or in the background have run length 0, and so has, with ``void="neuron"``, as in
    funlib.evaluate today, every point of a neuron that shares a segment with another one; with
    ``void="segment"``, as in its first version, only what runs in the shared segment. The edge accuracy
    always counts by segments.

    Nodes outside of the volume are left out, and what remains of a line is cut there into separate ones. In
    the background every node is a segment of its own (as the XPRESS challenge counts): each piece of line
    that enters it or lies in it is a split, and neurons do not merge there.

    Parameters
    ----------
    lines : sequence of Line
    along : sequence of int arrays (n,)
        From `segments_along`.
    stray : float
        A segment holds a neuron only if this many nodes of it, or more, lie in it, as a share of the
        segment's nodes: 0 counts the first voxel that strays over a membrane as a merge, as funlib.evaluate
        does; 0.05 forgives 1 in 20.
    void : {"neuron", "segment"}
        What a merge makes void for the expected run length.

    Raises
    ------
    LowdoseError
        If there is nothing to score or a number makes no sense.
    """
    if not lines or [len(a) for a in along] != [len(line.nodes) for line in lines] or not 0 <= stray < 0.5:
        raise LowdoseError(
            "lines, along, stray",
            found=f"{len(lines)} lines, {len(along)} lists of segments, {stray}",
            expected="at least one line, for each node a segment, and a share from 0, below 0.5",
            way_out="See segments_along.",
        )
    at, neuron, ends, lengths = _joined(lines, along)
    background = at == 0
    if not len(ends):
        raise LowdoseError(
            "lines",
            found="none inside the volume",
            expected="some",
            way_out="Check the places: voxels, (z, y, x).",
        )
    # Background nodes become segments of their own.
    _, at = np.unique(np.where(background, -1 - np.arange(len(at)), at), return_inverse=True)
    table = sparse.csr_array((np.ones(len(at)), (neuron, at)))
    table.sum_duplicates()
    in_segment, in_neuron = table.sum(0), table.sum(1)
    held = table.copy()
    held.data = (held.data >= np.maximum(1, stray * in_segment[held.indices])).astype(float)
    holders = np.asarray(held.sum(0)).ravel()
    a, b = ends.T
    same = (at[a] == at[b]) & ~background[a]
    good = same & (holders[at[a]] < 2)
    if stray:  # who strays does not run rightly there
        strays = np.asarray(held[neuron[a], at[a]]).ravel() == 0
        good &= ~strays
    count = table.shape[0]
    merged = np.asarray((held @ (holders > 1).astype(float)) > 0)
    line_length = np.bincount(neuron[a], lengths, count)
    run = good & ~merged[neuron[a]] if void == "neuron" else good
    runs = sparse.csr_array((lengths[run], (neuron[a[run]], at[a[run]])), shape=table.shape)
    runs.sum_duplicates()
    total = lengths.sum()
    run_length = float((runs.data**2).sum() / total)
    counted = line_length > 0
    pairs_in_segments, pairs_in_neurons = (in_segment**2).sum(), (in_neuron**2).sum()
    both = (table.data**2).sum()
    return TracingScore(
        float(lengths[good].sum() / total),
        run_length,
        run_length / float(line_length[counted].mean()),
        float((line_length**2).sum() / total),
        int((~same).sum()),
        int(np.maximum(holders - 1, 0).sum()),
        int((holders * (holders - 1) / 2).sum()),
        float(both / pairs_in_neurons),
        float(both / pairs_in_segments),
        int(counted.sum()),
        float(total),
    )


def _joined(
    lines: Sequence[Line], along: Sequence[Ints]
) -> tuple[Ints, npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Nodes inside the volume: their segments, their connected lines, the pieces' ends, and their lengths."""
    first = np.cumsum([0, *(len(a) for a in along)])
    nodes = np.concatenate([line.nodes for line in lines])
    pairs = []
    for line, (start, _) in zip(lines, pairwise(first), strict=True):
        child = np.flatnonzero(line.parents >= 0)
        pairs.append(np.stack([child + start, line.parents[child] + start], axis=1))
    ends = np.concatenate(pairs)
    at = np.concatenate(along)
    inside = at >= 0
    ends = ends[inside[ends].all(1)]
    place = np.cumsum(inside) - 1
    count = int(inside.sum())
    lengths = np.linalg.norm(nodes[ends[:, 0]] - nodes[ends[:, 1]], axis=1)
    ends = place[ends]
    graph = sparse.coo_array((np.ones(len(ends)), ends.T), (count, count))
    _, neuron = sparse.csgraph.connected_components(graph, directed=False)
    return at[inside], neuron.astype(np.int64), ends, lengths
