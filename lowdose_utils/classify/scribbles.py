"""Scribbles: strokes and outlines, drawn by hand or read from ImageJ, as label images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from roifile import ROI_SUBTYPE, ROI_TYPE, ImagejRoi, roiread
from scipy.ndimage import distance_transform_edt
from skimage.draw import line, polygon

from lowdose_utils.errors import LowdoseError
from lowdose_utils.readers.stack import reading

Labels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
MOST = 255  # classes that uint8 holds
_LINES = (ROI_TYPE.LINE, ROI_TYPE.POLYLINE, ROI_TYPE.FREELINE)
_AREAS = (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED, ROI_TYPE.RECT, ROI_TYPE.OVAL)


@dataclass(frozen=True)
class Stroke:
    """A line or an outline of one class.

    Parameters
    ----------
    label : int
        Class, from 1 to 255.
    points : sequence of (row, column)
        In pixels, whole numbers at the pixels' centres; one point is a dot.
    width : float
        Of a line in pixels: pixels within half of it from the line are labelled, so that an even width counts
        as the next odd one.
    filled : bool
        Whether the points are an outline, to be filled.
    slice : int, optional
        Where it lies in a stack; all slices if not given.

    Raises
    ------
    LowdoseError
        If label, points or width are not such.
    """

    label: int
    points: tuple[tuple[float, float], ...]
    width: float = 1.0
    filled: bool = False
    slice: int | None = None

    def __post_init__(self) -> None:
        given = np.asarray(self.points, np.float64)
        least = 3 if self.filled else 1
        if given.ndim != 2 or given.shape[1] != 2 or len(given) < least or not np.isfinite(given).all():
            raise LowdoseError(
                "points of a stroke",
                found=f"array of shape {given.shape}",
                expected=f"finite (row, column), {least} at least",
                way_out="Give an outline three points, a line one or more.",
            )
        if not 1 <= self.label <= MOST or not 0 < self.width < np.inf:
            raise LowdoseError(
                "stroke",
                found=f"label {self.label}, width {self.width}",
                expected=f"a label from 1 to {MOST}, a positive width",
                way_out="0 stands for pixels without a label.",
            )
        object.__setattr__(self, "points", tuple((float(y), float(x)) for y, x in given))


def label_image(shape: tuple[int, ...], strokes: Iterable[Stroke]) -> Labels:
    """Draw strokes: uint8 of `shape`, (row, column) or (slice, row, column), 0 where none is.

    A later stroke covers an earlier one; parts outside the image are cut off.

    Raises
    ------
    LowdoseError
        If the shape is no image's or stack's, or a stroke lies wholly outside.
    """
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise LowdoseError(
            "shape",
            found=shape,
            expected="(row, column) or (slice, row, column)",
            way_out="Take the image's shape.",
        )
    labels = np.zeros(shape, np.uint8)
    planes = labels.reshape(-1, *shape[-2:])
    for number, stroke in enumerate(strokes):
        mask = _drawn(stroke, shape[-2:])
        inside = stroke.slice is None or 0 <= stroke.slice < len(planes)
        if not inside or not mask.any():
            raise LowdoseError(
                f"stroke {number}",
                found="no pixel inside" if inside else f"slice {stroke.slice}",
                expected=f"a part of it in the image {tuple(shape)}",
                way_out="Points are (row, column), not (x, y); slices count from 0.",
            )
        planes[slice(None) if stroke.slice is None else stroke.slice][..., mask] = stroke.label
    return labels


def read_rois(path: str | Path, label: int) -> list[Stroke]:
    """Read the regions of one class from an ImageJ file, ``.roi`` or ``.zip`` of such.

    Polygons, freehand outlines, rectangles and ovals are filled; lines keep their width; points become dots.
    A region on one slice of a stack keeps that place.

    Parameters
    ----------
    path : str or Path
        File that ImageJ has written (File > Save As > Selection, or the ROI Manager's Save).
    label : int
        Class of these regions, from 1.

    Raises
    ------
    LowdoseError
        If the file is missing, damaged, or holds a region of another kind (composite, angle, text, image).
    """
    with reading(path, "an ImageJ region file, .roi or .zip"):
        read = roiread(path)
    rois = read if isinstance(read, list) else [read]
    return [stroke for roi in rois for stroke in _strokes(roi, label, path)]


def check_labels(labels: npt.ArrayLike, thing: str = "labels") -> Labels:
    """A label image (row, column) or stack of such as uint8.

    Raises
    ------
    LowdoseError
        If it has another number of axes, or values that are not whole from 0 to 255.
    """
    values = np.asarray(labels)
    good = values.ndim in (2, 3) and values.size > 0 and values.dtype.kind in "biuf"
    if not good or not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= MOST):
        raise LowdoseError(
            thing,
            found=f"{values.dtype} of shape {values.shape}"
            + (f", from {values.min()} to {values.max()}" if good else ""),
            expected=f"(row, column) or (slice, row, column), whole numbers from 0 to {MOST}",
            way_out="0 is no label; classes count from 1.",
        )
    whole = values.astype(np.uint8)
    if not np.array_equal(whole, values):
        raise LowdoseError(thing, found="fractions", expected="whole numbers", way_out="Round them.")
    return whole


def _strokes(roi: ImagejRoi, label: int, path: str | Path) -> list[Stroke]:
    """What an ImageJ region labels."""
    kind = roi.roitype
    odd = roi.composite or roi.subtype in (ROI_SUBTYPE.TEXT, ROI_SUBTYPE.IMAGE)
    if odd or kind not in (*_LINES, *_AREAS, ROI_TYPE.POINT):
        raise LowdoseError(
            f"region {roi.name or 'without a name'} in {path}",
            found="a composite region" if roi.composite else f"type {kind.name}, subtype {roi.subtype.name}",
            expected="a polygon, freehand outline, rectangle, oval, line or points",
            way_out="Split composite regions in ImageJ (ROI Manager > More > Split), delete others.",
        )
    place = (roi.z_position or roi.position or 0) - 1
    where = place if place >= 0 else None
    xy = np.asarray(roi.coordinates(), np.float64)
    if kind in _AREAS:
        # ImageJ's outlines run along the pixels' corners: pixel 0 reaches from 0 to 1.
        points = tuple((y - 0.5, x - 0.5) for x, y in xy.tolist())
        return [Stroke(label, points, filled=True, slice=where)]
    points = tuple((y, x) for x, y in np.floor(xy).tolist())
    if kind == ROI_TYPE.POINT:
        return [Stroke(label, (point,), slice=where) for point in points]
    width = max(float(roi.float_stroke_width or roi.stroke_width), 1.0)
    return [Stroke(label, points, width=width, slice=where)]


def _drawn(stroke: Stroke, shape: tuple[int, ...]) -> Mask:
    mask = np.zeros(shape, np.bool_)
    points = np.asarray(stroke.points)
    if stroke.filled:
        mask[polygon(points[:, 0], points[:, 1], shape)] = True
        return mask
    whole = np.rint(points).astype(int)
    spread = int(stroke.width // 2)
    low, high = whole.min(0) - spread, whole.max(0) + spread + 1
    box = np.zeros(high - low, np.bool_)
    for (r0, c0), (r1, c1) in zip(whole - low, np.roll(whole - low, -1, 0)[: len(whole) - 1], strict=False):
        box[line(r0, c0, r1, c1)] = True
    box[tuple((whole - low).T)] = True
    if spread:
        box = distance_transform_edt(~box) <= stroke.width / 2
    there = [slice(max(a, 0), max(min(b, n), 0)) for a, b, n in zip(low, high, shape, strict=True)]
    here = [slice(s.start - a, max(s.stop - a, s.start - a)) for s, a in zip(there, low, strict=True)]
    if all(s.stop > s.start for s in there):
        mask[tuple(there)] = box[tuple(here)]
    return mask
