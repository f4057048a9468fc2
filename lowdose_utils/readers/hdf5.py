"""Scans in HDF5: Data Exchange, NeXus NXtomo, HyperSpy, and a plain dataset named by its key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from lowdose_utils.errors import LowdoseError
from lowdose_utils.readers.stack import Content, Options, Stack, reading

METRES = {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "µm": 1e-6, "μm": 1e-6, "micron": 1e-6, "nm": 1e-9}
KEV = {"kev": 1.0, "ev": 1e-3, "mev": 1e3}


def read_hdf5(path: Path, options: Options, format: str) -> Content:
    """Open a scan in HDF5; ``"auto"`` looks inside for which layout it is."""
    with reading(path, "an HDF5 file"):
        file = h5py.File(path, "r")
    try:
        with reading(path, "a readable HDF5 file"):
            content = LAYOUTS[_layout(file) if format == "auto" else format](file, path, options)
    except BaseException:
        file.close()
        raise
    content.close = file.close
    return content


def _layout(file: h5py.File) -> str:
    if "exchange" in file:
        return "data-exchange"
    if "Experiments" in file:
        return "hyperspy"
    return "nexus" if next(_named(file, "image_key"), None) else "hdf5"


def data_exchange(file: h5py.File, path: Path, options: Options) -> Content:
    """``/exchange/data``, ``data_white``, ``data_dark``, ``theta``; a 4-D array is a series of scans.

    Source: F. De Carlo et al., Scientific data exchange, J. Synchrotron Rad. 21 (2014) 1224-1230.
    """
    data = _dataset(file, options.key or "exchange/data", path)
    lead, notes = _step(data, path, options.step)

    def frames(name: str) -> Stack | None:
        if name not in file or not file[name].size:
            return None
        field = _dataset(file, name, path)
        own = lead if field.ndim == 4 and field.shape[0] == data.shape[0] else (0,) * (field.ndim - 3)
        return options.stack(field, path, lead=own)

    theta = None
    if "exchange/theta" in file:
        theta = _angles(_dataset(file, "exchange/theta", path), path)
        if lead and theta.size == data.shape[0] * data.shape[1]:
            theta = theta.reshape(data.shape[0], -1)[lead[0]]
    flats = frames("exchange/data_white")
    return Content(
        options.stack(data, path, lead=lead),
        "data-exchange",
        angles=theta,
        flats=flats,
        darks=frames("exchange/data_dark"),
        energy=_quantity(file, "measurement/instrument/monochromator/energy", KEV, "kev"),
        values="intensity" if flats is None else "counts",
        notes=notes,
    )


def nexus(file: h5py.File, path: Path, options: Options) -> Content:
    """NXtomo: frames sorted by ``image_key`` (0 projection, 1 flat, 2 dark, 3 invalid).

    `key` names the entry, or any group with one ``image_key`` in it, where there are several.
    Source: NeXus application definition NXtomo.
    """
    root = _group(file, options.key or "/", path)
    keyed = [at for at in _named(root, "image_key") if "data" in file[str(PurePosixPath(at).parent)]]
    # Entries link to the detector's arrays from several places: one path for each array, the detector's own.
    keyed.sort(key=lambda at: _text(file[at].parent.attrs.get("NX_class")) == "NXdetector")
    found = list({file[at]: at for at in keyed}.values())
    if len(found) != 1:
        raise LowdoseError(
            f"image_key in {path}",
            found=", ".join(found) or "none",
            expected="one NXtomo entry",
            way_out='Name the entry with key=, or an array with format="hdf5" and key=.',
        )
    detector = PurePosixPath(found[0]).parent
    data = _dataset(file, str(detector / "data"), path)
    keys = np.asarray(file[found[0]][()]).ravel()
    if data.ndim != 3 or keys.shape != data.shape[:1]:
        raise LowdoseError(
            f"image_key in {path}",
            found=f"{keys.size} keys for data of shape {data.shape}",
            expected="one key for each frame (frame, row, column)",
            way_out="The file may have been cut; if so, write it again.",
        )

    def frames(key: int) -> Stack | None:
        chosen = np.flatnonzero(keys == key)
        return options.stack(data, path, frames=chosen) if chosen.size else None

    projections = frames(0)
    if projections is None:
        raise LowdoseError(
            f"image_key in {path}",
            found=f"keys {np.unique(keys).tolist()}",
            expected="some frames of key 0 (projections)",
            way_out='Read the frames with format="hdf5" and key= instead.',
        )
    angles = [
        _angles(file[name], path)[keys == 0]
        for above in detector.parents
        for name in _named(file[str(above)], "rotation_angle")
        if file[name].size == keys.size
    ]
    return Content(
        projections,
        "nexus",
        angles=angles[0] if angles else None,
        flats=frames(1),
        darks=frames(2),
        pixel_size=_quantity(file, str(detector / "x_pixel_size"), METRES, ""),
        values="counts",
        notes=[f"{int((~np.isin(keys, (0, 1, 2))).sum())} invalid frames left out"],
    )


def hyperspy(file: h5py.File, path: Path, options: Options) -> Content:
    """A HyperSpy tilt series, ``Experiments/<name>/data``; angles from the first axis."""
    key = options.key
    if key is None:
        names = [name for name in _group(file, "Experiments", path) if f"Experiments/{name}/data" in file]
        key = f"Experiments/{names[0]}/data" if len(names) == 1 else "Experiments"
    data = _dataset(file, key, path)

    def axis(number: int) -> dict[str, Any]:
        name = f"axis-{number}"
        return {k: _text(v) for k, v in data.parent[name].attrs.items()} if name in data.parent else {}

    tilt, last = axis(0), axis(data.ndim - 1)
    angles = None
    if _is_angle(tilt.get("units")):
        angles = tilt["offset"] + tilt["scale"] * np.arange(data.shape[0], dtype=np.float64)
        angles = _radians(angles, tilt["units"], path)
    unit = METRES.get(str(last.get("units")))
    pixel_size = float(last["scale"]) * unit if unit else None
    return Content(options.stack(data, path), "hyperspy", angles=angles, pixel_size=pixel_size)


def plain(file: h5py.File, path: Path, options: Options) -> Content:
    """Any dataset by its `key`, angles by `angles_key` (radians, unless its units attribute says degrees)."""
    if options.key is None:
        shown = "; ".join(_describe(file)) or "no dataset at all"
        raise LowdoseError(
            str(path),
            found=shown,
            expected="a Data Exchange, NXtomo or HyperSpy layout",
            way_out="Name the projections with key= and their angles with angles_key= or angles=.",
        )
    data = _dataset(file, options.key, path)
    lead, notes = _step(data, path, options.step)
    angles = None
    if options.angles_key:
        angles = _angles(_dataset(file, options.angles_key, path), path, default="rad")
    return Content(options.stack(data, path, lead=lead), "hdf5", angles=angles, notes=notes)


LAYOUTS = {"data-exchange": data_exchange, "nexus": nexus, "hyperspy": hyperspy, "hdf5": plain}


def _step(data: h5py.Dataset, path: Path, step: int | None) -> tuple[tuple[int, ...], list[str]]:
    """Index and note of the time step of a 4-D series of scans."""
    if data.ndim != 4:
        return (), []
    chosen = 0 if step is None and data.shape[0] == 1 else step
    if chosen is None or not 0 <= chosen < data.shape[0]:
        raise LowdoseError(
            f"step of {path}",
            found=step,
            expected=f"0 to {data.shape[0] - 1}: the file holds {data.shape[0]} scans, shape {data.shape}",
            way_out="Give step=, the number of the scan in time.",
        )
    return (chosen,), [f"step {chosen} of {data.shape[0]}"]


def _dataset(file: h5py.File, name: str, path: Path) -> h5py.Dataset:
    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        raise LowdoseError(
            f"{name} in {path}",
            found="; ".join(_describe(file)) or "no dataset at all",
            expected="a dataset of that name",
            way_out="Name the right one with key=.",
        )
    return found


def _group(file: h5py.File, name: str, path: Path) -> h5py.Group:
    found = file.get(name)
    if not isinstance(found, h5py.Group):
        raise LowdoseError(
            f"{name} in {path}",
            found=f"only {', '.join(file)}",
            expected="a group of that name",
            way_out="Name the right one with key=.",
        )
    return found


def _walk(group: h5py.Group) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
    """Every path below a group, nearest first, each group once, through links that hold and lead down."""
    seen, todo = {group, group["/"]}, [group]
    while todo:
        here = todo.pop(0)
        for name in here:
            try:
                child = here[name]
            except (KeyError, OSError):
                continue
            if child not in seen:
                yield str(PurePosixPath(here.name) / name), child
                if isinstance(child, h5py.Group):
                    seen.add(child)
                    todo.append(child)


def _named(group: h5py.Group, name: str) -> Iterator[str]:
    return (at for at, found in _walk(group) if isinstance(found, h5py.Dataset) and at.endswith(f"/{name}"))


def _describe(group: h5py.Group) -> list[str]:
    arrays = [(at, found) for at, found in _walk(group) if isinstance(found, h5py.Dataset) and found.ndim]
    return [f"{at} {found.shape}" for at, found in arrays[:8]] + ["..."] * (len(arrays) > 8)


def _text(value: Any) -> Any:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _is_angle(units: object) -> bool:
    return str(units).lower().startswith(("deg", "rad", "°"))


def _radians(values: npt.ArrayLike, units: object, path: Path) -> npt.NDArray[np.float64]:
    if not _is_angle(units):
        raise LowdoseError(
            f"units of the angles in {path}",
            found=repr(units),
            expected="degrees or radians",
            way_out="Give angles= in radians.",
        )
    numbers = np.asarray(values, dtype=np.float64).ravel()
    return numbers if str(units).lower().startswith("rad") else np.deg2rad(numbers)


def _angles(dataset: h5py.Dataset, path: Path, default: str = "deg") -> npt.NDArray[np.float64]:
    return _radians(dataset[()], _text(dataset.attrs.get("units")) or default, path)


def _quantity(file: h5py.File, name: str, units: dict[str, float], default: str) -> float | None:
    """A number with units in the file, or None where it is missing, zero, or its unit is unknown."""
    found = file.get(name)
    if not isinstance(found, h5py.Dataset) or found.size != 1 or found.dtype.kind not in "uif":
        return None
    value = float(np.asarray(found[()]).item())
    unit = units.get(str(_text(found.attrs.get("units", default))).lower())
    return value * unit if unit and 0 < value < np.inf else None
