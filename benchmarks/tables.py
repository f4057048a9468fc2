"""Measuring each method in a process of its own, and writing the numbers down."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def apart(work: Callable[..., dict[str, float]], *arguments: Any) -> dict[str, float]:
    """Run in a fresh process and give what it returns."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def table(title: str, rows: dict[str, dict[str, float]], speed: str) -> str:
    """Markdown, with the ratio of `speed` to the first row's."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    reference = next(iter(rows.values()))
    lines = [f"### {title}", "", "| method | " + " | ".join(columns) + f" | {speed}: ratio to the first |"]
    lines.append("|" + " --- |" * (len(columns) + 2))
    for name, row in rows.items():
        cells = [f"{row[column]:.4g}" if column in row else "" for column in columns]
        ratio = f"{row[speed] / reference[speed]:.2f}" if speed in row else ""
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {ratio} |")
    return "\n".join([*lines, ""])
