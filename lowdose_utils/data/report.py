"""What is at hand, whether it is right, and what a run record says of it."""

from __future__ import annotations

import hashlib
from typing import Any, Literal, NamedTuple

from lowdose_utils.data.check import file_hash
from lowdose_utils.data.registry import Store


class Checked(NamedTuple):
    """One file's state; `found` and `expected` are hashes, empty where there is none."""

    name: str
    state: Literal["ok", "missing", "wrong", "unrecorded"]
    found: str
    expected: str


def is_available(dataset: str, *, store: Store | None = None) -> bool:
    """Whether all files of the dataset lie in the data folder; looks at no hash and no network."""
    store = store or Store.default()
    names = store.files(store.registry.dataset(dataset))
    return bool(names) and all((store.folder / name).is_file() for name in names)


def verify(dataset: str | None = None, *, store: Store | None = None) -> list[Checked]:
    """Hash anew every file in the data folder of one dataset, or of all.

    Returns
    -------
    list of Checked
        ``ok``, ``missing``, ``wrong``, or ``unrecorded``: there, but its hash is neither published nor
        recorded yet.
    """
    store = store or Store.default()
    entries = [store.registry.dataset(dataset)] if dataset else list(store.registry.datasets.values())
    return [_check(name, store) for entry in entries for name in store.files(entry)]


def _check(name: str, store: Store) -> Checked:
    expected = store.expected(name) or ""
    path = store.folder / name
    if not path.is_file():
        return Checked(name, "missing", "", expected)
    found = file_hash(path)
    if not expected:
        return Checked(name, "unrecorded", found, "")
    return Checked(name, "ok" if found == expected else "wrong", found, expected)


def provenance(dataset: str, *, store: Store | None = None) -> dict[str, Any]:
    """What a run record keeps of a dataset, ready for JSON; reads no data file.

    Returns
    -------
    dict
        name, title, kind, status, origin, doi, licence, citation, files (how many) and sha256: of the one
        file, or of the list ``sha256:hex name`` (a line for each file, sorted by name); None while a
        file's hash is not known.
    """
    store = store or Store.default()
    entry = store.registry.dataset(dataset)
    names = sorted(store.files(entry))
    known = [store.expected(name) for name in names]
    digest = None
    if names and all(known):
        lines = "".join(f"{found} {name}\n" for found, name in zip(known, names, strict=True))
        digest = known[0] if len(names) == 1 else f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"
    said = ("name", "title", "kind", "status", "origin", "doi", "licence", "citation")
    return {**{key: getattr(entry, key) for key in said}, "files": len(names), "sha256": digest}


def format_list(*, store: Store | None = None) -> str:
    """A table of all datasets for the terminal: name, kind, status, size, whether at hand, title."""
    store = store or Store.default()
    rows = [("name", "kind", "status", "size", "at hand", "title")]
    for entry in store.registry.datasets.values():
        size = f"{entry.bytes / 1e6:,.1f} MB" if entry.bytes else "?"
        at_hand = "yes" if is_available(entry.name, store=store) else "no"
        rows.append((entry.name, entry.kind, entry.status, size, at_hand, entry.title))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = (
        "  ".join([*(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=False)), row[5]]) for row in rows
    )
    return "\n".join([*lines, "", f"Data folder: {store.folder}"])
