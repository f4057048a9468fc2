"""Sinograms in MATLAB files: version 5 by scipy, 7.3 (HDF5) by h5py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io

from lowdose_utils.errors import LowdoseError
from lowdose_utils.readers.stack import Content, Options, reading

DATA_NAMES, ANGLES_NAMES = ("sinoRD",), ("anglesRad",)


class _Reversed:
    """An HDF5 dataset with its axes the other way round, as MATLAB shows them; read when indexed."""

    def __init__(self, dataset: h5py.Dataset) -> None:
        self._dataset = dataset
        self.shape: tuple[int, ...] = dataset.shape[::-1]
        self.dtype: np.dtype[Any] = dataset.dtype

    def __getitem__(self, key: tuple[slice, ...]) -> Any:
        return self._dataset[key[::-1]].T


def read_mat(path: Path, options: Options) -> Content:
    """Read a variable (`key`, default sinoRD or the only array) and its angles (`angles_key`, radians).

    Axes are in MATLAB's order. A version 5 file is compressed as a whole and read into memory.
    """
    if h5py.is_hdf5(path):
        with reading(path, "a MATLAB 7.3 file"):
            file = h5py.File(path, "r")
        try:
            with reading(path, "a MATLAB 7.3 file"):
                shapes = {k: v.shape[::-1] for k, v in file.items() if isinstance(v, h5py.Dataset)}
                key, angles_key = _names(shapes, path, options)
                angles = np.asarray(file[angles_key][()], np.float64).ravel() if angles_key else None
            content = Content(options.stack(_Reversed(file[key]), path), "mat", angles=angles)
        except BaseException:
            file.close()
            raise
        content.close = file.close
    else:
        with reading(path, "a MATLAB file of version 5 or 7.3"):
            shapes = {name: shape for name, shape, _ in scipy.io.whosmat(path)}
        key, angles_key = _names(shapes, path, options)
        with reading(path, "a MATLAB file of version 5"):
            data = scipy.io.loadmat(path, variable_names=[key, angles_key or key])
            angles = np.asarray(data[angles_key], np.float64).ravel() if angles_key else None
            array = np.asarray(data[key])
        content = Content(options.stack(array, path), "mat", angles=angles)
    content.values = "line_integral"
    content.notes.append(f"variable {key}" + (f", angles {angles_key}" if angles_key else ""))
    return content


def _names(shapes: dict[str, tuple[int, ...]], path: Path, options: Options) -> tuple[str, str | None]:
    """Names of the projections and, if any, of the angles."""
    arrays = [name for name, shape in shapes.items() if len(shape) in (2, 3) and min(shape) > 1]
    default = next((name for name in DATA_NAMES if name in shapes), arrays[0] if len(arrays) == 1 else None)
    key = options.key or default
    angles_key = options.angles_key or next((name for name in ANGLES_NAMES if name in shapes), None)
    for argument, name in (("key", key), ("angles_key", angles_key)):
        if name not in shapes and (name is not None or argument == "key"):
            raise LowdoseError(
                f"variable {name or 'of the projections'} in {path}",
                found="; ".join(f"{n} {s}" for n, s in shapes.items()) or "no array at all",
                expected="one array that is meant",
                way_out=f"Name it with {argument}=.",
            )
    assert key is not None
    return key, angles_key
