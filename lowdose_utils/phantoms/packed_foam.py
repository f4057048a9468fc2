"""Foam whose bubbles fill nearly all of the room: each new one is the largest that still fits."""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

from lowdose_utils.errors import LowdoseError
from lowdose_utils.phantoms.foam import Foam


def packed_foam(
    trials: int = 20_000,
    *,
    smallest: float = 0.01,
    largest: float = 0.2,
    radius: float = 0.95,
    height: float = 0.2,
    rng: np.random.Generator | int | None = None,
) -> Foam:
    """Fill a cylinder with bubbles, at each step the largest that fits around one of many random points.

    The way of Pelt, Hendriksen and Batenburg (J. Synchrotron Rad. 29, 2022): the bubbles touch neighbours,
    their sizes spread over decades, thin walls remain. `foam` is quicker and has more material.

    Parameters
    ----------
    trials : int
        Random points that may become centres; the more, the tighter the packing.
    smallest, largest : float
        Least and greatest radius, in units of half the image's side.
    radius : float
        Of the cylinder.
    height : float
        Centres lie within ``height / 2`` above and below 0.
    rng : Generator or int, optional
        Source of randomness.

    Returns
    -------
    Foam
        Bubbles from the largest to the smallest.

    Raises
    ------
    LowdoseError
        If the sizes make no sense.
    """
    if not 0 < smallest <= largest < radius or trials < 1 or height < 0:
        raise LowdoseError(
            "smallest, largest, radius, trials, height",
            found=(smallest, largest, radius, trials, height),
            expected="0 < smallest <= largest < radius, a trial at least, height not negative",
            way_out="Radii are in units of half the image's side.",
        )
    rng = np.random.default_rng(rng)
    turn = rng.uniform(0, 2 * np.pi, trials)
    away = radius * np.sqrt(rng.uniform(0, 1, trials))
    points = np.stack(
        [rng.uniform(-height / 2, height / 2, trials), away * np.sin(turn), away * np.cos(turn)], axis=1
    )
    room = np.minimum(radius - away, largest)
    tree, chosen = KDTree(points), []
    while room[best := int(room.argmax())] >= smallest:
        size = room[best]
        chosen.append((*points[best], size))
        # No room is larger than this one, so that only points nearer than twice of it are touched.
        near = tree.query_ball_point(points[best], 2 * size)
        room[near] = np.minimum(room[near], np.linalg.norm(points[near] - points[best], axis=1) - size)
    found = np.array(chosen).reshape(-1, 4)
    return Foam(radius, found[:, :3], found[:, 3])
