"""Centre lines in rows, a group a row, each turned to lie flat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from lowdose_utils.errors import LowdoseError
from lowdose_utils.figures.look import COLOURS, LOOK
from lowdose_utils.figures.pictures import nice_length
from lowdose_utils.neurons.tracing_scores import Line

Floats = npt.NDArray[np.floating]
ROW, GAP = 1.0, 0.15  # height of a row in inches; gap between lines as a share of the row


def line_rows(groups: Mapping[str, Sequence[Line]], *, most: int = 12) -> Figure:
    """Draw neurons as their centre lines, a row for each group, all at one scale.

    Each is turned so that its two longest extents lie in the picture, the longest upwards.

    Parameters
    ----------
    groups : mapping of str to sequence of Line
        By what stands beside the row. Nodes are in um.
    most : int
        Neurons in a row, at most: those given first.

    Raises
    ------
    LowdoseError
        If there is no line to draw.
    """
    flat = {name: [_flat(line) for line in lines[:most]] for name, lines in groups.items() if lines}
    if not flat or most < 1:
        raise LowdoseError(
            "groups", found="no line", expected="at least one", way_out="Give {name: [Skeleton, ...]}."
        )
    every = [pieces for row in flat.values() for pieces in row]
    tall = max(float(np.ptp(pieces[..., 1])) for pieces in every) or 1.0
    wide = max(sum(float(np.ptp(p[..., 0])) + GAP * tall for p in row) for row in flat.values())
    with rc_context({**LOOK, "axes.grid": False}):
        figure = Figure(figsize=(7.2, ROW * len(flat) + 0.3), layout="constrained")
        grid = figure.subplots(len(flat), 1, squeeze=False)[:, 0]
        for axes, (name, row), colour in zip(grid, flat.items(), cycle(COLOURS), strict=False):
            at = 0.0
            for pieces in row:
                low = pieces.reshape(-1, 2).min(0)
                axes.add_collection(
                    LineCollection(list(pieces - low + [at, 0]), colors=colour, linewidths=1.2)
                )
                at += float(np.ptp(pieces[..., 0])) + GAP * tall
            axes.set(xlim=(0, wide), ylim=(-0.05 * tall, 1.05 * tall), aspect="equal")
            axes.set_ylabel(name, rotation=0, ha="right", va="center")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        length, text = nice_length(wide * 1e-6)
        axes.plot([0, length * 1e6], [-0.02 * tall] * 2, color="black", linewidth=2, clip_on=False)
        axes.set_xlabel(text, loc="left")
    return figure


def _flat(line: Line) -> Floats:
    """Pieces (n, 2 ends, across and up) along the two longest extents."""
    child = np.flatnonzero(line.parents >= 0)
    if not len(child):
        raise LowdoseError("line", found="no piece", expected="two nodes", way_out="Leave it out.")
    centred = line.nodes - line.nodes.mean(0)
    _, _, ways = np.linalg.svd(centred, full_matrices=False)
    turned = centred @ np.array([ways[1], ways[0]]).T
    found: Floats = np.stack([turned[child], turned[line.parents[child]]], axis=1)
    return found
