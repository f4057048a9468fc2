"""Classifying whole volumes, a slice or a slab at a time, so that an interrupted run goes on where it was."""

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
from lowdose_utils.classify.slabs import boxes, solid_reach, whole
from lowdose_utils.classify.solid import SolidFeatures
from lowdose_utils.classify.solid_filters import window
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
    kept in a folder ``.NAME.parts`` beside `out` until the whole is written under its name. With
    `SolidFeatures` all this goes by slabs of slices, about two million voxels each, and memory holds the
    slices around a slab too, as far as the features look.

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
        Use slices (slabs) of an interrupted run that the same classifier made from the same grey values.
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
            for z, read, inner in _parts(classifier, (depth, rows, columns)):
                image = np.asarray(volume[(read,)])
                if inner is None:
                    image, name, place = image[0], f"slice_{z.start:05d}.npz", f"slice {z.start}"
                    shape = image.shape
                else:
                    name, place = f"slab_{z.start:05d}.npz", f"slices {read.start} to {read.stop - 1}"
                    shape = (z.stop - z.start, rows, columns)
                part, mark = parts / name, _mark(classifier, image, tile, inner)
                classes = _finished(part, mark, shape)
                if classes is None:
                    try:
                        classes = classifier.classify(
                            image, slices=inner, device=device, tile=tile, workers=workers
                        )
                    except LowdoseError as error:
                        raise LowdoseError(
                            f"{error.thing} of {place}",
                            found=error.found,
                            expected=error.expected,
                            way_out=error.way_out,
                        ) from error
                    with atomic_path(part) as temporary:
                        np.savez_compressed(temporary, classes=classes, mark=np.array(mark))
                bar.update(z.stop, lambda: f"{out.name}")
                yield from classes.reshape(-1, rows, columns)

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


def _parts(
    classifier: PixelClassifier, shape: tuple[int, int, int]
) -> Iterator[tuple[slice, slice, slice | None]]:
    """Slices to classify at once, those to read for them, and where among these they are; no such place for
    single slices."""
    if isinstance(classifier.features, SolidFeatures):
        margin = (solid_reach(classifier.features)[0], 0, 0)
        for box in boxes(whole(shape)):
            grown, inner = window(box, margin, shape)
            yield box[0], grown[0], inner[0]
    else:
        for z in range(shape[0]):
            yield slice(z, z + 1), slice(z, z + 1), None


def _mark(classifier: PixelClassifier, image: npt.NDArray[Any], tile: int | None, inner: slice | None) -> str:
    """What a slice's or a slab's classes depend on."""
    about = f"{classifier.fingerprint} {image.dtype.str} {image.shape} {tile}"
    about += "" if inner is None else f" {inner.start} {inner.stop}"
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
