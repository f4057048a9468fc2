"""Opening a scan: which format it is, what the file says, what the caller says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import h5py
import numpy as np
import numpy.typing as npt

from lowdose_utils.errors import LowdoseError
from lowdose_utils.readers.hdf5 import LAYOUTS, read_hdf5
from lowdose_utils.readers.mat import read_mat
from lowdose_utils.readers.mrc import read_mrc
from lowdose_utils.readers.scan import Scan
from lowdose_utils.readers.stack import Content, Options
from lowdose_utils.readers.tiff import read_tiff

Format: TypeAlias = Literal["auto", "data-exchange", "nexus", "hyperspy", "hdf5", "mrc", "mat", "tiff"]
READERS: dict[str, Callable[[Path, Options], Content]] = {"mrc": read_mrc, "mat": read_mat, "tiff": read_tiff}
SUFFIXES = {
    "HDF5": (".h5", ".hdf5", ".hdf", ".he5", ".nxs", ".nx", ".nexus", ".hspy"),
    "MRC": (".mrc", ".mrcs", ".st", ".ali", ".rec", ".map"),
    "MAT": (".mat",),
    "TIFF": (".tif", ".tiff"),
}


def read(
    path: str | Path,
    *,
    format: Format = "auto",
    angles: npt.ArrayLike | Mapping[str, Any] | None = None,
    flats: npt.ArrayLike | str | Path | None = None,
    darks: npt.ArrayLike | str | Path | None = None,
    axis: float | None = None,
    pixel_size: float | None = None,
    energy: float | None = None,
    values: str | None = None,
    key: str | None = None,
    angles_key: str | None = None,
    order: Sequence[str] | None = None,
    step: int | None = None,
    offset: float = 0.0,
    scale: float = 1.0,
    background_columns: int = 0,
) -> Scan:
    """Open a scan; frames are read from the file when they are indexed.

    What is given here goes before what the file says.

    Parameters
    ----------
    path : str or Path
        A file, or for TIFF a folder or a pattern such as ``scan/proj_*.tif``.
    format : str
        ``"auto"`` decides by content and suffix: data-exchange, nexus (NXtomo), hyperspy, hdf5 (any dataset,
        by `key`), mrc, mat, tiff.
    angles : array (angle,) or mapping, optional
        Radians; or ``{"start": 0, "step": 0.5, "unit": "deg"}`` (unit deg or rad).
    flats, darks : array (n, row, column) or (row, column), or a path, optional
        Fields without sample, without beam.
    axis, pixel_size, energy : float, optional
        Rotation axis (column, pixels), pixel size (m), energy (keV).
    values : str, optional
        What the numbers are: counts, transmission, line_integral, intensity.
    key, angles_key : str, optional
        Names of the projections and the angles in HDF5 (for nexus: of the entry) and MAT.
    order : sequence of str, optional
        Names of the axes in the file, such as ``("angle", "column", "row")`` for a rotation axis along x.
    step : int, optional
        Which scan of a series (4-D HDF5).
    offset, scale : float
        A value becomes ``(value + offset) / scale``, fields too.
    background_columns : int
        Subtract from each row the median of so many outer columns on both sides, over all angles.

    Returns
    -------
    Scan

    Raises
    ------
    LowdoseError
        If the file is missing, damaged, mislabelled or of unknown layout, or its parts do not fit.
    """
    path = Path(path)
    named = None if order is None else tuple(order)
    if not (scale and np.isfinite([offset, scale]).all()):
        raise LowdoseError(
            "offset, scale",
            found=(offset, scale),
            expected="finite numbers, scale not 0",
            way_out="Leave them out to keep the values of the file.",
        )
    options = Options(key, angles_key, named, step, offset, scale)
    content = _open(path, format, options)
    opened = [content]
    try:
        given = [_fields(flats, "flats", options, opened), _fields(darks, "darks", options, opened)]
        projections = content.projections
        notes = list(content.notes)
        if order is not None:
            notes.append(f"axes in the file: {', '.join(order)}")
        if offset or scale != 1:
            notes.append(f"(value + {offset:g}) / {scale:g}")
        if background_columns:
            columns = projections.shape[2]
            if not 0 < 2 * background_columns < columns:
                raise LowdoseError(
                    "background_columns",
                    found=background_columns,
                    expected=f"1 to {(columns - 1) // 2} of the {columns} columns",
                    way_out="Give the width of the air on either side.",
                )
            projections = projections.without_background(background_columns)
            notes.append(f"less the median of the outer {background_columns} columns of each row")
        return Scan(
            projections,
            _angles(angles, content.angles, len(projections), path),
            flats=content.flats if given[0] is None else given[0],
            darks=content.darks if given[1] is None else given[1],
            axis=axis,
            pixel_size=content.pixel_size if pixel_size is None else pixel_size,
            energy=content.energy if energy is None else energy,
            provenance={
                "file": path.name,
                "format": content.format,
                "values": values or content.values,
                "notes": notes,
            },
            closers=tuple(each.close for each in opened if each.close),
        )
    except BaseException as error:
        for each in opened:
            if each.close:
                each.close()
        if isinstance(error, LowdoseError) and path.name not in str(error):
            raise LowdoseError(
                f"{path}: {error.thing}", found=error.found, expected=error.expected, way_out=error.way_out
            ) from error
        raise


def _open(path: Path, format: str, options: Options) -> Content:
    if format != "auto" and format not in (*LAYOUTS, *READERS):
        raise LowdoseError(
            "format",
            found=repr(format),
            expected="auto, " + ", ".join((*LAYOUTS, *READERS)),
            way_out='Use format="auto" to decide by the file.',
        )
    if not path.is_file():
        if path.is_dir() or any(mark in path.name for mark in "*?["):
            return read_tiff(path, options)
        raise LowdoseError(str(path), found="no such file", expected="a scan", way_out="Check the path.")
    container = _container(path, format)
    if container == "HDF5":
        return read_hdf5(path, options, format)
    return READERS[container.lower()](path, options)


def _container(path: Path, format: str) -> str:
    """HDF5, MRC, MAT or TIFF: what the content is, which must be what the format or the suffix says."""
    found = _sniff(path)
    suffix = next((name for name, known in SUFFIXES.items() if path.suffix.lower() in known), "")
    asked = suffix if format == "auto" else ("HDF5" if format in LAYOUTS else format.upper())
    if asked == "MAT" and found == "HDF5":
        return "MAT"
    if (found and asked in (found, "")) or (asked == "MRC" and not found):
        return found or asked
    raise LowdoseError(
        str(path),
        found=f"the content of {found}" if found else f"{path.stat().st_size} bytes of unknown content",
        expected=(asked or ", ".join(SUFFIXES)) + (" by its suffix" if asked and format == "auto" else ""),
        way_out="If the content is right, rename the file or give format=; if not, copy or fetch it again.",
    )


def _sniff(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(512)
    if head.startswith((b"MATLAB 5.0", b"MATLAB 7.3")):
        return "MAT"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if h5py.is_hdf5(path):
        return "HDF5"
    return "MRC" if head[208:211] == b"MAP" else ""


def _angles(
    given: npt.ArrayLike | Mapping[str, Any] | None,
    found: npt.NDArray[np.float64] | None,
    count: int,
    path: Path,
) -> npt.NDArray[np.float64]:
    if given is None and found is None:
        raise _no_angles(path, count, "none in the file")
    try:
        if isinstance(given, Mapping):
            unit = {"deg": np.pi / 180, "rad": 1.0}[given["unit"]]
            turned = float(given["start"]) + float(given["step"]) * np.arange(count)
            return np.asarray(turned * unit, dtype=np.float64)
        return np.asarray(found if given is None else given, dtype=np.float64)
    except (TypeError, ValueError, KeyError) as error:
        raise _no_angles(path, count, given) from error


def _no_angles(path: Path, count: int, found: object) -> LowdoseError:
    return LowdoseError(
        f"angles of {path}",
        found=found,
        expected=f"{count}, one for each projection",
        way_out='Give angles= in radians, or as {"start": 0, "step": 0.5, "unit": "deg"} (deg or rad).',
    )


def _fields(
    given: npt.ArrayLike | str | Path | None, name: str, options: Options, opened: list[Content]
) -> Any:
    """Flats or darks that the caller gives: from a file, or an array of one or more."""
    if given is None:
        return None
    if isinstance(given, str | Path):
        opened.append(_open(Path(given), "auto", options.plain()))
        return opened[-1].projections
    frames = np.asarray(given)
    if frames.ndim not in (2, 3) or frames.dtype.kind not in "uif":
        raise LowdoseError(
            name,
            found=f"shape {frames.shape}, type {frames.dtype}",
            expected="real numbers (n, row, column) or (row, column)",
            way_out=f"Give {name}= as such an array, or as a path.",
        )
    return frames if frames.ndim == 3 else frames[np.newaxis]
