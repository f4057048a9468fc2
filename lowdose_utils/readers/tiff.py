"""Stacks of TIFF images: a folder, a pattern, or one file of many pages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from lowdose_utils.errors import LowdoseError
from lowdose_utils.readers.stack import Content, Options, reading

DEFLATE_LIMIT = 1032  # the best that deflate can do


def natural_order(path: Path) -> list[tuple[int, str]]:
    """Sort key under which ``a2.tif`` comes before ``a10.tif``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def tiff_files(path: Path) -> list[Path]:
    """The TIFF files of a folder or pattern, in natural order; or the one file.

    Raises
    ------
    LowdoseError
        If there is none.
    """
    if path.is_file():
        return [path]
    folder, patterns = (
        (path, ("*.tif", "*.tiff", "*.TIF", "*.TIFF")) if path.is_dir() else (path.parent, (path.name,))
    )
    files = {file for pattern in patterns for file in folder.glob(pattern) if file.is_file()}
    if not files:
        raise LowdoseError(
            str(path),
            found="no TIFF file" if folder.is_dir() else "no such folder",
            expected="files *.tif or *.tiff",
            way_out="Check the folder or the pattern.",
        )
    return sorted(files, key=natural_order)


class Pages:
    """Images of equal size as an array ``(page, row, column)``, each decoded when it is indexed.

    Raises
    ------
    LowdoseError
        If a file is damaged or cut short, or an image differs from the first in size or type.
    """

    def __init__(self, path: Path) -> None:
        self._files = tiff_files(path)
        self._single = len(self._files) == 1
        with reading(self._files[0], "a TIFF file"), tifffile.TiffFile(self._files[0]) as tiff:
            count = len(tiff.pages) if self._single else len(self._files)
            _check_end(tiff, self._files[0])
            first = tiff.pages.first
            shape, dtype = first.shape, first.dtype
            _check_size(first, self._files[0])
        if len(shape) != 2 or dtype is None:
            raise LowdoseError(
                str(self._files[0]),
                found=f"an image of shape {shape}, type {dtype}",
                expected="grey values (row, column)",
                way_out="Convert colour images to grey values.",
            )
        self.shape: tuple[int, ...] = (count, *shape)
        self.dtype: np.dtype[Any] = np.dtype(dtype)

    def __getitem__(self, key: tuple[slice, ...]) -> npt.NDArray[Any]:
        wanted, rest = range(self.shape[0])[key[0]], key[1:]
        out = np.empty((len(wanted), *self.shape[1:]), self.dtype)[(slice(None), *rest)]
        if self._single:
            with reading(self._files[0], "a TIFF file"), tifffile.TiffFile(self._files[0]) as tiff:
                for at, page in enumerate(wanted):
                    out[at] = self._image(tiff, page, self._files[0])[rest]
        else:
            for at, page in enumerate(wanted):
                with reading(self._files[page], "a TIFF file"), tifffile.TiffFile(self._files[page]) as tiff:
                    out[at] = self._image(tiff, 0, self._files[page])[rest]
        return out

    def _image(self, tiff: tifffile.TiffFile, page: int, path: Path) -> npt.NDArray[Any]:
        image = tiff.pages[page]
        if image.shape != self.shape[1:] or image.dtype != self.dtype:
            raise LowdoseError(
                f"{path}, page {page}",
                found=f"{image.shape} {image.dtype}",
                expected=f"{self.shape[1:]} {self.dtype} as in the first image",
                way_out="Take the odd image out of the stack.",
            )
        return np.asarray(image.asarray())


def _check_end(tiff: tifffile.TiffFile, path: Path) -> None:
    """Refuse a chain of pages that breaks off: tifffile itself would show the pages before the break."""
    if not len(tiff.pages):
        raise LowdoseError(
            str(path), found="no image", expected="a TIFF image", way_out="Copy or fetch the file again."
        )
    end = tiff.pages.next_page_offset
    tiff.filehandle.seek(end)
    link = tiff.filehandle.read(tiff.tiff.offsetsize)
    if len(link) < tiff.tiff.offsetsize or any(link):
        raise LowdoseError(
            str(path),
            found=f"a TIFF that breaks off after {len(tiff.pages)} pages",
            expected="a whole file",
            way_out="Copy or fetch it again.",
        )


def _check_size(page: tifffile.TiffPage, path: Path) -> None:
    """Refuse a page that cannot lie in its file, before memory is taken for it: a damaged header."""
    size, packing = path.stat().st_size, 1 if page.compression == 1 else DEFLATE_LIMIT
    if page.nbytes > packing * size:
        raise LowdoseError(
            str(path),
            found=f"an image of {page.shape} {page.dtype} in {size} bytes",
            expected=f"at least {page.nbytes // packing} bytes",
            way_out="Copy or fetch it again.",
        )


def read_tiff(path: Path, options: Options) -> Content:
    """Projections, one an image. TIFF has no place for angles: give them to `read`."""
    pages = Pages(path)
    return Content(options.stack(pages, path), "tiff", notes=[f"{pages.shape[0]} images"])
