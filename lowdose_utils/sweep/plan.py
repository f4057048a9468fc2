"""From ``-p NAME=VALUE,VALUE`` to the combinations of a sweep, each checked before any is run."""

from __future__ import annotations

import ast
import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowdose_utils.errors import LowdoseError
from lowdose_utils.notebook import checker, source_notebook
from lowdose_utils.parameters import format_value, parse_value


@dataclass(frozen=True)
class Combination:
    """One run of a sweep.

    Parameters
    ----------
    name : str
        Of its files, without ending. It holds a hash of the preset's and the own values, so that a run with
        others never takes its place.
    overrides : mapping
        Every value of ``-p``, checked.
    label : str
        The values that are swept, for people.
    """

    name: str
    overrides: Mapping[str, Any]
    label: str


@dataclass(frozen=True)
class Sweep:
    """A section, its preset, the names whose values vary, the combinations, the folder for all they leave."""

    section: str
    preset: str
    swept: tuple[str, ...]
    combinations: tuple[Combination, ...]
    folder: Path


def read_values(pairs: Iterable[str]) -> dict[str, list[Any]]:
    """Read ``NAME=VALUE,VALUE`` pairs: commas inside of brackets or quotes belong to a value.

    Raises
    ------
    LowdoseError
        On a pair without a name or value, brackets that do not close, or a name that comes twice.
    """
    values: dict[str, list[Any]] = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        listed = parse_value(f"[{text}]")  # what stands between commas is what YAML's brackets hold
        if not name or not isinstance(listed, list) or not listed or name in values:
            raise LowdoseError(
                "-p",
                found=repr(pair) + (" and an earlier one of that name" if name in values else ""),
                expected="NAME=VALUE or NAME=VALUE,VALUE, each name once",
                way_out="For instance -p seed=0,1,2 or, of lists, -p 'fractions=[0.5],[0.5,0.1]'",
            )
        values[name] = listed
    return values


def plan(
    section: str, values: Mapping[str, Sequence[Any]], *, preset: str, root: Path, name: str | None = None
) -> Sweep:
    """Make all combinations of `values`, the last name's values varying fastest, and check each.

    Parameters
    ----------
    section, preset : str
        As for `lowdose_utils.notebook.run`.
    values : mapping of str to sequence
        For each name one value, which all runs share, or several, which are swept.
    root : Path
        Checkout of the book.
    name : str, optional
        Of the sweep's folder; by default the preset and the names that are swept.

    Raises
    ------
    LowdoseError
        On an unknown section, preset or name, a value of another type or out of its limits, one that comes
        twice, or if nothing is swept.
    """
    check = checker(section, preset, root)
    if "preset" in values:
        raise LowdoseError(
            "-p preset", found="a preset", expected="a parameter", way_out="Give one preset as --preset."
        )
    swept = tuple(key for key, several in values.items() if len(several) > 1)
    if not swept:
        raise LowdoseError(
            "sweep",
            found="one combination",
            expected="a parameter with several values",
            way_out="For instance -p seed=0,1,2; for a single run there is `lowdose run`.",
        )
    name = name or "-".join((preset, *swept))
    if not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
        raise LowdoseError(
            "--name", found=repr(name), expected="letters, digits, _, - and .", way_out="Choose another name."
        )
    found: dict[str, Combination] = {}
    for chosen in itertools.product(*values.values()):
        given = dict(zip(values, chosen, strict=True))
        checked = check(given)
        overrides = {key: checked[key] for key in given}
        label = ", ".join(f"{key}={format_value(overrides[key])}" for key in swept)
        if label in found:
            raise LowdoseError(
                "sweep", found=f"{label} twice", expected="each value once", way_out="Leave one of them out."
            )
        found[label] = Combination(_file_name(label, checked), overrides, label)
    return Sweep(section, preset, swept, tuple(found.values()), Path("_build", "sweeps", section, name))


def _file_name(label: str, checked: Mapping[str, Any]) -> str:
    """The label without what paths and Snakemake's wildcards do not bear, and a hash of all values."""
    values = json.dumps(checked, sort_keys=True).encode()
    readable = re.sub(r"[^\w.=+-]+", "_", label, flags=re.ASCII)
    return f"{readable[:100].strip('_')}-{hashlib.sha256(values).hexdigest()[:8]}"


def check_results(names: Iterable[str], section: str, root: Path) -> None:
    """Refuse names of results that a section cannot have, as far as its source tells.

    Raises
    ------
    LowdoseError
        With the names that its source has.
    """
    patterns = result_patterns(section, root)
    for name in names:
        plain = name.partition("[")[0]
        if patterns and not any(re.fullmatch(pattern, plain) for pattern in patterns):
            shown = (re.sub(r"\\(.)", r"\1", pattern).replace(".+", "*") for pattern in patterns)
            raise LowdoseError(
                f"result of {section}",
                found=repr(name),
                expected="one of " + ", ".join(dict.fromkeys(shown)),
                way_out="Correct the name; * stands for any text.",
            )


def result_patterns(section: str, root: Path) -> list[str]:
    """Regular expressions of the names that a section's source gives to ``run.result``."""
    cells = [cell for cell in source_notebook(section, root).cells if cell.cell_type == "code"]
    calls = (node for cell in cells for node in ast.walk(ast.parse(cell.source)))
    found = []
    for node in calls:
        match node:
            case ast.Call(func=ast.Attribute(attr="result"), args=[ast.JoinedStr(values=parts), *_]):
                found.append("".join(map(_pattern, parts)))
            case ast.Call(func=ast.Attribute(attr="result"), args=[name, *_]):
                found.append(_pattern(name))
    return found


def _pattern(node: ast.expr) -> str:
    return re.escape(str(node.value)) if isinstance(node, ast.Constant) else ".+"
