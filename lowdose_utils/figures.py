"""The book's figures: one look, a text for those who cannot see them, pixels left as they are."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
import numpy.typing as npt
import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter
from PIL import Image

from lowdose_utils.device import Array
from lowdose_utils.errors import LowdoseError

DPI = 96  # and 7.2 inches: the width of the book's column, pixel for pixel
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe and Ito
MARKERS = "osD^vP*"
LOOK = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e0e0e0",
    "legend.frameon": False,
    "image.cmap": "gray",
}
URI_BYTES = 150_000


@dataclass(frozen=True)
class Shown:
    """A PNG or a piece of html with its text alternative, as the value of a cell.

    `lowdose_utils.pages` carries the text of a PNG from here to the book's html.
    """

    mime: str
    content: str
    alt: str

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        return {self.mime: self.content, "text/plain": self.alt}, {self.mime: {"alt": self.alt}}


def _image(array: Array, name: str) -> npt.NDArray[np.float64]:
    """A two-dimensional finite array as float64."""
    plain = array.detach().cpu().numpy() if isinstance(array, torch.Tensor) else np.asarray(array)
    if plain.ndim != 2 or plain.size == 0 or not np.isfinite(plain).all():
        raise LowdoseError(
            name,
            found=f"shape {plain.shape}, {int(np.size(plain) - np.isfinite(plain).sum())} values not finite",
            expected="a two-dimensional image without NaN or infinity",
            way_out="Choose one slice; fill or crop what is not finite.",
        )
    return plain.astype(np.float64)


def _limits(panels: Sequence[npt.NDArray[np.float64]]) -> tuple[float, float]:
    """Grey limits such that 1 % of all panels' pixels are clipped."""
    low, high = np.percentile(np.concatenate([panel.ravel() for panel in panels]), [0.5, 99.5])
    return float(low), float(high) if high > low else float(low) + 1.0


def _base64(buffer: io.BytesIO) -> str:
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _text(alt: str) -> str:
    """A text alternative that says something."""
    if len(alt.split()) < 3:
        raise LowdoseError(
            "alt",
            found=repr(alt),
            expected="a sentence",
            way_out="Say what the picture shows, and what to see in it.",
        )
    return " ".join(alt.split())


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
    plain = [_image(panel, f"panel {title!r}") for panel, title in zip(panels, titles, strict=True)]
    low, high = limits or _limits(plain)
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
        axes.legend()
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
    """
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
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
                axes.plot(x, y, dashes, color=COLOURS[number % len(COLOURS)], linewidth=1.2, label=name)
        handles = {
            label: handle
            for axes in grid.flat
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4)
        figure.supxlabel(x_label, fontsize=9)
        figure.supylabel(y_label, fontsize=9)
    return figure


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], alt: str) -> Shown:
    """A table of results for the page: texts as they are, numbers with three significant digits.

    Parameters
    ----------
    columns : sequence of str
        Headings, with units.
    rows : sequence of sequences
        As many entries as `columns`; the first names the row.
    alt : str
        What is to be seen in it.
    """

    def cell(value: object) -> str:
        return f"{value:.3g}" if isinstance(value, float) else html.escape(str(value))

    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in columns)
    body = "".join(
        f'<tr><th scope="row">{cell(row[0])}</th>'
        + "".join(f"<td>{cell(value)}</td>" for value in row[1:])
        + "</tr>"
        for row in rows
    )
    caption = f"<caption>{html.escape(_text(alt))}</caption>"
    content = (
        f'<table class="dataframe table">{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    )
    return Shown("text/html", content, _text(alt))


def show(figure: Figure, alt: str) -> Shown:
    """Turn a figure into a picture that carries its text alternative.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        From `images` or `curves`.
    alt : str
        What a person who cannot see it should know: what is shown, and what is to be seen in it.
    """
    buffer, small = io.BytesIO(), io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white", bbox_inches="tight", pad_inches=0.05)
    # 256 colours hold every grey level and the palette, at about half of the bytes.
    Image.open(buffer).convert("RGB").quantize(256).save(small, "png", optimize=True)
    return Shown("image/png", _base64(small), _text(alt))


def _data_uri(image: npt.NDArray[np.float64], limits: tuple[float, float], name: str) -> str:
    grey = np.clip((image - limits[0]) / (limits[1] - limits[0]), 0, 1)
    buffer = io.BytesIO()
    Image.fromarray(np.round(grey * 255).astype(np.uint8)).save(buffer, "png", optimize=True)
    uri = "data:image/png;base64," + _base64(buffer)
    if len(uri) > URI_BYTES:
        raise LowdoseError(
            name,
            found=f"{image.shape[0]} x {image.shape[1]} pixels, {len(uri) // 1000} kB in the page",
            expected=f"at most {URI_BYTES // 1000} kB",
            way_out="Show a part of the image: about 330 x 330 pixels of noise fit.",
        )
    return uri


def slider(
    before: Array,
    after: Array,
    *,
    names: tuple[str, str],
    alt: tuple[str, str],
    limits: tuple[float, float] | None = None,
    width: int = 480,
) -> Shown:
    """Lay two images over each other with a line to drag between them; side by side where no script runs.

    Parameters
    ----------
    before, after : array (row, column)
        Of one shape, shown on one grey scale, pixel for pixel.
    names : (str, str)
        What is left and right of the line.
    alt : (str, str)
        Text alternatives of the two images.
    limits : (float, float), optional
        Values shown black and white; by default 1 % of all pixels is clipped.
    width : int
        On the page, in CSS pixels, less on a narrow screen.

    Raises
    ------
    LowdoseError
        If shapes differ, an image is not finite, or does not fit into 150 kB.
    """
    first, second = _image(before, "before"), _image(after, "after")
    if first.shape != second.shape:
        raise LowdoseError(
            "after",
            found=f"shape {second.shape}",
            expected=f"{first.shape}, as before",
            way_out="Crop to one shape.",
        )
    shades = limits or _limits([first, second])
    height = round(width * first.shape[0] / first.shape[1])
    pictures = "".join(
        f'<img slot="{slot}" width="{width}" height="{height}" alt="{html.escape(_text(text))}" src="{uri}">'
        for slot, text, uri in (
            ("first", alt[0], _data_uri(first, shades, "before")),
            ("second", alt[1], _data_uri(second, shades, "after")),
        )
    )
    left, right = (html.escape(name) for name in names)
    label = f"{left} and {right}, compared: move the line with the arrow keys"
    caption = f"Left of the line: {left}. Right: {right}. Drag it, or use the arrow keys."
    return Shown(
        "text/html",
        f'<figure class="lowdose-slider"><img-comparison-slider role="group" tabindex="0" '
        f'aria-label="{label}">{pictures}</img-comparison-slider><figcaption>{caption}</figcaption></figure>',
        f"{names[0]}: {alt[0]} {names[1]}: {alt[1]}",
    )
