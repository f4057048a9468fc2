"""Opening a registered scan with what the registry knows of it."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from lowdose_utils.data import Dataset, Store, datasets, fetch
from lowdose_utils.errors import LowdoseError
from lowdose_utils.readers.open import SUFFIXES, read
from lowdose_utils.readers.scan import Scan

VALUES = {
    "raw counts": "counts",
    "transmission": "transmission",
    "absorption": "line_integral",
    "HAADF signal": "intensity",
}


def read_dataset(name: str, *, file: str | None = None, store: Store | None = None, **overrides: Any) -> Scan:
    """Fetch the main file of a registered scan and open it with the facts in its ``read`` block.

    Parameters
    ----------
    name : str
        The dataset, such as ``"tooth"``.
    file : str, optional
        Another of its files, by its name without folder. By default the aligned one if there is one, else
        the first.
    store : Store, optional
        Another registry or folder than the default.
    **overrides
        Arguments of `read` that go before the registry's.

    Returns
    -------
    Scan
        Its provenance has ``dataset`` too.

    Raises
    ------
    LowdoseError
        If the dataset is unknown, is no scan, cannot be had, or cannot be read.
    """
    known = datasets(store=store)
    if name not in known:
        raise LowdoseError(
            "dataset", found=repr(name), expected="one of " + ", ".join(known), way_out="Check the name."
        )
    dataset = known[name]
    scans = [other for other, entry in known.items() if _is_scan(entry)]
    if name not in scans:
        raise LowdoseError(
            f"dataset {name}",
            found=dataset.shape,
            expected="a tomographic scan: " + ", ".join(scans),
            way_out="Fetch its files with lowdose_utils.data.fetch_dataset, and read them as what they are.",
        )
    aligned = dict(dataset.read.get("aligned", {}))
    chosen = f"{name}/{file}" if file else str(aligned.get("file") or _main_file(dataset))
    block = dict(dataset.read)
    if chosen == aligned.get("file"):
        block = {k: v for k, v in block.items() if k != "offset"} | aligned
    path = fetch(chosen, store=store)
    sidecar = str(PurePosixPath(chosen).with_suffix(".rawtlt"))
    if sidecar in dataset.files:
        fetch(sidecar, store=store)
    scan = read(path, **{**_arguments(block, path.stem), **overrides})
    scan.provenance["dataset"] = name
    notes = {key: block[key] for key in ("angles_note", "air", "counts_per_pixel") if key in block}
    scan.provenance["notes"] += [f"{key}: {value}" for key, value in notes.items()]
    return scan


def _is_scan(dataset: Dataset) -> bool:
    return "axis" in dataset.read or "axes" in dataset.read


def _main_file(dataset: Dataset) -> str:
    suffixes = {suffix for known in SUFFIXES.values() for suffix in known}
    return next(file for file in dataset.files if PurePosixPath(file).suffix.lower() in suffixes)


def _arguments(block: dict[str, Any], stem: str) -> dict[str, Any]:
    """Arguments of `read` for a ``read`` block of the registry."""
    same = ("format", "angles", "axis", "pixel_size", "key", "offset", "scale", "background_columns")
    arguments = {key: block[key] for key in same if key in block}
    if "axes" in block:
        arguments["axis"] = block["axes"].get(stem)
    if "energy_keV" in block:
        arguments["energy"] = block["energy_keV"]
    if "kind_of_values" in block:
        arguments["values"] = VALUES.get(block["kind_of_values"])
    if "key_order" in block:
        arguments["order"] = block["key_order"]
    if block.get("rotation_axis_along") == "x":
        arguments["order"] = ("angle", "column", "row")
    return arguments
