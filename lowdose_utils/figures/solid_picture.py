"""Meshes as a still picture: what print, mail and readers without scripts see of a 3-D view."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from PIL import Image, ImageChops

from lowdose_utils.figures.look import COLOURS, DPI, LOOK
from lowdose_utils.figures.shown import as_base64
from lowdose_utils.figures.solid_mesh import Mesh

Floats = npt.NDArray[np.float64]
AMBIENT = 0.4  # the light that reaches every face; the rest comes from above the viewer's left shoulder


def part_colours(names: Sequence[str], chosen: Mapping[str, str] | None = None) -> dict[str, str]:
    """A colour for each part: the palette without black, then its paler, then its darker tones.

    Parameters
    ----------
    names : sequence of str
    chosen : mapping of str to str, optional
        Colours, as matplotlib names them, of some parts.
    """
    plain = np.array([to_rgb(colour) for colour in COLOURS[:-1]])
    tones = np.concatenate([plain, 0.5 + 0.5 * np.roll(plain, 2, axis=0), 0.6 * plain])
    own = {name: to_hex(tones[number % len(tones)]) for number, name in enumerate(names)}
    return {**own, **{name: to_hex(colour) for name, colour in (chosen or {}).items()}}


def direction(azimuth: float, elevation: float) -> Floats:
    """Unit vector (x, y, z) towards the viewer; angles in degrees."""
    turn, rise = np.deg2rad([azimuth, elevation])
    return np.array([np.cos(rise) * np.cos(turn), np.cos(rise) * np.sin(turn), np.sin(rise)])


def bounds(parts: Mapping[str, Mesh]) -> tuple[Floats, Floats]:
    """Least and greatest x, y, z of all parts."""
    every = np.concatenate([vertices for vertices, _ in parts.values()])
    return every.min(axis=0), every.max(axis=0)


def still(
    parts: Mapping[str, Mesh],
    *,
    colours: Mapping[str, str],
    opacities: Mapping[str, float],
    unit: str,
    view: tuple[float, float],
) -> tuple[str, int, int]:
    """Draw parts in parallel projection within axes of one scale.

    Parameters
    ----------
    parts : mapping of str to Mesh
        Closed meshes: faces that look away from the viewer are not drawn.
    colours, opacities : mappings by the same names
    unit : str
        Of the vertices.
    view : (float, float)
        Azimuth, from x to y, and elevation above the plane of x and y, in degrees.

    Returns
    -------
    str
        PNG, as base64.
    int, int
        Its width and height in pixels, at twice the page's resolution.
    """
    low, high = bounds(parts)
    margin = 0.02 * (high - low).max()
    low, high = low - margin, high + margin
    extent = high - low
    ticks = np.clip(8 * extent / extent.max(), 2, 6).astype(int)
    with rc_context({**LOOK, "xtick.labelsize": 8.0, "ytick.labelsize": 8.0}):
        figure = Figure(figsize=(7.2, 7.0))
        axes = cast(Axes3D, figure.add_axes((0.0, 0.2, 1.0, 0.8), projection="3d", computed_zorder=False))
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), zlim=(low[2], high[2]))
        axes.set(xlabel=f"x ({unit})", ylabel=f"y ({unit})", zlabel=f"z ({unit})")
        for axis, count in zip((axes.xaxis, axes.yaxis, axes.zaxis), ticks, strict=True):
            axis.set_pane_color((0.96, 0.96, 0.96, 1.0))
            axis.set_major_locator(MaxNLocator(int(count)))
        axes.set_proj_type("ortho")
        axes.set_box_aspect(extent, zoom=1.0)
        axes.view_init(elev=view[1], azim=view[0])
        axes.add_collection3d(_polygons(parts, colours, opacities, view))
        if len(parts) > 1:
            keys = [Patch(facecolor=colours[name], alpha=opacities[name]) for name in parts]
            figure.draw_without_rendering()
            drawn = Bbox.union([axis.get_tightbbox() for axis in (axes.xaxis, axes.yaxis, axes.zaxis)])
            floor = figure.transFigure.inverted().transform(drawn.p0)[1] - 0.02
            columns, place = min(len(parts), 6), (0.5, floor)
            names = [name.replace("$", r"\$") for name in parts]  # no formulas
            figure.legend(keys, names, loc="upper center", bbox_to_anchor=place, ncols=columns, fontsize=8)
        buffer, small = io.BytesIO(), io.BytesIO()
        figure.savefig(buffer, format="png", dpi=2 * DPI, facecolor="white")
    whole = Image.open(buffer).convert("RGB")
    left, top, right, bottom = ImageChops.invert(whole).getbbox() or (0, 0, *whole.size)
    cropped = whole.crop((max(left - 10, 0), max(top - 10, 0), right + 10, bottom + 10))
    # 256 colours, spread over all tones and shades so that none jumps, at a quarter of the bytes.
    picture = cropped.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    picture.save(small, "png", optimize=True)
    return as_base64(small), picture.width, picture.height


def _polygons(
    parts: Mapping[str, Mesh],
    colours: Mapping[str, str],
    opacities: Mapping[str, float],
    view: tuple[float, float],
) -> Poly3DCollection:
    """All faces towards the viewer in one collection, so that nearer ones hide farther ones of any part."""
    towards, light = direction(*view), direction(view[0] - 35, view[1] + 30)
    corners, paints = [], []
    for name, (vertices, faces) in parts.items():
        triangles = vertices[faces]
        normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
        seen = normals @ towards > 0
        corner = np.zeros((len(vertices), 3))
        np.add.at(corner, faces, normals[:, None])  # of a vertex: the mean over its faces, by their areas
        smooth = corner[faces[seen]].sum(axis=1)
        smooth /= np.maximum(np.linalg.norm(smooth, axis=1, keepdims=True), 1e-300)
        bright = AMBIENT + (1 - AMBIENT) * np.clip(smooth @ light, 0, 1)
        shades = np.clip(bright[:, None] * np.array(to_rgb(colours[name])) * 1.15, 0, 1)
        corners.append(triangles[seen])
        paints.append(np.column_stack([shades, np.full(len(shades), opacities[name])]))
    paint = np.concatenate(paints)
    # An edge in the face's own colour closes the hairlines between faces; through glass it would be seen.
    edges = np.where(paint[:, 3:] < 1, 0.0, paint)
    return Poly3DCollection(np.concatenate(corners), facecolors=paint, edgecolors=edges, linewidths=0.3)
