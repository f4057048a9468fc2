"""Pages of reference: every public function and class, room by room in the order of the data's way."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lowdose_utils.errors import LowdoseError

PACKAGE = "lowdose_utils"


@dataclass(frozen=True)
class Room:
    """A step of the data's way, and the modules and packages that do it."""

    name: str
    title: str
    modules: tuple[str, ...]


ROOMS = (
    Room("get", "Get the data", ("data", "readers")),
    Room("simulate", "Simulate", ("phantoms", "acquire", "exposures", "scanner", "microscope")),
    Room("correct", "Correct", ("correct", "axis", "registration", "align", "mosaic")),
    Room("phase", "Phase and holograms", ("optics", "phase", "holography")),
    Room("reconstruct", "Reconstruct", ("gridding", "project", "reconstruct")),
    Room("networks", "Networks and their training", ("networks", "training")),
    Room("enhance", "Enhance", ("enhance", "noise2inverse", "pretrained", "denoise", "diffuse")),
    Room("segment", "Segment", ("classify",)),
    Room("neurons", "Neurons", ("neurons", "tracing")),
    Room("measure", "Measure", ("measure", "resolution")),
    Room("show", "Show", ("figures",)),
    Room(
        "record",
        "Record and publish",
        ("record", "fingerprint", "ledger", "parameters", "notebook", "sweep", "publish", "kit", "pages"),
    ),
    Room("foundations", "What all rooms stand on", ("errors", "files", "device")),
)


@dataclass(frozen=True)
class Module:
    """A module read as text: what it offers, without an import of anything."""

    name: str
    summary: str
    functions: tuple[str, ...]
    classes: tuple[str, ...]


def modules(root: Path) -> list[Module]:
    """All modules of the package with what is public in them: in ``__all__``, or without an underscore.

    What a package hands on in its ``__all__`` is listed there alone, under the name by which it is imported.
    """
    trees = {_dotted(path, root): ast.parse(path.read_text(encoding="utf-8")) for path in _files(root)}
    own = {name: _defined(tree) for name, tree in trees.items()}
    shown: dict[str, dict[str, str]] = {}
    handed_on: set[tuple[str, str]] = set()
    for name, tree in trees.items():
        listed, imported = _listed(tree), _imported(tree)
        shown[name] = {
            each: kind for each, kind in own[name].items() if (each in listed if listed else each[0] != "_")
        }
        for each in listed:
            source, original = imported.get(each, ("", ""))
            # What stands in one module may lie in the package's own part, never in another room.
            if original in own.get(source, {}) and source.startswith(f"{name}."):
                shown[name][each] = own[source][original]
                handed_on.add((source, original))
    return [
        Module(
            name,
            (ast.get_docstring(tree) or "").partition("\n")[0],
            *(
                tuple(each for each, k in shown[name].items() if k == kind and (name, each) not in handed_on)
                for kind in ("function", "class")
            ),
        )
        for name, tree in trees.items()
    ]


def api_pages(root: Path) -> Mapping[str, str]:
    """The pages by file name: an overview, ``api.md``, and one for each room, ``api_ROOM.md``.

    Raises
    ------
    LowdoseError
        If a module belongs to no room.
    """
    found = modules(root)
    housed = {f"{PACKAGE}.{each}" for room in ROOMS for each in room.modules}
    homeless = [m.name for m in found if _top(m.name) not in {*housed, PACKAGE, f"{PACKAGE}.__main__"}]
    if homeless:
        raise LowdoseError(
            "pages of reference",
            found="no room for " + ", ".join(homeless),
            expected="each module in one room",
            way_out="Add it to ROOMS in lowdose_utils/publish/api.py.",
        )
    pages = {"api.md": _overview(found)}
    for room in ROOMS:
        lines = [f"# {room.title}", ""]
        for each in room.modules:
            for module in (m for m in found if _top(m.name) == f"{PACKAGE}.{each}"):
                if module.functions or module.classes:
                    lines += _entry(module)
        pages[f"api_{room.name}.md"] = "\n".join(lines)
    return pages


def _overview(found: list[Module]) -> str:
    lines = [
        "# The package",
        "",
        f"`{PACKAGE}` has a room for each step of the data's way, and a room uses only the rooms before it. "
        "Each page below lists what a room offers, from the source's own text: every function and class "
        "whose name has no underscore in front. What is imported from a package itself, as in "
        f"`from {PACKAGE}.readers import read`, comes first; its parts follow.",
        "",
        "Bad input raises one kind of error everywhere, `LowdoseError`. It names the thing, what was found, "
        "what was expected and the way out.",
        "",
        "| room | modules |",
        "| --- | --- |",
    ]
    summaries = {m.name: m.summary for m in found}
    for room in ROOMS:
        parts = "<br>".join(f"`{each}`: {summaries[f'{PACKAGE}.{each}']}" for each in room.modules)
        lines.append(f"| [{room.title}](api_{room.name}.md) | {parts} |")
    return "\n".join(lines) + "\n"


def _entry(module: Module) -> list[str]:
    """A module's text, then its functions and classes, as directives for Sphinx's autodoc."""
    lines = [f"## `{module.name.removeprefix(PACKAGE + '.')}`", "", "```{eval-rst}"]
    # Without an index of modules: a package's function may have the name of the part that it comes from.
    lines += [f".. automodule:: {module.name}", "   :no-index:", "", f".. currentmodule:: {module.name}"]
    lines += [f".. autofunction:: {each}" for each in module.functions]
    for each in module.classes:
        lines += [f".. autoclass:: {each}", "   :members:"]
    return [*lines, "```", ""]


def _files(root: Path) -> Iterator[Path]:
    """Sources; a package before its parts."""
    yield from sorted(
        (root / PACKAGE).rglob("*.py"), key=lambda path: path.as_posix().replace("/__init__.py", "")
    )


def _dotted(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _top(module: str) -> str:
    return ".".join(module.split(".")[:2])


def _defined(tree: ast.Module) -> dict[str, str]:
    """Functions and classes that a module itself defines."""
    kinds = {ast.FunctionDef: "function", ast.ClassDef: "class"}
    return {
        node.name: kinds[type(node)] for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }


def _listed(tree: ast.Module) -> list[str]:
    """What ``__all__`` names."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def _imported(tree: ast.Module) -> dict[str, tuple[str, str]]:
    """For each imported name the module that it comes from, and its name there."""
    return {
        alias.asname or alias.name: (node.module or "", alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
