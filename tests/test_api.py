"""The pages of reference: everything public is on one, says what it does, and is used."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT

import lowdose_utils
from lowdose_utils.errors import LowdoseError
from lowdose_utils.pages import as_written
from lowdose_utils.publish.api import ROOMS, api_pages, modules

DIRECTIVE = re.compile(r"^\.\. currentmodule:: (\S+)|^\.\. auto(?:function|class):: (\S+)", re.M)


def documented() -> list[str]:
    """Full names on the pages, in order."""
    found = []
    for page in api_pages(ROOT).values():
        module = ""
        for current, name in DIRECTIVE.findall(page):
            module = current or module
            found += [f"{module}.{name}"] if name else []
    return found


def imported() -> Iterator[ModuleType]:
    """Every module of the package."""
    for found in pkgutil.walk_packages(lowdose_utils.__path__, "lowdose_utils."):
        if not found.name.endswith(("__main__", "_registry")):
            yield importlib.import_module(found.name)


def resolved(name: str) -> object:
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module), last)


def test_every_public_function_and_class_is_on_one_page_with_a_docstring() -> None:
    """Python's own view of the package against the pages, which are made from its text alone."""
    names = documented()
    things = [resolved(name) for name in names]
    assert len({id(thing) for thing in things}) == len(names), "something stands on two places"
    assert [name for name, thing in zip(names, things, strict=True) if not inspect.getdoc(thing)] == []
    shown = {id(thing) for thing in things}
    missing = []
    for module in imported():
        listed = getattr(module, "__all__", None)
        for name, thing in vars(module).items():
            public = name in listed if listed is not None else not name.startswith("_")
            own = getattr(thing, "__module__", "") == module.__name__
            if public and own and (inspect.isfunction(thing) or inspect.isclass(thing)):
                missing += [f"{module.__name__}.{name}"] if id(thing) not in shown else []
    assert missing == []


def identifiers(path: Path) -> set[str]:
    """Names that a source uses: in code, not in text."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".toml":
        return set(re.findall(r'"lowdose_utils[\w.]*:(\w+)"', text))  # entry points
    if path.suffix == ".md":
        cells = re.findall(r"^```(?:\{code-cell\} ipython3|python)\n(.*?)^```", text, re.M | re.S)
        return set(re.findall(r"[A-Za-z_]\w*", "\n".join(cells)))
    used = set()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
                used.add(name)
            case ast.Constant(value=str(word)) if "lowdose_utils." in word:  # an entry point, a worker
                used |= set(re.findall(r"\w+", word))
    return used


def test_everything_public_is_used_by_a_section_a_module_or_a_test() -> None:
    """Under its name, outside of its own definition: what nobody uses has not been seen to work.

    That a package hands a name on is no use of it.
    """
    folders = ("lowdose_utils", "tests", "notebooks", "benchmarks", "book/guides")
    files = [file for folder in folders for end in ("py", "md") for file in (ROOT / folder).rglob(f"*.{end}")]
    files = [file for file in [*files, ROOT / "pyproject.toml"] if file.name != "__init__.py"]
    used = set().union(*map(identifiers, files))
    assert [name for name in documented() if name.rpartition(".")[2] not in used] == []


def test_imports_between_rooms_go_round_in_no_circle() -> None:
    needs: dict[str, set[str]] = {}
    for path in (ROOT / "lowdose_utils").rglob("*.py"):
        own = path.relative_to(ROOT / "lowdose_utils").parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lowdose_utils"):
                parts = (node.module or "").split(".")[1:2] or [alias.name for alias in node.names]
                needs.setdefault(own, set()).update({*parts} - {own})
    order = list(TopologicalSorter(needs).static_order())  # raises CycleError
    assert order.index("errors") < order.index("readers") < order.index("noise2inverse")


def test_a_module_without_a_room_is_named(tmp_path) -> None:
    for name in ("data", "readers", "attic"):
        (tmp_path / "lowdose_utils").mkdir(exist_ok=True)
        (tmp_path / "lowdose_utils" / f"{name}.py").write_text('"""Some module."""\n')
    with pytest.raises(LowdoseError, match=r"no room for lowdose_utils\.attic"):
        api_pages(tmp_path)


def test_a_package_hands_on_and_its_parts_do_not_repeat_it() -> None:
    found = {module.name: module for module in modules(ROOT)}
    assert "read" in found["lowdose_utils.readers"].functions
    assert "read" not in found["lowdose_utils.readers.open"].functions
    assert "SUFFIXES" not in found["lowdose_utils.readers.open"].functions
    assert len({each for room in ROOMS for each in room.modules}) == sum(len(room.modules) for room in ROOMS)


def test_a_docstring_keeps_its_table_its_bars_and_its_footnotes() -> None:
    lines = ["Of |f| and ``a | b`` [1]_.", "", "=== ==", "N   wide", "=== ==", "", ".. [1] Somebody."]
    as_written(None, "function", "name", None, None, lines)  # type: ignore[arg-type]
    assert lines[0] == r"Of \|f\| and ``a | b`` [1]."
    assert lines[2:8] == ["::", "", "    === ==", "    N   wide", "    === ==", ""]
    assert lines[-1] == "1. Somebody."
