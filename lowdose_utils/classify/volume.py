"""Classifying whole volumes, a slice at a time, so that an interrupted run goes on where it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
import numpy.typing as npt
import torch
import zarr

from lowdose_utils.classify.classifier import PixelClassifier
from lowdose_utils.classify.scribbles import Labels
from lowdose_utils.errors import LowdoseError
from lowdose_utils.files import atomic_path
from lowdose_utils.readers import write_volume
from lowdose_utils.readers.stack import Source, reading
from lowdose_utils.readers.tiff import Pages
from lowdose_utils.readers.volume import HDF5, NAME
from lowdose_utils.training.progress import Progress


def classify_volume(
    source: Source | str | Path,
    classifier: PixelClassifier,
    out: str | Path,
    *,
    key: str = NAME,
    pixel_size: float | None = None,
    device: str | torch.device = "auto",
    tile: int | None = None,
    workers: int | None = None,
    resume: bool = True,
    progress: bool = True,
) -> Path:
    """Classify a volume slice by slice and write the class map, uint8, classes from 1.

    Memory holds one slice and its feature stack (with `tile`, a part of the stack). Each finished slice is
    kept in a folder ``.NAME.parts`` beside `out` until the whole is written under its name.

    Parameters
    ----------
    source : array-like (z, y, x), str or Path
        Grey values on the training image's scale: an array, also memory-mapped, HDF5 or Zarr; or the path of
        HDF5, Zarr, a TIFF file, or a folder or pattern of TIFF files.
    classifier : PixelClassifier
    out : str or Path
        The suffix decides as for `readers.write_volume`: ``.h5``, ``.zarr``, ``.tif``, or none for a folder
        of TIFF files. An older volume of this name is replaced at the end.
    key : str
        Name of the dataset in HDF5.
    pixel_size : float, optional
        Edge of a voxel in metres, stored along.
    device, tile, workers
        As for `PixelClassifier.probabilities`; the threads share each slice.
    resume : bool
        Use slices of an interrupted run that the same classifier made from the same grey values.
    progress : bool
        Show how far it has come.

    Returns
    -------
    Path
        `out`, with the class names (JSON) and the classifier's fingerprint as attributes.

    Raises
    ------
    LowdoseError
        If the source is no volume or has NaN, or `out` cannot be written.
    """
    out = Path(out)
    parts = out.with_name(f".{out.name}.parts")
    if not resume:
        shutil.rmtree(parts, ignore_errors=True)
    with _opened(source, key) as volume:
        if len(volume.shape) != 3 or 0 in volume.shape:
            raise LowdoseError(
                "source",
                found=f"shape {tuple(volume.shape)}",
                expected="a volume (z, y, x), none empty",
                way_out="Give a single image as image[None].",
            )
        depth, rows, columns = (int(size) for size in volume.shape)
        bar = Progress(depth, show=progress)

        def slices() -> Iterator[Labels]:
            for z in range(depth):
                image = np.asarray(volume[(slice(z, z + 1),)])[0]
                part, mark = parts / f"slice_{z:05d}.npz", _mark(classifier, image, tile)
                classes = _finished(part, mark, image.shape)
                if classes is None:
                    try:
                        classes = classifier.classify(image, device=device, tile=tile, workers=workers)
                    except LowdoseError as error:
                        raise LowdoseError(
                            f"{error.thing} of slice {z}",
                            found=error.found,
                            expected=error.expected,
                            way_out=error.way_out,
                        ) from error
                    with atomic_path(part) as temporary:
                        np.savez_compressed(temporary, classes=classes, mark=np.array(mark))
                bar.update(z + 1, lambda: f"{out.name}")
                yield classes

        try:
            # `slices` is asked only after `write_volume` has found that it may write there.
            write_volume(
                out,
                slices(),
                shape=(depth, rows, columns),
                pixel_size=pixel_size,
                attributes={
                    "classes": json.dumps(classifier.class_names),
                    "classifier": classifier.fingerprint,
                },
            )
        finally:
            bar.close()
    shutil.rmtree(parts, ignore_errors=True)
    return out


def _mark(classifier: PixelClassifier, image: npt.NDArray[Any], tile: int | None) -> str:
    """What a slice's classes depend on."""
    about = f"{classifier.fingerprint} {image.dtype.str} {image.shape} {tile}"
    return sha256(about.encode() + np.ascontiguousarray(image).tobytes()).hexdigest()


def _finished(part: Path, mark: str, shape: tuple[int, ...]) -> Labels | None:
    """The classes of a slice from an earlier run, if these are they."""
    try:
        with np.load(part) as content:
            classes: Labels = content["classes"]
            same = str(content["mark"]) == mark
    except (
        Exception
    ):  # missing, or damaged bytes, on which numpy and zipfile raise almost anything: make it anew
        return None
    return classes if same and classes.shape == shape and classes.dtype == np.uint8 else None


@contextmanager
def _opened(source: Source | str | Path, key: str) -> Iterator[Source]:
    """An array that is read when it is indexed."""
    if not isinstance(source, str | Path):
        if not hasattr(source, "shape"):
            raise LowdoseError(
                "source",
                found=type(source).__name__,
                expected="an array (z, y, x) or a path",
                way_out="Use numpy.stack on a list of slices.",
            )
        yield source
        return
    path = Path(source)
    if path.suffix.lower() in HDF5:
        with reading(path, f"an HDF5 file with a dataset {key}"):
            file = h5py.File(path, "r")
        with file:
            with reading(path, f"a dataset {key}"):
                dataset = file[key]
            yield cast(Source, dataset)
    elif path.suffix.lower() == ".zarr":
        with reading(path, "a Zarr array"):
            stored = zarr.open_array(str(path), mode="r")
        yield cast(Source, stored)
    else:
        yield Pages(path)
