"""The results of many runs side by side: a table for a spreadsheet, and a picture."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from lowdose_utils.errors import LowdoseError
from lowdose_utils.figures import COLOURS, LOOK, MARKERS
from lowdose_utils.files import atomic_path
from lowdose_utils.parameters import format_value
from lowdose_utils.sweep.plan import Sweep

PANELS = 6  # of results that nobody chose


def _flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """The single values of a result, with their places: ``[0]``, ``[1]``, ``[0][2]``, ``[name]``."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _flat(item, f"{place}[{key}]")
    else:
        yield place, value


def table(sweep: Sweep, records: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row for each run and one column for each value: a spreadsheet draws that as it is.

    Parameters
    ----------
    sweep : Sweep
        Its combinations give the order of rows.
    records : mapping of str to record
        Of those combinations that were run, by name.

    Returns
    -------
    list of dict
        First all values of ``-p``; then each result with its unit (``toy_width (px)``), of a list each item
        (``toy_widths[0] (px)``); then seconds, device and the executed notebook.
    """
    rows = []
    for combination in sweep.combinations:
        if combination.name in records:
            record = records[combination.name]
            row: dict[str, Any] = dict(combination.overrides)
            for name, entry in record["results"].items():
                unit = f" ({entry['unit']})" if entry["unit"] else ""
                row.update({f"{name}{place}{unit}": value for place, value in _flat(entry["value"])})
            row["run_seconds (s)"], row["run_device"] = record["run"]["seconds"], record["device"]
            row["notebook"] = (sweep.folder / f"{combination.name}.ipynb").as_posix()
            rows.append(row)
    return rows


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as CSV; where a run lacks a column the cell is empty."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    own = ("run_seconds (s)", "run_device", "notebook")
    columns = [column for column in columns if column not in own] + list(own)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for row in rows:
            writer.writerow({k: format_value(v) if isinstance(v, list) else v for k, v in row.items()})


def _number(value: Any) -> float | None:
    """A number, or what a record writes for one that is not finite; else None."""
    if value in ("nan", "inf", "-inf") or (isinstance(value, int | float) and not isinstance(value, bool)):
        return float(value)
    return None


def choose(rows: Sequence[Mapping[str, Any]], sweep: Sweep, results: Sequence[str]) -> list[str]:
    """The columns to draw: those asked for or, if none are, the first single numbers that vary.

    Raises
    ------
    LowdoseError
        If a result asked for is in no run, or is no number.
    """
    own = {*sweep.combinations[0].overrides, "run_seconds (s)", "run_device", "notebook"}
    columns = dict.fromkeys(column for row in rows for column in row if column not in own)
    numeric = [c for c in columns if all(_number(row[c]) is not None for row in rows if c in row)]
    chosen = []
    for name in results:
        found = [column for column in numeric if f"{column.split(' (')[0]}[".startswith(f"{name}[")]
        if not found:
            raise LowdoseError(
                f"result of {sweep.section}",
                found=repr(name),
                expected="one of " + ", ".join(dict.fromkeys(column.split(" (")[0] for column in numeric)),
                way_out="The table is written; choose others with --results.",
            )
        chosen += found
    single = [column for column in numeric if "[" not in column.split(" (")[0]]
    varying = [column for column in single if len({row.get(column) for row in rows}) > 1]
    return list(dict.fromkeys(chosen)) or varying[:PANELS]


def draw(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], swept: Sequence[str]) -> Figure:
    """Draw columns against the first parameter of `swept`, one line for each value of the others.

    Parameters
    ----------
    rows : sequence of mapping
        From `table`.
    columns : sequence of str
        One panel each.
    swept : sequence of str
        Names of parameters. Values of the first that are no numbers are put side by side.
    """
    first, *others = swept
    numbers = [_number(row[first]) for row in rows]
    scale = _scale([x for x in numbers if x is not None]) if None not in numbers else "linear"
    lines: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows if None in numbers else sorted(rows, key=lambda row: float(row[first])):
        lines.setdefault(", ".join(f"{name}={format_value(row[name])}" for name in others), []).append(row)
    across = min(2, len(columns))
    down = -(-len(columns) // across)
    with rc_context(LOOK):
        figure = Figure(figsize=(3.6 * across, 2.5 * down + 0.2 * -(-len(lines) // 3)), layout="constrained")
        grid = figure.subplots(down, across, squeeze=False)
        for axes in grid.flat[len(columns) :]:
            axes.set_axis_off()
        for axes, column in zip(grid.flat, columns, strict=False):
            axes.set(xlabel=first, ylabel=column, xscale=scale)
            for number, (label, held) in enumerate(lines.items()):
                x = [format_value(row[first]) if None in numbers else row[first] for row in held]
                y = [_number(row.get(column, "nan")) for row in held]
                again, which = divmod(number, len(COLOURS))
                dashes = ("-", "--", ":", "-.")[again % 4]  # past seven lines the colours come again
                points = {"marker": MARKERS[which], "markersize": 4}
                axes.plot(x, y, color=COLOURS[which], linestyle=dashes, label=label, **points)
        if others:
            handles, labels = grid.flat[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figure


def _scale(values: Sequence[float]) -> str:
    """Logarithmic where values span more than a factor of 30, as doses and photons do."""
    spread = [v for v in values if v > 0 and math.isfinite(v)]
    return "log" if len(spread) == len(values) and max(spread) > 30 * min(spread) else "linear"


def in_words(sweep: Sweep, columns: Sequence[str]) -> str:
    """What the picture shows, for those who cannot see it."""
    first, *others = sweep.swept
    each = f", one line for each value of {' and '.join(others)}" if others else ""
    return f"Results of {sweep.section} against {first}{each}: {', '.join(columns)}."
