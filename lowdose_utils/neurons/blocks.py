"""Segmentation of volumes larger than memory, block by block, stitched without a seam."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from skimage.measure import label

from lowdose_utils.errors import LowdoseError
from lowdose_utils.neurons.agglomerate import agglomerate
from lowdose_utils.neurons.segment import Settings
from lowdose_utils.neurons.supervoxels import filled, supervoxels

Pairs = npt.NDArray[np.uint64]
Slices = tuple[slice, ...]


class Sliced(Protocol):
    """Anything that gives and takes parts of itself: numpy's memmap, h5py, zarr."""

    shape: tuple[int, ...]

    def __getitem__(self, part: Any, /) -> Any: ...

    def __setitem__(self, part: Any, value: Any, /) -> None: ...


class Block(NamedTuple):
    """A block and its surroundings: `core` and `around` in the volume, `inner` the core within `around`."""

    core: Slices
    around: Slices
    inner: Slices


def blocks(shape: tuple[int, ...], size: int, context: int) -> Iterator[Block]:
    """Cores of edge `size` that tile a volume (z, y, x), each with so many voxels around where there are."""
    for corner in product(*(range(0, n, size) for n in shape)):
        ends = [min(first + size, n) for first, n in zip(corner, shape, strict=True)]
        lows = [max(first - context, 0) for first in corner]
        highs = [min(end + context, n) for end, n in zip(ends, shape, strict=True)]
        yield Block(
            tuple(map(slice, corner, ends)),
            tuple(map(slice, lows, highs)),
            tuple(slice(a - low, b - low) for a, b, low in zip(corner, ends, lows, strict=True)),
        )


def segment_blocks(
    affinities: Sliced,
    fragments: Sliced,
    segments: Sliced,
    *,
    settings: Settings,
    block: int = 128,
    context: int = 32,
) -> int:
    """Supervoxels, agglomeration and the final labels of a volume of any size.

    First every block gets its supervoxels, made with its surroundings and cut to its core, numbered on from
    the last block's. Then every block agglomerates with its surroundings, and says which of its supervoxels
    it has joined; what any two blocks have joined in a chain is one cell (Funke et al., IEEE TPAMI 41, 1669,
    2019). The published segmentation has blocks of 128 with 32 around for the first, 512 with 64 for the
    second.

    Parameters
    ----------
    affinities : array-like, shape (3 or more, z, y, x)
        Only parts of it are in memory, as of the others.
    fragments : array-like of uint64, shape (z, y, x)
        Gets the supervoxels.
    segments : array-like of uint64, shape (z, y, x)
        Gets the cells, numbered from 1, membranes given to the nearest one.
    settings : Settings
    block, context : int
        Edge of a core and width of what is read around it, in voxels.

    Returns
    -------
    int
        How many segments there are.

    Raises
    ------
    LowdoseError
        If shapes differ, or a block is smaller than 8 voxels.
    """
    shape = tuple(affinities.shape[1:])
    if tuple(fragments.shape) != shape or tuple(segments.shape) != shape or block < 8 or context < 0:
        raise LowdoseError(
            "affinities, fragments, segments, block, context",
            found=(tuple(affinities.shape), tuple(fragments.shape), tuple(segments.shape), block, context),
            expected="(3, z, y, x), twice (z, y, x), at least 8 and 0",
            way_out="Make fragments and segments with np.lib.format.open_memmap, uint64.",
        )
    last = 0
    for core, around, inner in blocks(shape, block, context):
        parts = supervoxels(affinities[:3, *around], threshold=settings.membrane, distance=settings.distance)[
            inner
        ]
        # What the cut has parted is numbered apart: agglomeration joins it again.
        apart = label(parts.astype(np.int64), background=0, connectivity=1).astype(np.uint64)
        fragments[core] = np.where(apart > 0, apart + np.uint64(last), 0)
        last += int(apart.max())
    joined: list[Pairs] = []
    for _, around, inner in blocks(shape, block, context):
        pieces = np.asarray(fragments[around])
        if pieces.any():
            found = agglomerate(
                affinities[:3, *around], pieces, [settings.threshold], scoring=settings.scoring
            )
            joined.append(_joined(pieces, pieces[inner], found.lookups[0]))
    cells = _chains(joined, last)
    for core, around, inner in blocks(shape, block, context):
        segments[core] = cells[filled(np.asarray(fragments[around]))[inner]]
    return int(cells.max())


def _joined(pieces: Pairs, inner: Pairs, lookup: Pairs) -> Pairs:
    """Pairs of supervoxels in one segment, of segments that the core has a part in, shape (pair, 2)."""
    there = np.unique(pieces)
    there = there[there > 0]
    seen = np.unique(lookup[inner])
    there = there[np.isin(lookup[there], seen[seen > 0])]
    there = there[np.argsort(lookup[there], kind="stable")]
    same = lookup[there[1:]] == lookup[there[:-1]]
    return np.stack([there[:-1][same], there[1:][same]], axis=1)


def _chains(joined: list[Pairs], last: int) -> Pairs:
    """The cell of each supervoxel, numbered from 1; that of 0 is 0."""
    pairs = np.concatenate([np.empty((0, 2), np.uint64), *joined]).astype(np.int64)
    links = sparse.coo_array((np.ones(len(pairs), bool), pairs.T), shape=(last + 1, last + 1))
    _, group = connected_components(links, directed=False)
    # Nothing is joined to 0, so its group has only itself, and is the first.
    cells: Pairs = group.astype(np.uint64)
    return cells
