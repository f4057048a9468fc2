"""Volumes to and from HDF5, Zarr and TIFF, a slice at a time."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import tifffile
import zarr

from lowdose_utils.errors import LowdoseError
from lowdose_utils.files import atomic_path
from lowdose_utils.readers.stack import Source, reading
from lowdose_utils.readers.tiff import Pages, tiff_files

HDF5 = (".h5", ".hdf5", ".hdf")
TIFF = (".tif", ".tiff")
NAME = "volume"
CHUNK = 512


def write_volume(
    path: str | Path,
    volume: Source | Iterable[npt.ArrayLike],
    *,
    shape: tuple[int, int, int] | None = None,
    pixel_size: float | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> Path:
    """Write a volume ``(z, y, x)``, whole or not at all; only one slice is in memory at a time.

    Parameters
    ----------
    path : str or Path
        The suffix decides: ``.h5`` HDF5 (dataset ``volume``), ``.zarr`` Zarr 3, ``.tif`` one BigTIFF of many
        pages, no suffix a folder of TIFF files ``slice_00000.tif``.
    volume : array-like (z, y, x) or iterable of slices (y, x)
        Real numbers or booleans (stored as 0 and 1, uint8). An array may lie in a file: its slices are read
        one after the other. The first slice sets the type.
    shape : tuple of int, optional
        ``(z, y, x)``; needed for an iterable without a shape.
    pixel_size : float, optional
        Edge of a voxel in metres, stored as attribute ``pixel_size``.
    attributes : mapping, optional
        More attributes; text and numbers.

    Returns
    -------
    Path
        The file or folder.

    Raises
    ------
    LowdoseError
        If the volume is not such, the disk has no room for it, or `path` is a folder with other things in it.
    """
    path = Path(path)
    shape = shape or getattr(volume, "shape", None)
    if shape is None or len(shape) != 3 or 0 in shape:
        raise LowdoseError(
            "volume",
            found=f"shape {shape}",
            expected="(z, y, x), none empty",
            way_out="Give an array of three axes, or an iterable of slices with shape=.",
        )
    if pixel_size is not None and not 0 < pixel_size < np.inf:
        raise LowdoseError(
            "pixel_size", found=pixel_size, expected="a positive number of metres", way_out="Or leave it out."
        )
    if bad := [name for name, v in (attributes or {}).items() if not isinstance(v, str | int | float)]:
        raise LowdoseError(
            f"attribute {bad[0]}",
            found=type((attributes or {})[bad[0]]).__name__,
            expected="text or a number",
            way_out="Write it as text, for example as JSON.",
        )
    if path.suffix.lower() not in (*HDF5, *TIFF, ".zarr", ""):
        raise LowdoseError(
            str(path),
            found=f"suffix {path.suffix}",
            expected=".h5, .zarr, .tif, or none for a folder of TIFF files",
            way_out="Choose one of them.",
        )
    _spare_others(path)
    slices = _checked(volume, shape)
    first = next(slices)
    _need_room(path, first.nbytes * shape[0])
    marks = {"axes": "z y x", **({"pixel_size": pixel_size} if pixel_size else {}), **(attributes or {})}
    chunks = (1, min(CHUNK, shape[1]), min(CHUNK, shape[2]))
    everything = itertools.chain([first], slices)
    with atomic_path(path) as temporary:
        if path.suffix.lower() in HDF5:
            with h5py.File(temporary, "w") as file:
                target = file.create_dataset(NAME, shape, first.dtype, chunks=chunks)
                target.attrs.update(marks)
                for z, image in enumerate(everything):
                    target[z] = image
        elif path.suffix.lower() == ".zarr":
            stored = zarr.create_array(
                str(temporary), shape=shape, dtype=first.dtype, chunks=chunks, attributes=marks
            )
            for z, image in enumerate(everything):
                stored[z] = image
        elif path.suffix:
            with tifffile.TiffWriter(temporary, bigtiff=True) as writer:
                for z, image in enumerate(everything):
                    text = json.dumps(marks) if z == 0 else None
                    writer.write(image, photometric="minisblack", description=text, metadata=None)
        else:
            temporary.mkdir()
            for z, image in enumerate(everything):
                name = temporary / f"slice_{z:05d}.tif"
                tifffile.imwrite(
                    name, image, photometric="minisblack", description=json.dumps(marks), metadata=None
                )
    return path


def read_volume(
    path: str | Path, slices: slice | int | tuple[Any, ...] | None = None, *, key: str = NAME
) -> npt.NDArray[Any]:
    """Read a volume ``(z, y, x)`` or a part of it.

    Parameters
    ----------
    path : str or Path
        HDF5, Zarr, a TIFF file, or a folder or pattern of TIFF files.
    slices : slice, int or tuple of them, optional
        The part, for each axis from the first on; only that is read. Default all.
    key : str
        Name of the dataset in HDF5.

    Raises
    ------
    LowdoseError
        If there is no such volume, the file is damaged, or the part lies outside.
    """
    path = Path(path)
    keys = slices if isinstance(slices, tuple) else (slice(None) if slices is None else slices,)
    _must_exist(path)
    if path.suffix.lower() in HDF5:
        with reading(path, f"an HDF5 file with a dataset {key}"), h5py.File(path, "r") as file:
            return _part(file[key], keys, path)
    if path.suffix.lower() == ".zarr":
        with reading(path, "a Zarr array"):
            return _part(zarr.open_array(str(path), mode="r"), keys, path)
    return _part(Pages(path), keys, path)


def read_attributes(path: str | Path, *, key: str = NAME) -> dict[str, Any]:
    """The attributes that `write_volume` stored with a volume."""
    path = Path(path)
    _must_exist(path)
    if path.suffix.lower() in HDF5:
        with reading(path, f"an HDF5 file with a dataset {key}"), h5py.File(path, "r") as file:
            return {name: v.item() if isinstance(v, np.generic) else v for name, v in file[key].attrs.items()}
    if path.suffix.lower() == ".zarr":
        with reading(path, "a Zarr array"):
            return dict(zarr.open_array(str(path), mode="r").attrs)
    first = tiff_files(path)[0]
    with reading(first, "a TIFF file written by write_volume"), tifffile.TiffFile(first) as tiff:
        marks: dict[str, Any] = json.loads(tiff.pages.first.description)
        return marks


def _part(volume: Source, keys: tuple[Any, ...], path: Path) -> npt.NDArray[Any]:
    """The part of a volume; an integer index drops its axis."""
    if len(volume.shape) != 3 or len(keys) > 3:
        raise LowdoseError(
            str(path),
            found=f"{len(keys)} slices of shape {tuple(volume.shape)}",
            expected="up to three of a volume (z, y, x)",
            way_out="Name the right dataset with key=.",
        )
    wide: list[slice] = []
    for key, size in zip(keys, volume.shape, strict=False):
        if not isinstance(key, slice) and not -size <= key < size:
            raise LowdoseError(
                str(path), found=f"index {key}", expected=f"{-size} to {size - 1}", way_out="Choose another."
            )
        wide.append(key if isinstance(key, slice) else slice(key % size, key % size + 1))
    with reading(path, f"slices {wide}"):
        block = np.asarray(volume[(*wide, *[slice(None)] * (3 - len(wide)))])
    return block[tuple(slice(None) if isinstance(key, slice) else 0 for key in keys)]


def _checked(volume: Any, shape: tuple[int, ...]) -> Iterator[npt.NDArray[Any]]:
    """The slices of a volume, each of the same shape and type as the first, as many as promised."""
    count, dtype = 0, None
    for image in (volume[z] for z in range(shape[0])) if hasattr(volume, "shape") else volume:
        plane = np.asarray(image)
        plane = plane.view(np.uint8) if plane.dtype == bool else plane
        dtype = dtype or plane.dtype
        if (
            plane.shape != tuple(shape[1:])
            or plane.dtype != dtype
            or dtype.kind not in "uif"
            or count == shape[0]
        ):
            raise LowdoseError(
                f"slice {count} of the volume",
                found=f"{plane.shape} {plane.dtype}",
                expected=f"{shape[0]} slices of {tuple(shape[1:])}, one real type, here {dtype}",
                way_out="Give slices of one shape and type, as many as shape= says.",
            )
        yield plane
        count += 1
    if count != shape[0]:
        raise LowdoseError(
            "volume", found=f"{count} slices", expected=shape[0], way_out="Give as many as shape= says."
        )


def _spare_others(path: Path) -> None:
    """Refuse to replace a folder that is not a volume's, or a file by a folder and the other way round."""
    folder = path.suffix.lower() in (".zarr", "")
    ours = (
        (path / "zarr.json").is_file()
        if path.suffix
        else path.is_dir() and all(child.match("slice_*.tif") for child in path.iterdir())
    )
    if path.exists() and (path.is_dir() != folder or (folder and not ours)):
        raise LowdoseError(
            str(path),
            found="a folder with other things in it" if path.is_dir() else "a file",
            expected="nothing there yet, or an older volume",
            way_out="Choose another name.",
        )


def _need_room(path: Path, size: int) -> None:
    there = next(folder for folder in path.absolute().parents if folder.is_dir())
    free = shutil.disk_usage(there).free
    if size > free:
        raise LowdoseError(
            f"room on disk for {path}",
            found=f"{free / 1e9:.1f} GB",
            expected=f"{size / 1e9:.1f} GB",
            way_out="Make room, or write elsewhere.",
        )


def _must_exist(path: Path) -> None:
    if not path.exists() and not any(mark in path.name for mark in "*?["):
        raise LowdoseError(str(path), found="nothing there", expected="a volume", way_out="Check the path.")
