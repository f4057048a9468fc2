"""Images side by side on one grey scale, pixels left as they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter

from lowdose_utils.device import Array
from lowdose_utils.errors import LowdoseError
from lowdose_utils.figures.look import LOOK


def plain_image(array: Array, name: str) -> npt.NDArray[np.float64]:
    """A two-dimensional finite array as float64."""
    return _finite(array, name, ("row", "column"), "Choose one slice; fill or crop what is not finite.")


def plain_volume(array: Array, name: str) -> npt.NDArray[np.float64]:
    """A three-dimensional finite array as float64."""
    way_out = "Stack slices to a volume; fill or crop what is not finite."
    return _finite(array, name, ("slice", "row", "column"), way_out)


def _finite(array: Array, name: str, axes: tuple[str, ...], way_out: str) -> npt.NDArray[np.float64]:
    plain = array.detach().cpu().numpy() if isinstance(array, torch.Tensor) else np.asarray(array)
    if plain.ndim != len(axes) or plain.size == 0 or not np.isfinite(plain).all():
        raise LowdoseError(
            name,
            found=f"shape {plain.shape}, {int(np.size(plain) - np.isfinite(plain).sum())} values not finite",
            expected=f"({', '.join(axes)}) without NaN or infinity",
            way_out=way_out,
        )
    return plain.astype(np.float64)


def grey_limits(panels: Sequence[npt.NDArray[np.float64]]) -> tuple[float, float]:
    """Grey limits such that 1 % of all panels' pixels are clipped."""
    low, high = np.percentile(np.concatenate([panel.ravel() for panel in panels]), [0.5, 99.5])
    return float(low), float(high) if high > low else float(low) + 1.0


def nice_length(extent: float) -> tuple[float, str]:
    """Length of a scale bar, 1, 2 or 5 times a power of ten, at most a third of `extent`, and its label.

    Parameters
    ----------
    extent : float
        Width of the picture in metres.
    """
    power = 10.0 ** np.floor(np.log10(extent / 3))
    length = float(power * max(step for step in (1, 2, 5) if step * power <= extent / 3 * (1 + 1e-9)))
    return length, EngFormatter(unit="m")(length)


def _scale_bar(axes: Axes, shape: tuple[int, int], pixel_size: float) -> None:
    length, label = nice_length(shape[1] * pixel_size)
    height, width = shape[0] / 60, length / pixel_size
    left, top = shape[1] * 0.04, shape[0] * 0.95
    axes.add_patch(Rectangle((left, top), width, height, facecolor="white", edgecolor="black", linewidth=0.5))
    box = {"facecolor": "black", "edgecolor": "none", "alpha": 0.6, "pad": 1.5}
    axes.text(left, top - height, label, color="white", va="bottom", fontsize=8, bbox=box)


def images(
    panels: Sequence[Array],
    titles: Sequence[str],
    *,
    unit: str,
    pixel_size: float | None = None,
    limits: tuple[float, float] | None = None,
    columns: int | None = None,
    width: float = 7.2,
) -> Figure:
    """Draw images side by side on one shared grey scale, so that they can be compared.

    Parameters
    ----------
    panels : sequence of arrays, each (row, column)
        Finite; shapes may differ.
    titles : sequence of str
        One for each panel.
    unit : str
        What the grey values are, with unit: the colour bar's label.
    pixel_size : float, optional
        In metres; draws a scale bar in the first panel.
    limits : (float, float), optional
        Values shown black and white; by default 1 % of all pixels is clipped.
    columns : int, optional
        Panels in a row; by default up to three, and four in a square.
    width : float
        Of the figure in inches.

    Raises
    ------
    LowdoseError
        If there is no panel, counts differ, a panel is not a finite image.
    """
    if not len(panels) == len(titles) > 0:
        raise LowdoseError(
            "titles",
            found=f"{len(titles)} for {len(panels)} panels",
            expected="one each",
            way_out="Name each panel.",
        )
    plain = [plain_image(panel, f"panel {title!r}") for panel, title in zip(panels, titles, strict=True)]
    low, high = limits or grey_limits(plain)
    across = min(columns or (2 if len(plain) == 4 else 3), len(plain))
    down = -(-len(plain) // across)
    aspect = max(panel.shape[0] / panel.shape[1] for panel in plain)
    with rc_context(LOOK):
        size = (width, (width * 0.92 / across * aspect + 0.3) * down)
        figure = Figure(figsize=size, layout="compressed")
        grid = figure.subplots(down, across, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, panel, title in zip(grid.flat, plain, titles, strict=False):
            shown = axes.imshow(panel, vmin=low, vmax=high)
            axes.set_title(title)
        if pixel_size is not None:
            _scale_bar(grid[0, 0], plain[0].shape, pixel_size)
        figure.colorbar(shown, ax=grid, label=unit, fraction=0.05, aspect=30, pad=0.02)
    return figure
