"""Tilt series in MRC files, as electron microscopes and Savu write them."""

from __future__ import annotations

import warnings
from pathlib import Path

import mrcfile
import numpy as np
import numpy.typing as npt

from lowdose_utils.errors import LowdoseError
from lowdose_utils.readers.stack import Content, Options, reading


def read_mrc(path: Path, options: Options) -> Content:
    """Map an MRC file into memory; angles from a ``.rawtlt`` or ``.tlt`` file beside it, in degrees.

    A file without the map identifier is taken only if its size is exactly what its header says. Pixel sizes
    of 0 or 1 ångström are what programs write that do not know it, and are left out.
    Source: A. Cheng et al., MRC2014: extensions to the MRC format header, J. Struct. Biol. 192 (2015) 146.
    """
    with reading(path, "an MRC file"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        file = mrcfile.mmap(path, mode="r", permissive=True)
    try:
        header, data = file.header, file.data
        size = path.stat().st_size
        if data is None:
            raise LowdoseError(
                str(path),
                found=f"{size} bytes, and a header of {'; '.join(str(w.message) for w in caught)}",
                expected="an MRC file",
                way_out="If it is damaged or cut short, copy or fetch it again; if not MRC, give format=.",
            )
        marked = bytes(header.map)[:3] == b"MAP"
        whole = header.nbytes + file.extended_header.nbytes + data.nbytes
        if size < whole or (size != whole and not marked):
            raise LowdoseError(
                str(path),
                found=f"{size} bytes",
                expected=f"{whole} bytes for an MRC file of {data.shape} {data.dtype}",
                way_out="If it is damaged or cut short, copy or fetch it again; if not MRC, give format=.",
            )
        with reading(path, "a number of ångströms"):
            voxel = float(file.voxel_size.x)
        content = Content(
            options.stack(data, path),
            "mrc",
            angles=_sidecar(path),
            pixel_size=voxel * 1e-10 if voxel > 0 and voxel != 1 and np.isfinite(voxel) else None,
            notes=[] if marked else ["no map identifier; the size is what the header says"],
        )
    except BaseException:
        file.close()
        raise
    content.close = file.close
    return content


def _sidecar(path: Path) -> npt.NDArray[np.float64] | None:
    for beside in (path.with_suffix(".rawtlt"), path.with_suffix(".tlt")):
        if beside.is_file():
            with reading(beside, "one angle in degrees a line"):
                return np.deg2rad(np.array(beside.read_text(encoding="utf-8").split(), dtype=np.float64))
    return None
