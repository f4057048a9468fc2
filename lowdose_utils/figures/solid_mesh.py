"""From a volume of labels to closed triangle meshes, few enough faces for a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.measure import marching_cubes

from lowdose_utils.errors import LowdoseError

SMOOTHING = 0.7  # standard deviation in cells: rounds a voxel's stairs, no more
TRIALS = 8  # of the level


class Mesh(NamedTuple):
    """A triangle mesh.

    Attributes
    ----------
    vertices : array, shape (vertex, 3)
        x, y, z in physical units.
    faces : integer array, shape (face, 3)
        Numbers of vertices, anticlockwise as seen from outside.
    """

    vertices: npt.NDArray[np.float64]
    faces: npt.NDArray[np.int64]


def meshes(
    labels: npt.ArrayLike,
    *,
    spacing: float | tuple[float, float, float] = 1.0,
    faces: int = 2000,
    names: Mapping[int, str] | None = None,
) -> dict[str, Mesh]:
    """Wrap each label of a volume in one closed triangle mesh.

    The label's voxels are averaged in cells as small as the bound on faces allows, smoothed a little, and cut
    by marching cubes [1]_ at that level at which the mesh encloses the label's own volume, to about 1 %. What
    is thinner than a cell keeps its volume, not its shape; a long thin fibre may break: give it more faces.

    Parameters
    ----------
    labels : integer array, shape (z, y, x)
        0 is background. A label at the volume's edge is closed there, as cut off.
    spacing : float or (float, float, float)
        Distance of voxels' centres, along (z, y, x) if they differ. It gives the meshes their unit; the
        centre of voxel (0, 0, 0) is the origin.
    faces : int
        At most so many for each label.
    names : mapping of int to str, optional
        Names of those labels that are wanted, in this order; by default all, as "1", "2" and so on.

    Returns
    -------
    dict of str to Mesh

    Raises
    ------
    LowdoseError
        If `labels` is no volume of integers from 0 or holds no label, a named label is not in it, two names
        are the same, a spacing is not positive, or `faces` is below 100.

    References
    ----------
    .. [1] Lewiner et al., "Efficient implementation of marching cubes' cases with topological guarantees",
       Journal of Graphics Tools 8 (2003).
    """
    volume = np.asarray(labels)
    integer = volume.dtype.kind in "biu"
    if volume.ndim != 3 or not integer or not volume.size or volume.min() < 0 or volume.max() < 1:
        raise LowdoseError(
            "labels",
            found=f"shape {volume.shape} of {volume.dtype}"
            + (f", {volume.min()} to {volume.max()}" if volume.size and integer else ""),
            expected="a volume (z, y, x) of integers: 0 around, labels from 1",
            way_out="Label it first, for instance with skimage.measure.label.",
        )
    steps = np.full(3, spacing) if isinstance(spacing, int | float) else np.array(spacing, dtype=float)
    if steps.shape != (3,):
        steps = np.zeros(3)
    if not (np.isfinite(steps).all() and (steps > 0).all() and faces >= 100):
        raise LowdoseError(
            "spacing and faces",
            found=f"{spacing} and {faces}",
            expected="lengths above 0, 100 faces at least",
            way_out="Give the voxel's size, one length or three along (z, y, x).",
        )
    boxes = ndimage.find_objects(volume.view(np.uint8) if volume.dtype == bool else volume)
    there = {number: box for number, box in enumerate(boxes, 1) if box is not None}
    wanted = {number: str(number) for number in there} if names is None else dict(names)
    if missing := sorted(set(wanted) - set(there)):
        raise LowdoseError(
            "names",
            found=f"labels {missing}",
            expected=f"some of the {len(there)} labels from {min(there)} to {max(there)}",
            way_out="Name only labels that the volume holds.",
        )
    if len(set(wanted.values())) < len(wanted):
        raise LowdoseError(
            "names", found=list(wanted.values()), expected="each once", way_out="Tell parts apart by name."
        )
    return {
        name: _wrap(volume[there[number]] == number, [part.start for part in there[number]], steps, faces)
        for number, name in wanted.items()
    }


def _wrap(
    mask: npt.NDArray[np.bool_], start: list[int], spacing: npt.NDArray[np.float64], bound: int
) -> Mesh:
    """The mesh of a mask whose first voxel stands at `start`, from the finest cells that keep the bound."""
    outside = sum(int(np.count_nonzero(np.diff(np.pad(mask, 1), axis=axis))) for axis in range(3))
    finest = max(1, int(np.sqrt(outside / bound)))  # a voxel's outer side makes one triangle at least
    for coarse in range(finest, 4 * finest + max(mask.shape)):
        cells = np.maximum(1, np.round(coarse * spacing.min() / spacing)).astype(int)
        vertices, triangles = _cut(mask, cells)
        if len(triangles) <= bound:
            break
    centre = np.asarray(start) + vertices * cells + (cells - 1) / 2
    # Turning (z, y, x) round to (x, y, z) mirrors space, which turns the faces inside out, and back again.
    return Mesh((centre * spacing)[:, ::-1].copy(), triangles)


def _cut(
    mask: npt.NDArray[np.bool_], cells: npt.NDArray[np.int_]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Surface of a mask averaged in cells of so many voxels; vertices in cells from the first's centre."""
    rim = 3  # cells of nothing all around, wider than the smoothing
    after = -np.array(mask.shape) % cells
    padded = np.pad(mask, [(0, more) for more in after]).astype(np.float32)
    shape = [size for count, cell in zip(padded.shape, cells, strict=True) for size in (count // cell, cell)]
    share = np.pad(padded.reshape(shape).mean(axis=(1, 3, 5)), rim)
    smooth = ndimage.gaussian_filter(share, SMOOTHING, truncate=4.0)
    volume, peak = float(share.sum()), float(smooth.max())
    low, high = 0.02 * peak, 0.98 * peak
    for trial in range(TRIALS):
        level = (low + high) / 2 if trial else min(0.5, high)
        vertices, triangles, _, _ = marching_cubes(smooth, level, allow_degenerate=False)
        found = enclosed_volume(vertices[:, ::-1], triangles)
        if abs(found - volume) < 0.01 * volume:
            break
        low, high = (level, high) if found > volume else (low, level)
    return vertices.astype(float) - rim, triangles.astype(np.int64)


def enclosed_volume(vertices: npt.NDArray[np.floating], faces: npt.NDArray[np.integer]) -> float:
    """Volume within a closed mesh (Gauss), in the cube of the vertices' unit; the sign tells how faces turn.

    Positive for the columns and faces of `Mesh`, negative for faces turned inside out.
    """
    corners = np.asarray(vertices, dtype=float)[faces]
    return float(np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6)
