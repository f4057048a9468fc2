"""How well a segmentation agrees with the truth, over thresholds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse
from skimage.measure import label
from skimage.metrics import adapted_rand_error, variation_of_information

from lowdose_utils.errors import LowdoseError
from lowdose_utils.neurons.affinities import Labels, check_labels, grow_boundary
from lowdose_utils.neurons.agglomerate import Agglomeration


class Score(NamedTuple):
    """Errors of a segmentation.

    Attributes
    ----------
    threshold : float
        Of the agglomeration.
    split, merge : float
        The two parts of the variation of information, in bits: what one has still to be told to know a
        voxel's segment when its cell is known, and the other way round.
    rand : float
        Adapted Rand error, 1 less the F-score over pairs of voxels.
    """

    threshold: float
    split: float
    merge: float
    rand: float

    @property
    def voi(self) -> float:
        """Variation of information: split and merge together, in bits."""
        return self.split + self.merge


def scored_truth(labels: npt.ArrayLike, *, grow: int = 1) -> Labels:
    """The truth as it is scored: its membranes left out, and what a cut has parted counted apart.

    Parameters
    ----------
    labels : integer array, shape (z, y, x)
        Cells of the part that is scored, 0 for membrane and outside.
    grow : int
        Layers taken off every cell: where exactly a membrane's middle lies is not what is asked.

    Returns
    -------
    integer array
        Connected pieces of each cell, numbered from 1.
    """
    connected: Labels = label(check_labels(labels), background=0, connectivity=1)
    return grow_boundary(connected, grow)


def score(segments: npt.ArrayLike, truth: npt.ArrayLike, *, threshold: float = np.nan) -> Score:
    """Compare a segmentation with the truth; where the truth is 0, nothing is asked.

    A segment 0 counts as one like others.

    Raises
    ------
    LowdoseError
        If shapes differ or the truth is 0 everywhere.
    """
    found, true = np.asarray(segments), check_labels(truth)
    _, found = np.unique(found, return_inverse=True)
    table = _table(found.reshape(np.shape(segments)), true)
    return _of_table(table, threshold)


def score_all(agglomeration: Agglomeration, truth: npt.ArrayLike) -> list[Score]:
    """Scores of all thresholds, for little more than one: voxels are counted once, by supervoxel.

    Raises
    ------
    LowdoseError
        If shapes differ or the truth is 0 everywhere.
    """
    table = _table(agglomeration.fragments.astype(np.int64), check_labels(truth))
    scores = []
    for threshold, lookup in zip(agglomeration.thresholds, agglomeration.lookups, strict=True):
        _, segment = np.unique(lookup, return_inverse=True)
        ones = np.ones(len(segment))
        joined = sparse.csr_array((ones, (np.arange(len(segment)), segment)))
        scores.append(_of_table(table @ joined[: table.shape[1]], threshold))
    return scores


def best(scores: list[Score]) -> Score:
    """The one with the least variation of information: for a validation slab, never for what is scored."""
    return min(scores, key=lambda one: one.voi)


def _table(found: npt.NDArray[np.integer], true: Labels) -> sparse.csr_array:
    """Voxels by cell and segment."""
    if found.shape != true.shape or not true.any():
        raise LowdoseError(
            "truth",
            found=f"shape {true.shape}, {np.count_nonzero(true)} voxels labelled",
            expected=f"shape {found.shape}, and labels",
            way_out="Cut both alike; see neurons.scored_truth.",
        )
    asked = true > 0
    counts = np.ones(np.count_nonzero(asked))
    return sparse.csr_array((counts, (true[asked], found[asked])))


def _of_table(table: sparse.csr_array, threshold: float) -> Score:
    table.sum_duplicates()
    images = np.zeros((1, 1), int)  # scikit-image compares their shapes, and nothing else, if given a table
    split, merge = variation_of_information(images, images, table=table / table.sum())
    with np.errstate(invalid="ignore", divide="ignore"):  # where no two voxels are of one cell or segment
        rand, _, _ = adapted_rand_error(table=table)
    return Score(float(threshold), float(split), float(merge), float(rand))
