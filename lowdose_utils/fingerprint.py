"""Fingerprints of what a section's results depend on, by which a record is known to be current or stale."""

from __future__ import annotations

import ast
import hashlib
import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from lowdose_utils import data

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "lowdose_utils"

# What carries or shows results and does not make them: a change here leaves every recorded number true.
CARRIERS = tuple(
    f"{PACKAGE}/{name}" for name in ("errors.py", "figures/", "fingerprint.py", "ledger.py", "record.py")
)
_CODE_CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(.*?)^```$", re.M | re.S)
_CELL_OPTIONS = re.compile(r"\A(?:---\n.*?^---\n|(?::[^\n]*\n)+)", re.M | re.S)


class _Meaning(ast.NodeTransformer):
    """Takes away what results do not depend on: docstrings, and the words of errors."""

    def visit_Raise(self, node: ast.Raise) -> ast.Raise:
        return ast.Raise()

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [one for one in node.body if not _is_text(one)]
        return node


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(getattr(statement.value, "value", None), str)


def _parts(statement: ast.stmt) -> list[ast.stmt]:
    """A module's statement, of imports each name alone; nothing of what only says where things live."""
    if isinstance(statement, ast.ImportFrom):
        if (statement.module or "").split(".")[0] == PACKAGE:
            renamed = [one for one in statement.names if one.asname]
            return [ast.ImportFrom(PACKAGE, [one], 0) for one in renamed]
        return [ast.ImportFrom(statement.module, [one], statement.level) for one in statement.names]
    if isinstance(statement, ast.Import):
        return [ast.Import([one]) for one in statement.names]
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    lists = any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets)
    return [] if lists else [statement]


@cache  # the ledger asks of many records, which share most modules
def _definitions(text: str) -> tuple[str, ...]:
    """Each top-level statement of a module by its meaning, without comments and layout."""
    module = _Meaning().visit(ast.parse(text))
    return tuple(ast.dump(part) for statement in module.body for part in _parts(statement))


def package_digest(modules: Iterable[str], root: Path = ROOT) -> str:
    """Hash the definitions of modules, wherever in the package each of them lives.

    Comments, docstrings, layout, the words of errors, and the module in which a definition stands are left
    out: a docstring mended, or a module split in two, leaves results what they are. What this cannot see is
    an import that is bent from one definition to another of the same name, where both are in use already.

    Parameters
    ----------
    modules : iterable of str
        Relative to `root`. Those in `CARRIERS`, and files that are no more, are passed over.
    """
    found: set[str] = set()
    for name in modules:
        if not name.startswith(CARRIERS) and (root / name).exists():
            found.update(_definitions((root / name).read_text(encoding="utf-8")))
    return _hash(sorted(found))


def section_digest(path: Path) -> str:
    """Hash the code of a section, imports and all, without prose, comments and the options of cells."""
    if not path.exists():  # a section that runs without a checkout (Colab)
        return _hash([])
    cells = _CODE_CELL.findall(path.read_text(encoding="utf-8"))
    code = "\n".join(_CELL_OPTIONS.sub("", cell) for cell in cells)
    return _hash([ast.dump(_Meaning().visit(ast.parse(code)))])


def _hash(parts: Iterable[str]) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(part.encode() + b"\0")
    return total.hexdigest()[:16]


def loaded_modules(root: Path = ROOT) -> list[str]:
    """The package's files that this process has imported, relative to `root`."""
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    paths = {Path(file).resolve() for file in files if file}
    return sorted(path.relative_to(root).as_posix() for path in paths if path.is_relative_to(root / PACKAGE))


def fingerprint(
    section: str, modules: Iterable[str], datasets: Iterable[str], root: Path = ROOT
) -> dict[str, Any]:
    """Hashes of what a section's results depend on, and of nothing else.

    Parameters
    ----------
    section : str
        Its code is the first input.
    modules : iterable of str
        Files of the package that the run imported, relative to `root`: the second.
    datasets : iterable of str
        Registered datasets that the run read; what the registry pins of them is the third.
    """
    modules = sorted(modules)
    folder = root / "data_registry"  # absent where a section runs without a checkout (Colab)
    registry = data.Registry.load(folder if folder.is_dir() else data.registry_dir())
    return {
        "source": section_digest(root / "notebooks" / f"{section}.md"),
        "modules": modules,
        "package": package_digest(modules, root),
        "registry": registry.digest(datasets),
    }


def is_current(record: Mapping[str, Any], root: Path = ROOT) -> bool:
    """Whether all that a run's results depend on is still as it was."""
    modules = record["inputs"].get("modules", [])
    now = fingerprint(record["section"], modules, registered(record["datasets"]), root)
    return bool(record["inputs"] == now)


def registered(datasets: Iterable[Mapping[str, Any]]) -> list[str]:
    """Names of those datasets of a record that the registry knows; simulated ones have no hash."""
    return [entry["name"] for entry in datasets if "sha256" in entry]
