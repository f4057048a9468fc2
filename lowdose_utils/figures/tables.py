"""Tables of results for the page."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

from lowdose_utils.errors import LowdoseError
from lowdose_utils.figures.shown import Shown, plain_text


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

    Raises
    ------
    LowdoseError
        If a row has more or fewer entries than there are columns.
    """
    for row in rows:
        if len(row) != len(columns) or not row:
            raise LowdoseError(
                "rows",
                found=f"{len(row)} entries in {list(row)}",
                expected=f"{len(columns)}, one for each column",
                way_out="An entry may be an empty text.",
            )

    def cell(value: object) -> str:
        return f"{value:.3g}" if isinstance(value, float | np.floating) else html.escape(str(value))

    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in columns)
    body = "".join(
        f'<tr><th scope="row">{cell(row[0])}</th>'
        + "".join(f"<td>{cell(value)}</td>" for value in row[1:])
        + "</tr>"
        for row in rows
    )
    caption = f"<caption>{html.escape(plain_text(alt))}</caption>"
    content = (
        f'<table class="dataframe table">{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    )
    return Shown("text/html", content, plain_text(alt))
