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
from skimage.segmentation import relabel_sequential

from lowdose_utils.errors import LowdoseError
from lowdose_utils.neurons.agglomerate import agglomerate
from lowdose_utils.neurons.segment import Settings
from lowdose_utils.neurons.supervoxels import filled, supervoxels

Numbers = npt.NDArray[np.uint64]
Contacts = tuple[Numbers, npt.NDArray[np.int64], npt.NDArray[np.bool_]]
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
    the last block's. Then every block agglomerates with its surroundings, and says which supervoxels that
    touch in its core it has joined; where blocks disagree, those that see more of the boundary decide. What
    is joined in a chain is one cell (after Funke et al., IEEE TPAMI 41, 1669, 2019). The published
    segmentation has blocks of 128 with 32 around for the first, 512 with 64 for the second.

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
    if tuple(fragments.shape) != shape or tuple(segments.shape) != shape or block < 8 or context < 1:
        raise LowdoseError(
            "affinities, fragments, segments, block, context",
            found=(tuple(affinities.shape), tuple(fragments.shape), tuple(segments.shape), block, context),
            expected="(3, z, y, x), twice (z, y, x), at least 8 and 1",
            way_out="Make fragments and segments with np.lib.format.open_memmap, uint64.",
        )
    last = 0
    for core, around, inner in blocks(shape, block, context):
        bare = supervoxels(affinities[:3, *around], threshold=settings.membrane, distance=settings.distance)
        closed = filled(bare, settings.closing)[inner]
        # What the cut has parted is numbered apart: agglomeration joins it again. But not the mere skin of
        # a piece of another block.
        apart = label(closed.astype(np.int64), background=0, connectivity=1)
        real = np.unique(apart[bare[inner] > 0])
        apart = relabel_sequential(np.where(np.isin(apart, real), apart, 0))[0].astype(np.uint64)
        fragments[core] = np.where(apart > 0, apart + np.uint64(last), 0)
        last += int(apart.max())
    seen: list[Contacts] = []
    for _, around, inner in blocks(shape, block, context):
        pieces = np.asarray(fragments[around])
        if pieces.any():
            found = agglomerate(
                affinities[:3, *around], pieces, [settings.threshold], scoring=settings.scoring
            )
            seen.append(_contacts(pieces, inner, found.lookups[0]))
    cells = _chains(seen, last)
    for core, around, inner in blocks(shape, block, context):
        segments[core] = cells[filled(np.asarray(fragments[around]))[inner]]
    return int(cells.max())


def _contacts(pieces: Numbers, inner: Slices, lookup: Numbers) -> Contacts:
    """Pairs of supervoxels that touch in the core, on how many voxels' faces, and whether they were joined.

    A face between two voxels counts in the core that holds the second of them.
    """
    pairs = []
    for axis in range(3):
        first = inner[axis].start
        part = slice(first if first else 1, inner[axis].stop)
        before = slice(part.start - 1, part.stop - 1)
        here, there = (pieces[*inner[:axis], one, *inner[axis + 1 :]] for one in (part, before))
        touch = (here != there) & (here > 0) & (there > 0)
        pairs.append(np.stack([np.minimum(here, there)[touch], np.maximum(here, there)[touch]], axis=1))
    found, faces = np.unique(np.concatenate(pairs), axis=0, return_counts=True)
    return found, faces, lookup[found[:, 0]] == lookup[found[:, 1]]


def _chains(seen: list[Contacts], last: int) -> Numbers:
    """The cell of each supervoxel, numbered from 1; that of 0 is 0.

    Where blocks disagree about a pair, those that see more of its boundary decide.
    """
    pairs = np.concatenate([np.empty((0, 2), np.uint64), *(one[0] for one in seen)]).astype(np.int64)
    votes = np.concatenate([np.empty(0), *(np.where(one[2], one[1], -one[1]) for one in seen)])
    balance = sparse.coo_array((votes, pairs.T), shape=(last + 1, last + 1)).tocsr()
    # Nothing touches 0, so its group has only itself, and is the first.
    _, group = connected_components(balance > 0, directed=False)
    cells: Numbers = group.astype(np.uint64)
    return cells
