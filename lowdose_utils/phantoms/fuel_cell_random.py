"""Drawn at random for the simulated fuel cell: fibres, and pools of water one after the other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]


def _fibres(
    side: int,
    low: float,
    thickness: float,
    diameter: float,
    porosity: float,
    reach: float,
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Points on the axes and directions of the fibres of the layer above (`side` 1) or below (-1)."""
    # Random lines across a disc of radius `reach` are pi / 2 reach long on average; of overlapping fibres
    # that together fill v times the layer, exp(-v) is left free.
    count = round(-np.log(porosity) * 2 * reach * thickness / (np.pi * diameter**2 / 4))
    turn, offset = rng.uniform(0, np.pi, count), rng.uniform(-reach, reach, count)
    lowest, highest = low + diameter / 2, low + thickness - diameter / 2
    middle, tilt = rng.uniform(lowest, highest, count), rng.normal(0, 2 * diameter, count)
    y = side * np.clip([middle - tilt, middle + tilt], lowest, highest)
    sine, cosine = np.sin(turn), np.cos(turn)
    directions = np.stack([2 * reach * sine, y[1] - y[0], 2 * reach * cosine], axis=1)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return np.stack([-offset * cosine, y.mean(axis=0), offset * sine], axis=1), directions


def _path(end: Floats, rise: float, begin: float, finish: float, rng: np.random.Generator) -> Floats:
    """Pools (pool, 6) that fill one after the other, `rise` up to `end`; times in parts of the series."""
    count, beside = 10, 2
    walk = np.cumsum(rng.normal(0, rise / 8, (count, 3)), axis=0)
    walk -= walk[-1]
    walk[:, 1] = -rise * (1 - np.arange(1, count + 1) / count)
    radius = rng.uniform(0.09, 0.17, (count, 1 + beside)) * rise
    # Each pool of the path has two more beside it, a little later.
    shift = rng.normal(0, 1.2, (count, 1 + beside, 3)) * radius[..., None]
    shift[:, 0] = 0
    start = begin + (finish - begin) * (np.arange(count)[:, None] + np.arange(1 + beside)) / count
    times = np.stack([radius, start, start + (finish - begin) / 3], axis=2)
    return np.concatenate([end + walk[:, None] + shift, times], axis=2).reshape(-1, 6)
