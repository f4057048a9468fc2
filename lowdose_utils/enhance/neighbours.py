"""A projection among those at neighbouring angles."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lowdose_utils.errors import LowdoseError
from lowdose_utils.project import check_angles


class Neighbours:
    """Which projections lie `half_width` steps before and after each, in the order of their directions.

    Beyond the ends of half a turn the scan goes on with its other end, mirrored about the rotation axis,
    since opposite projections are mirror images. Where half a turn is not covered, the window stays inside.

    Parameters
    ----------
    angles : array of shape (angle,)
        In radians, increasing, over at most half a turn.
    half_width : int
        Neighbours on each side.
    columns : int
        Of the detector.
    axis : float, optional
        Column of the rotation axis; the middle by default. The mirror is placed to the nearest half pixel.

    Raises
    ------
    LowdoseError
        If angles are not increasing, fewer than the context is wide, or over more than half a turn, or
        `half_width` or `axis` makes no sense.
    """

    def __init__(
        self, angles: npt.ArrayLike, half_width: int, columns: int, *, axis: float | None = None
    ) -> None:
        theta = check_angles(angles)
        steps = np.diff(theta)
        middle = (columns - 1) / 2 if axis is None else axis
        if half_width < 0 or not 0 <= middle <= columns - 1:
            raise LowdoseError(
                "half_width, axis",
                found=(half_width, axis),
                expected=f"not negative, and a column from 0 to {columns - 1}",
                way_out="Leave the axis out if it is the middle.",
            )
        if len(theta) < 2 * half_width + 1 or (steps <= 0).any() or np.ptp(theta) > np.pi + 1e-6:
            raise LowdoseError(
                "angles",
                found=f"{len(theta)} over {np.rad2deg(np.ptp(theta)):g} degrees",
                expected=f"at least {2 * half_width + 1}, increasing, over at most 180 degrees",
                way_out="Sort the projections, take half a turn, or a network without neighbours.",
            )
        number = len(theta)
        step = float(np.median(steps)) if number > 1 else np.pi
        missing = np.pi - np.ptp(theta)  # between the last direction and the first one again
        offsets = np.arange(-half_width, half_width + 1)
        places = np.arange(number)[:, None] + offsets
        if missing > 2 * step:
            places = np.clip(np.arange(number), half_width, number - 1 - half_width)[:, None] + offsets
        # A scan that holds both 0 and 180 degrees has its first direction twice: it is counted once.
        period = number - 1 if missing < step / 2 else number
        self.mirrored = (places < 0) | (places >= number)
        self.places = np.where(
            places < 0, places + period, np.where(places >= number, places - period, places)
        )
        self._mirror = np.clip(round(2 * middle) - np.arange(columns), 0, columns - 1)

    def of(
        self, index: int, projections: npt.NDArray[np.floating], rows: slice = slice(None)
    ) -> npt.NDArray[np.floating]:
        """Projection `index` in its context, (2 half_width + 1, row, column)."""
        return np.stack(
            [
                projections[place, rows][:, self._mirror] if mirrored else projections[place, rows]
                for place, mirrored in zip(self.places[index], self.mirrored[index], strict=True)
            ]
        )
