"""Small volumes with known cells, for the tests of this room."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from lowdose_utils.neurons.affinities import affinities, grow_boundary, neighbours


def voronoi(size=40, cells=12, rng=0):
    """Cells of the nearest of some points: labels from 1, no gaps."""
    points = np.random.default_rng(rng).uniform(0, size, (cells, 3))
    grid = np.stack(np.meshgrid(*3 * [np.arange(size)], indexing="ij"), axis=-1)
    return (cKDTree(points).query(grid)[1] + 1).astype(np.int32)


def ideal(labels, grow=1):
    """Affinities to the next voxels, boundaries grown."""
    found, _ = affinities(grow_boundary(labels, grow), neighbours(1))
    return found.astype(np.float32)


def blurred(labels, noise=0.15, rng=0):
    """Affinities as a network might give them."""
    exact = ideal(labels)
    soft = np.stack([ndimage.gaussian_filter(one, 0.7) for one in exact])
    return np.clip(soft + noise * np.random.default_rng(rng).standard_normal(soft.shape), 0, 1).astype(
        np.float32
    )


def membranes(labels, rng=0, noise=0.2):
    """A picture: bright membranes in dark cells."""
    edge = (grow_boundary(labels) == 0).astype(np.float32)
    raw = ndimage.gaussian_filter(edge, 0.7)
    return (raw + noise * np.random.default_rng(rng).standard_normal(raw.shape)).astype(np.float32)
