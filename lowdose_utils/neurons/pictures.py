"""Cells in colours that let splits and merges be seen."""

from __future__ import annotations

import colorsys

import numpy as np
import numpy.typing as npt

from lowdose_utils.neurons.affinities import check_labels

RGB = npt.NDArray[np.float64]
GOLDEN = 0.618034  # of a turn of hue from one label to the next: neighbours in number differ most
DARK = 0.08  # grey of what has no label


def colours(count: int) -> RGB:
    """Colours (count + 1, 3) of labels 0, which is nearly black, to `count`."""
    found = np.full((count + 1, 3), DARK)
    for number in range(1, count + 1):
        hue, pale = number * GOLDEN % 1, number % 3
        found[number] = colorsys.hsv_to_rgb(hue, (0.85, 0.55, 0.7)[pale], (0.85, 1.0, 0.65)[pale])
    return found


def like_truth(segments: npt.ArrayLike, truth: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Number segments so that each cell's largest piece has the cell's number.

    A segment gets the number of the cell that it shares most voxels with, unless another segment shares more
    with that cell; then it gets a new number, above all cells'. So in the same colours a split cell has
    several, and merged cells have one.

    Parameters
    ----------
    segments, truth : integer arrays of one shape
        0 stays 0, and a truth of 0 is not looked at.
    """
    found, true = np.asarray(segments), check_labels(truth)
    numbers, dense = np.unique(found, return_inverse=True)
    dense = dense.reshape(found.shape)
    shared = np.zeros((len(numbers), int(true.max()) + 1), np.int64)
    both = (true > 0) & (found > 0)
    np.add.at(shared, (dense[both], true[both]), 1)
    cell = shared.argmax(1)
    largest = (shared.argmax(0)[cell] == np.arange(len(numbers))) & (shared.max(1) > 0)
    lookup = np.where(largest, cell, 0)
    others = np.flatnonzero(~largest & (numbers > 0))
    lookup[others] = shared.shape[1] + np.arange(len(others))
    return lookup[dense]


def painted(labels: npt.ArrayLike, raw: npt.ArrayLike | None = None, *, hiding: float = 0.6) -> RGB:
    """A plane of labels in colours, over grey values if there are any.

    Parameters
    ----------
    labels : integer array, shape (row, column)
    raw : array, shape (row, column), optional
        From black, its lowest, to white, its highest per cent.
    hiding : float
        How much the colours hide of the grey values, 0 to 1.
    """
    plane = np.asarray(labels)
    rgb: RGB = colours(int(plane.max(initial=0)))[plane]
    if raw is None:
        return rgb
    values = np.asarray(raw, np.float64)
    low, high = np.percentile(values, (1, 99))
    grey = np.clip((values - low) / max(high - low, 1e-12), 0, 1)[..., None]
    mixed: RGB = np.where(plane[..., None] > 0, hiding * rgb + (1 - hiding) * grey, grey * np.ones(3))
    return mixed
