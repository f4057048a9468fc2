"""From affinities to segmentations with chosen settings: one way for a network, a rival and the truth."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lowdose_utils.neurons.agglomerate import Agglomeration, agglomerate
from lowdose_utils.neurons.scores import Score, best, score_all
from lowdose_utils.neurons.supervoxels import filled, supervoxels

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))


class Settings(NamedTuple):
    """What a segmentation needs besides affinities.

    Attributes
    ----------
    membrane : float
        Mean affinity below which a voxel is membrane (`supervoxels`).
    distance : int
        Edge in voxels of the cube within which a seed is the furthest from membranes.
    scoring : str
        Of the agglomeration (`agglomerate`).
    threshold : float
        Up to which pairs are joined.
    closing : float
        Voxels by which supervoxels grow into membranes before that: pieces of a thin neurite that a few
        unsure voxels part have to touch to be joined.
    """

    membrane: float = 0.5
    distance: int = 5
    scoring: str = "quantile 75"
    threshold: float = 0.5
    closing: float = 1.5

    def supervoxels(self, affinities: npt.ArrayLike) -> npt.NDArray[np.uint64]:
        """What agglomeration begins with."""
        return filled(supervoxels(affinities, threshold=self.membrane, distance=self.distance), self.closing)


def segment(
    affinities: npt.ArrayLike, settings: Settings, thresholds: Sequence[float] | None = None
) -> Agglomeration:
    """Supervoxels and their agglomeration; what is left of membranes is then given to the nearest cell.

    Parameters
    ----------
    affinities : array, shape (3 or more, z, y, x)
    settings : Settings
    thresholds : sequence of float, optional
        In place of the settings' one.

    Returns
    -------
    Agglomeration
        Its `segments` are the volume at one of the thresholds.
    """
    pieces = settings.supervoxels(affinities)
    wanted = (settings.threshold,) if thresholds is None else thresholds
    joined = agglomerate(affinities, pieces, wanted, scoring=settings.scoring)
    return joined._replace(fragments=filled(pieces))


def choose(
    affinities: npt.ArrayLike,
    truth: npt.ArrayLike,
    *,
    membranes: Sequence[float] = (0.3, 0.4, 0.5, 0.6),
    distances: Sequence[int] = (5,),
    scorings: Sequence[str] = ("mean", "quantile 50", "quantile 75"),
    thresholds: Sequence[float] = THRESHOLDS,
) -> tuple[Settings, Score]:
    """The settings with the least variation of information on a validation slab, and that score.

    Parameters
    ----------
    affinities : array, shape (3 or more, z, y, x)
    truth : integer array, shape (z, y, x)
        As `scored_truth` gives it.
    membranes, distances, scorings, thresholds : sequences
        All combinations are tried.
    """
    tried: list[tuple[float, Settings, Score]] = []
    for membrane, distance in product(membranes, distances):
        pieces = Settings(membrane, distance).supervoxels(affinities)
        if not pieces.any():
            continue
        whole = filled(pieces)
        for scoring in scorings:
            joined = agglomerate(affinities, pieces, thresholds, scoring=scoring)
            found = best(score_all(joined._replace(fragments=whole), truth))
            tried.append((found.voi, Settings(membrane, distance, scoring, found.threshold), found))
    if not tried:  # no voxel above any of them: one piece of everything is as good as any
        settings = Settings(min(membranes), distances[0], scorings[0], min(thresholds))
        return settings, score_all(segment(affinities, settings), truth)[0]
    _, settings, found = min(tried, key=lambda one: one[0])
    return settings, found
