"""Dividing a scan into sections whose noise is independent, and seeing that they are fit for it.

Noise2Inverse needs noise of mean zero that is independent between the sections, no projection in two of
them, and every projection used as often as every other (Hendriksen, Pelt and Batenburg, IEEE Trans. Comput.
Imaging 6, 1320, 2020; Hendriksen et al., Sci. Rep. 11, 11895, 2021, Methods). Overlap teaches the network to
put the noise back; uneven use biases it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lowdose_utils.errors import LowdoseError
from lowdose_utils.project import check_angles

Indices = npt.NDArray[np.intp]
SAME = 1e-6  # radians: directions nearer than this are one


def split_angles(count: int, sections: int) -> list[Indices]:
    """Divide `count` projections into sections j, j + K, j + 2K, ... of a static scan.

    Parameters
    ----------
    count : int
        Projections of the scan, numbered in the order of their angles.
    sections : int
        K, from 2 up; with a `count` that K divides, the mean of the sections' reconstructions is the
        reconstruction of the scan.

    Raises
    ------
    LowdoseError
        If there are fewer than two sections, or more than projections.
    """
    if not 2 <= sections <= count:
        raise LowdoseError(
            "sections",
            found=f"{sections} of {count} projections",
            expected=f"2 to {count}",
            way_out="One section has no other to learn from; each needs a projection at least. 4 is usual.",
        )
    return [np.arange(j, count, sections) for j in range(sections)]


def time_steps(steps: int, per_step: int) -> list[Indices]:
    """Sections of a dynamic scan: each time step, its `per_step` projections one after the other.

    Raises
    ------
    LowdoseError
        If there are fewer than two steps, or none of projections.
    """
    if steps < 2 or per_step < 1:
        raise LowdoseError(
            "time steps",
            found=f"{steps} of {per_step} projections",
            expected="two at least, of one projection at least",
            way_out="Divide a single step by split_angles.",
        )
    return list(np.arange(steps * per_step).reshape(steps, per_step))


def check_sections(
    sections: Sequence[npt.ArrayLike], angles: npt.ArrayLike, *, turn: float = np.pi
) -> list[Indices]:
    """Give the sections back if they fulfil the conditions of Noise2Inverse on the use of projections.

    Sizes may differ by one. Between neighbouring directions of one of K sections at most 2 (K - 1)
    directions of the scan may be left out, the most that `split_angles` leaves out: a section must cover the
    turn as evenly as the scan does. That the noise has mean zero and is independent from projection to
    projection cannot be seen here: scintillator afterglow and gaps filled from neighbours break it.

    Parameters
    ----------
    sections : sequence of integer arrays
        Which projections belong to each section.
    angles : array of shape (angle,)
        Of the scan, in radians.
    turn : float
        Range after which directions repeat, in radians: pi for parallel beams.

    Raises
    ------
    LowdoseError
        If there are fewer than two sections; if a projection is in two of them, twice in one or in none; if
        their sizes differ by more than one; or if one leaves a part of the turn out. The angles are named.
    """
    theta = check_angles(angles)
    given = [np.asarray(one) for one in sections]
    count = len(theta)
    if len(given) < 2 or any(
        one.ndim != 1 or not one.size or one.dtype.kind not in "iu" or one.min() < 0 or one.max() >= count
        for one in given
    ):
        raise LowdoseError(
            "sections",
            found=f"{len(given)}, of shapes {[one.shape for one in given]}",
            expected=f"two at least, each a vector of places from 0 to {count - 1}",
            way_out="See split_angles and time_steps.",
        )
    found = [one.astype(np.intp) for one in given]
    times = np.bincount(np.concatenate(found), minlength=count)
    for word, wrong in (("used more than once", times > 1), ("never used", times == 0)):
        if wrong.any():
            raise LowdoseError(
                "sections",
                found=f"{np.count_nonzero(wrong)} projections {word}: {_named(theta, np.flatnonzero(wrong))}",
                expected="each projection in exactly one section",
                way_out="Leave projections out of the scan, with their angles, if they are not to be used.",
            )
    sizes = [len(one) for one in found]
    if max(sizes) - min(sizes) > 1:
        most, least = int(np.argmax(sizes)), int(np.argmin(sizes))
        raise LowdoseError(
            "sections",
            found=f"{max(sizes)} projections in section {most} ({_named(theta, found[most])}), "
            f"{min(sizes)} in section {least} ({_named(theta, found[least])})",
            expected="as many in each, or one more",
            way_out="See split_angles.",
        )
    rank = _ranks(theta, turn)
    number = int(rank.max()) + 1
    for k, one in enumerate(found):
        order = one[np.argsort(rank[one], kind="stable")]
        left_out = np.diff(rank[order], append=rank[order[0]] + number) - 1
        worst = int(np.argmax(left_out))
        if left_out[worst] > 2 * (len(found) - 1):
            ends = np.array([order[worst], order[(worst + 1) % len(order)]])
            raise LowdoseError(
                f"section {k}",
                found=f"{left_out[worst]} directions of the scan left out between {_named(theta, ends)}",
                expected=f"at most {2 * (len(found) - 1)} left out in a row, of {len(found)} sections",
                way_out="Deal the projections out in the order of their directions: "
                "order = np.argsort(angles % np.pi), then order[j::K].",
            )
    return found


def group_size(angles: npt.ArrayLike, *, turn: float = np.pi, largest_gap: float = 1.25) -> int:
    """The least number of successive time steps whose angles together cover the turn evenly.

    Of such a group one step is the network's input and the mean of the others its target (Hendriksen et al.
    2021, Methods). Where all steps take the same angles, two are enough.

    Parameters
    ----------
    angles : array of shape (step, angle)
        In radians.
    turn : float
        As for `check_sections`.
    largest_gap : float
        Between neighbouring directions of a group, in units of their mean gap.

    Returns
    -------
    int
        Leave the last steps out of the training if they fill no group.

    Raises
    ------
    LowdoseError
        If no number of steps will do; the most even one is named.
    """
    theta = np.asarray(angles, dtype=np.float64)
    if theta.ndim != 2 or len(theta) < 2 or not np.isfinite(theta).all() or not theta.size:
        raise LowdoseError(
            "angles",
            found=f"shape {theta.shape}, or values that are not finite",
            expected="(step, angle), two steps at least, finite",
            way_out="Give the angles of each time step as a row.",
        )
    unevenness = {}
    for size in range(2, len(theta) + 1):
        whole = len(theta) // size
        groups = theta[: whole * size].reshape(whole, -1)
        unevenness[size] = max(_largest_gap(group, turn) for group in groups)
        if unevenness[size] <= largest_gap:
            return size
    best = min(unevenness, key=lambda size: unevenness[size])
    raise LowdoseError(
        "angles of the time steps",
        found=f"gaps of {unevenness[best]:.2f} mean gaps at best, in groups of {best}",
        expected=f"at most {largest_gap}",
        way_out="Raise largest_gap to accept that, or divide each time step by split_angles.",
    )


def _ranks(theta: npt.NDArray[np.float64], turn: float) -> Indices:
    """The place of each projection's direction among the scan's distinct directions, in order."""
    direction = np.mod(theta, turn)
    direction[turn - direction < SAME] = 0  # directions just below the turn and those at 0 are the same
    order = np.argsort(direction, kind="stable")
    rank = np.empty(len(theta), np.intp)
    rank[order] = np.cumsum(np.diff(direction[order], prepend=direction[order[0]]) > SAME)
    return rank


def _largest_gap(theta: npt.NDArray[np.float64], turn: float) -> float:
    """Between neighbouring distinct directions, in mean gaps."""
    rank = _ranks(theta, turn)
    direction = np.mod(theta, turn)
    direction[turn - direction < SAME] = 0
    distinct = direction[np.unique(rank, return_index=True)[1]]
    gaps = np.diff(distinct, append=distinct[0] + turn)
    return float(gaps.max() * len(distinct) / turn)


def _named(theta: npt.NDArray[np.float64], places: Indices) -> str:
    """A few projections by number and angle."""
    words = [f"{place} ({np.rad2deg(theta[place]):.2f} degrees)" for place in places[:4]]
    return ", ".join(words) + (", ..." if len(places) > 4 else "")
