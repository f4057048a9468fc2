"""From the probability of each voxel to traced axons, and what they are worth against the truth."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.morphology import ball

from lowdose_utils.errors import LowdoseError

Floats = npt.NDArray[np.floating]
Numbers = npt.NDArray[np.int32]


class Matched(NamedTuple):
    """How traced objects correspond to true ones.

    `found` true ones have more than half of their voxels in one object; `merged` of these share that object
    with another found one. `invented` objects have less than half of their voxels in true ones.
    """

    true: int
    found: int
    merged: int
    invented: int


def trace(
    probability: npt.ArrayLike, *, threshold: float = 0.92, opening: int = 1, smallest: int = 100
) -> Numbers:
    """Threshold, three-dimensional morphology, and numbered objects, as Yang et al. 2018 trace axons.

    Parameters
    ----------
    probability : array (slice, row, column)
        Of being axon, 0 to 1.
    threshold : float
        0.92 in the paper.
    opening : int
        Radius in voxels of the ball with which the mask is opened, to part what barely touches and to drop
        specks; 0 for none. Holes are filled first.
    smallest : int
        Voxels of an object, at least.

    Returns
    -------
    int32 array (slice, row, column)
        0 outside, objects from 1, by decreasing size.

    Raises
    ------
    LowdoseError
        If there is no volume of probabilities, or a number makes no sense.
    """
    volume = np.asarray(probability, dtype=np.float32)
    within = volume.ndim == 3 and volume.size > 0 and volume.min() >= 0 and volume.max() <= 1
    if not (within and 0 < threshold <= 1 and opening >= 0 and smallest >= 1):
        raise LowdoseError(
            "probability, threshold, opening, smallest",
            found=f"shape {volume.shape}, {threshold}, {opening}, {smallest}",
            expected="a volume with values 0 to 1, a threshold in that, a radius from 0, a size from 1",
            way_out="Give one class of PixelClassifier.probabilities.",
        )
    mask = ndimage.binary_fill_holes(volume >= threshold)
    if opening:
        # The volume's end is no surface: an axon that leaves must not be eroded there.
        padded = np.pad(mask, opening, mode="edge")
        inner = (slice(opening, -opening),) * 3
        mask = ndimage.binary_opening(padded, ball(opening))[inner]
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())[1:]
    order = np.argsort(-sizes, kind="stable")[: np.count_nonzero(sizes >= smallest)]
    renamed = np.zeros(len(sizes) + 1, np.int32)
    renamed[order + 1] = np.arange(1, len(order) + 1)
    result: Numbers = renamed[labels]
    return result


def match(traced: npt.ArrayLike, truth: npt.ArrayLike, *, smallest: int = 1) -> Matched:
    """Count true objects found and merged, and objects that correspond to none.

    Parameters
    ----------
    traced, truth : integer array of one shape
        Objects from 1, 0 elsewhere; their numbers need not correspond.
    smallest : int
        Voxels of a true object, at least; smaller ones are not counted as true.

    Raises
    ------
    LowdoseError
        If shapes differ or are no integers.
    """
    ours, known = np.asarray(traced), np.asarray(truth)
    if ours.shape != known.shape or ours.dtype.kind not in "ui" or known.dtype.kind not in "ui":
        raise LowdoseError(
            "traced, truth",
            found=f"{ours.dtype} {ours.shape} and {known.dtype} {known.shape}",
            expected="whole numbers, one shape",
            way_out="Give label volumes of one field of view.",
        )
    shape = int(known.max(initial=0)) + 1, int(ours.max(initial=0)) + 1
    table = np.zeros(shape, np.int64)
    for one, other in zip(known, ours, strict=True):  # a slice at a time, to spare memory
        pairs = one.astype(np.int64).ravel() * shape[1] + other.ravel()
        table += np.bincount(pairs, minlength=table.size).reshape(shape)
    sizes = table.sum(1)
    counted = np.flatnonzero(sizes >= smallest)
    counted = counted[counted > 0]
    if table.shape[1] == 1:
        return Matched(len(counted), 0, 0, 0)
    holder = table[counted, 1:].argmax(1) + 1
    found = table[counted, holder] > 0.5 * sizes[counted]
    shared = np.bincount(holder[found], minlength=table.shape[1]) > 1
    areas = table.sum(0)[1:]
    invented = np.count_nonzero(table[1:, 1:].sum(0) < 0.5 * areas)
    return Matched(len(counted), int(found.sum()), int(shared[holder[found]].sum()), int(invented))


def sheath_thickness(
    volume: npt.ArrayLike,
    line: npt.ArrayLike,
    reach: float,
    *,
    every: float = 4.0,
    rays: int = 16,
    along: float = 2.0,
) -> npt.NDArray[np.float64]:
    """Thickness of the bright sheath around a line, at half height of each side, as one measures by hand.

    Rays leave the line at right angles. On each the highest value is the sheath; its inner side is where the
    values have fallen half-way to the least between line and sheath, its outer side where they have fallen
    half-way to the least within the sheath's own distance from the line beyond it, at most `reach`. A place's
    thickness is the median over its rays.

    Parameters
    ----------
    volume : array (slice, row, column)
        Attenuation, or anything in which the sheath is brighter than both sides.
    line : array (point, 3)
        Through the axon, in voxels.
    reach : float
        Length of the rays in voxels: beyond the sheath, but not into the next axon, whose sheath may be
        brighter and would be taken for this one.
    every : float
        Voxels between the places along the line.
    rays : int
        In a place.
    along : float
        Each profile is the mean of those in planes one voxel apart, up to half of this before and behind.

    Returns
    -------
    array (place, 2)
        Index of the point in `line`, and the thickness in voxels; NaN where fewer than half of the rays have
        a sheath, or leave the volume.

    Raises
    ------
    LowdoseError
        If shapes or numbers do not fit.
    """
    values, points = np.asarray(volume, dtype=np.float64), np.asarray(line, dtype=np.float64)
    fits = values.ndim == 3 and points.ndim == 2 and points.shape[1:] == (3,) and len(points) >= 3
    if not (fits and reach >= 2 and every > 0 and rays >= 1 and along >= 0):
        raise LowdoseError(
            "volume, line, reach, every, rays, along",
            found=f"shapes {values.shape} and {points.shape}, {reach}, {every}, {rays}, {along}",
            expected="(slice, row, column), (point, 3) of three at least; a reach from 2, positive numbers",
            way_out="Give the line in voxels: Cortex.voxels(tube.line).",
        )
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    length = np.concatenate([[0], np.cumsum(steps)])
    places = np.unique(
        np.searchsorted(length, np.arange(every / 2, length[-1], every)).clip(1, len(points) - 2)
    )
    out = np.arange(0, reach + 0.125, 0.25)
    turns = np.arange(rays) * 2 * np.pi / rays
    offsets = np.arange(-(along // 2), along // 2 + 1)
    found = []
    for place in places:
        tangent = points[place + 1] - points[place - 1]
        tangent /= np.linalg.norm(tangent)
        across = np.linalg.svd(tangent[None])[2][1:]
        ways = np.cos(turns)[:, None] * across[0] + np.sin(turns)[:, None] * across[1]
        at = points[place] + offsets[:, None, None, None] * tangent + out[:, None] * ways[:, None]
        inside = ((at >= 0) & (at <= np.array(values.shape) - 1)).all()
        profiles = (
            ndimage.map_coordinates(values, at.reshape(-1, 3).T, order=1).reshape(at.shape[:-1]).mean(0)
        )
        widths = [_width(profile) * 0.25 for profile in profiles] if inside else [np.nan]
        enough = np.isfinite(widths).mean() >= 0.5
        found.append((place, np.nanmedian(widths) if enough else np.nan))
    return np.array(found, dtype=np.float64).reshape(-1, 2)


def _width(profile: Floats) -> float:
    """Width of the highest peak in samples, from half-way down on one side to half-way down on the other."""
    top = int(profile.argmax())
    inner, outer = profile[: top + 1][::-1], profile[top : min(2 * top + 1, len(profile))]
    width = 0.0
    for side in (inner, outer):
        half = (profile[top] + side.min()) / 2
        below = np.flatnonzero(side < half)
        if not len(below):
            return float("nan")
        after = int(below[0])
        width += after - 1 + (side[after - 1] - half) / (side[after - 1] - side[after])
    return width
