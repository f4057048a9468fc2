"""Class maps and scribbles in colours over a grey image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from lowdose_utils.errors import LowdoseError
from lowdose_utils.figures.look import COLOURS, LOOK
from lowdose_utils.figures.pictures import grey_limits, plain_image

RGB = npt.NDArray[np.float64]


def overlay(image: npt.ArrayLike, classes: npt.ArrayLike, alpha: float = 1.0) -> RGB:
    """Lay classes in colours over a grey image.

    Parameters
    ----------
    image : array, shape (row, column)
        Its darkest and brightest half per cent are clipped.
    classes : integer array of the same shape
        0 lets the image through; class 1 has the first of `COLOURS`, and so on.
    alpha : float
        How much the colours hide, 0 to 1.

    Returns
    -------
    array, shape (row, column, 3), values from 0 to 1

    Raises
    ------
    LowdoseError
        If the shapes differ, or there are more classes than colours.
    """
    grey = plain_image(np.asarray(image), "image")
    marks = np.asarray(classes)
    if marks.shape != grey.shape or marks.min() < 0 or marks.max() > len(COLOURS):
        raise LowdoseError(
            "classes",
            found=f"shape {marks.shape}, from {marks.min()} to {marks.max()}",
            expected=f"shape {grey.shape}, from 0 to {len(COLOURS)}",
            way_out="Give the class map of this image; join classes if there are more than colours.",
        )
    low, high = grey_limits([grey])
    rgb = np.clip((grey - low) / (high - low), 0, 1)[..., None].repeat(3, axis=-1)
    there = marks > 0
    rgb[there] = (1 - alpha) * rgb[there] + alpha * np.array([to_rgb(c) for c in COLOURS])[marks[there] - 1]
    return rgb


def class_images(panels: Mapping[str, RGB], names: Sequence[str], *, columns: int = 3) -> Figure:
    """Draw coloured images by title, with a legend of the classes' names below.

    Parameters
    ----------
    panels : mapping of str to array (row, column, 3)
        From `overlay`.
    names : sequence of str
        Class 1 first.
    """
    if not panels:
        raise LowdoseError(
            "panels", found="none", expected="one at least", way_out="Give one from `overlay`."
        )
    down = -(-len(panels) // columns)
    tall = max(panel.shape[0] / panel.shape[1] for panel in panels.values())
    with rc_context(LOOK):
        figure = Figure(figsize=(7.2, (7.2 / columns * tall + 0.25) * down + 0.3), layout="constrained")
        grid = figure.subplots(down, columns, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, (title, panel) in zip(grid.flat, panels.items(), strict=False):
            axes.imshow(panel, interpolation="nearest")
            axes.set_title(title)
        keys = [Patch(facecolor=colour) for colour in COLOURS[: len(names)]]
        figure.legend(keys, names, loc="outside lower center", ncols=min(len(names), 5))
    return figure
