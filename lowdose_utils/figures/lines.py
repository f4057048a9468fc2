"""Curves that can be told apart without colour, in one panel or in many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from lowdose_utils.errors import LowdoseError
from lowdose_utils.figures.look import COLOURS, LOOK, MARKERS


class _PlainNumbers(LogFormatter):
    """Writes 20 and 0.1 at those ticks of a logarithmic axis that get a label."""

    def __call__(self, value: float, position: int | None = None) -> str:
        return f"{value:g}" if super().__call__(value, position) else ""


def curves(
    lines: Mapping[str, Sequence[npt.ArrayLike]],
    *,
    x_label: str,
    y_label: str,
    theory: Mapping[str, Sequence[npt.ArrayLike]] | None = None,
    log: str = "",
    size: tuple[float, float] = (6.0, 3.6),
) -> Figure:
    """Draw curves that can be told apart without colour.

    Parameters
    ----------
    lines : mapping of str to (x, y) or (x, y, error)
        What was measured, by name. Errors are half the bar's length, in the unit of y.
    x_label, y_label : str
        With units.
    theory : mapping of str to (x, y), optional
        What is expected: drawn thin and dashed, without points.
    log : str
        Names of the logarithmic axes: "", "x", "y" or "xy".
    size : (float, float)
        In inches.
    """
    with rc_context(LOOK):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        axes.set(xlabel=x_label, ylabel=y_label)
        axes.set_xscale("log" if "x" in log else "linear")
        axes.set_yscale("log" if "y" in log else "linear")
        for (name, (x, y, *error)), colour, marker in zip(
            lines.items(), cycle(COLOURS), cycle(MARKERS), strict=False
        ):
            bars, points = error[0] if error else None, marker if np.size(x) <= 30 else ""
            axes.errorbar(x, y, bars, label=name, color=colour, marker=points, markersize=4, capsize=2)
        for (name, (x, y)), dashes in zip((theory or {}).items(), cycle(["--", ":", "-."]), strict=False):
            axes.plot(x, y, label=name, color="#404040", linestyle=dashes, linewidth=1.0)
        for axis in (getattr(axes, f"{name}axis") for name in log):
            low, high = axis.get_view_interval()
            if low > 1e-3 and high < 1e5:  # beyond that, powers of ten read better
                axis.set_major_formatter(_PlainNumbers())
                axis.set_minor_formatter(_PlainNumbers(labelOnlyBase=False, minor_thresholds=(1.5, 0.5)))
        _, labels = axes.get_legend_handles_labels()
        columns = 3 if max(map(len, labels)) <= 24 else 2  # a long one would widen the figure
        figure.legend(loc="outside upper center", ncols=columns)  # never on top of a curve
    return figure


def small_multiples(
    panels: Mapping[str, Mapping[str, Sequence[npt.ArrayLike]]],
    *,
    x_label: str,
    y_label: str,
    log: str = "",
    columns: int = 3,
    height: float = 1.7,
) -> Figure:
    """Draw the same kind of curves in many panels with common axes.

    Parameters
    ----------
    panels : mapping of str to (mapping of str to (x, y))
        Lines by name, panels by title. A name has one colour and dash in all panels.
    x_label, y_label : str
        With units.
    log : str
        As for `curves`.
    columns : int
        Panels in a row.
    height : float
        Of a panel in inches.

    Raises
    ------
    LowdoseError
        If there is no curve.
    """
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    if not names:
        raise LowdoseError(
            "panels", found="no curve", expected="one at least", way_out="Give {title: {name: (x, y)}}."
        )
    across = min(columns, len(panels))
    down = -(-len(panels) // across)
    with rc_context(LOOK):
        figure = Figure(figsize=(7.2, height * down + 0.5), layout="constrained")
        grid = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        for axes, (title, lines) in zip(grid.flat, panels.items(), strict=False):
            axes.set_title(title)
            axes.set_xscale("log" if "x" in log else "linear")
            axes.set_yscale("log" if "y" in log else "linear")
            for name, (x, y) in lines.items():
                number = names.index(name)
                dashes = ("-", "--", ":", "-.")[number % 4]
                axes.plot(x, y, dashes, color=COLOURS[number % len(COLOURS)], linewidth=1.6, label=name)
        handles = {
            label: handle
            for axes in grid.flat
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4)
        figure.supxlabel(x_label, fontsize=9)
        figure.supylabel(y_label, fontsize=9)
    return figure
