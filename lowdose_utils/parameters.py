"""A section's parameters: read from its tagged cell, and held against what is asked for."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

import nbformat
import yaml

from lowdose_utils.errors import LowdoseError


def defaults(notebook: nbformat.NotebookNode) -> dict[str, Any]:
    """Names and default values in the cell tagged ``parameters``: one literal a line."""
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise LowdoseError(
            "cell tagged `parameters`",
            found=len(cells),
            expected=1,
            way_out="Tag exactly one cell of the section.",
        )
    found: dict[str, Any] = {}
    for node in ast.parse(cells[0].source).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found[name] = ast.literal_eval(value)
            case _:
                raise LowdoseError(
                    "cell tagged `parameters`",
                    found=ast.unparse(node),
                    expected="lines of the form name = literal",
                    way_out="Move anything else into the next cell.",
                )
    return found


class _Loader(yaml.SafeLoader):
    """YAML 1.1 takes 1e-3 for a string, since it lacks a point; here it is a number."""


class _Dumper(yaml.SafeDumper):
    """Puts the string 1e-3 into quotes, for `_Loader`."""


for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
    )


def parse_value(text: str) -> Any:
    """Read a value from the command line: a YAML scalar or list; anything else is a string."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError:
        return text


def format_value(value: Any) -> str:
    """Write a value so that `parse_value` reads the same."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, allow_unicode=True, width=float("inf")
    )
    return text.removesuffix("...\n").strip()


def _same_type(value: Any, default: Any) -> bool:
    """Exact types (a bool is no int); an int may stand for a float; a list goes by its first item."""
    if isinstance(default, list) and isinstance(value, list):
        return not default or all(_same_type(item, default[0]) for item in value)
    return type(value) is type(default) or (type(default) is float and type(value) is int)


def check_parameters(
    given: Mapping[str, Any], known: Mapping[str, Any], limits: Mapping[str, Any]
) -> dict[str, Any]:
    """Hold parameters against the section's own, before anything runs.

    Parameters
    ----------
    given, known : mapping
        Values asked for, and the section's defaults.
    limits : mapping
        For some names the bounds ``[lowest, highest]`` of numbers (of each item of a list), or the list
        of allowed strings.

    Returns
    -------
    dict
        `given`, an int turned into a float where the default is one.

    Raises
    ------
    LowdoseError
        On an unknown name, a type other than the default's, or a value outside its limits.
    """
    checked: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            raise LowdoseError(
                "parameter",
                found=repr(name),
                expected="one of " + ", ".join(f"{key}={known[key]!r}" for key in known),
                way_out="Correct the name.",
            )
        kind = type(known[name]).__name__
        if not _same_type(value, known[name]):
            raise LowdoseError(
                f"parameter {name}",
                found=f"{value!r} ({type(value).__name__})",
                expected=f"{kind}, such as {known[name]!r}",
                way_out=f"Give a value of type {kind}.",
            )
        bounds = limits.get(name)
        items = value if isinstance(value, list) else [value]
        numeric = bounds is not None and not isinstance(bounds[0], str)
        if bounds is not None and not all(
            bounds[0] <= v <= bounds[1] if numeric else v in bounds for v in items
        ):
            raise LowdoseError(
                f"parameter {name}",
                found=repr(value),
                expected=f"{bounds[0]} to {bounds[1]}" if numeric else "one of " + ", ".join(bounds),
                way_out="Choose a value within these limits.",
            )
        checked[name] = float(value) if type(known[name]) is float else value
    return checked
