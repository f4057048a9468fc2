"""Structures in three dimensions: a picture, and in the book a button that lets the reader turn it."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.colors import is_color_like

from lowdose_utils.errors import LowdoseError
from lowdose_utils.figures.shown import Shown, plain_text
from lowdose_utils.figures.solid_mesh import Mesh, meshes
from lowdose_utils.figures.solid_picture import bounds, direction, part_colours, still

__all__ = ["SOLID_BYTES", "Mesh", "meshes", "solid_view"]

SOLID_BYTES = 1_200_000
GRID = 65535  # a part's box is divided so finely along each axis


def solid_view(
    parts: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]],
    *,
    alt: str,
    unit: str = "µm",
    colours: Mapping[str, str] | None = None,
    opacities: Mapping[str, float] | None = None,
    view: tuple[float, float] = (-60.0, 25.0),
    width: int = 680,
) -> Shown:
    """Show closed meshes as a picture which the book's reader can turn.

    The picture is all that print, mail and readers without scripts see. On the book's pages
    ``_static/solid-view.js`` adds a button which loads plotly from the book's own files and puts the same
    parts in the picture's place: to be turned, brought nearer, and hidden one by one, by mouse or keyboard.

    Parameters
    ----------
    parts : mapping of str to (vertices, faces)
        For each part vertices of shape (vertex, 3), as x, y, z, and faces of shape (face, 3), numbers of
        vertices anticlockwise as seen from outside. `meshes` makes such.
    alt : str
        What is shown, and what is to be seen in it.
    unit : str
        Of the vertices.
    colours : mapping of str to str, optional
        Of some parts, as matplotlib names them. Default: eighteen tones of the book's palette, over again.
    opacities : mapping of str to float, optional
        Of some parts, above 0 and up to 1, the default: a hull may be of glass. The still picture sorts whole
        faces, so that glass within glass may look wrong there.
    view : (float, float)
        Azimuth, from x to y, and elevation above the plane of x and y, in degrees.
    width : int
        On the page, in CSS pixels, less on a narrow screen.

    Returns
    -------
    Shown
        Html.

    Raises
    ------
    LowdoseError
        If there is no part, a mesh is not one, a colour or an opacity is of no part or none, or the whole is
        above 1.2 MB.
    """
    plain = {name: _plain_mesh(name, *part) for name, part in parts.items()}
    if not plain:
        raise LowdoseError(
            "parts", found="none", expected="one at least", way_out="Give {name: (vertices, faces)}."
        )
    glass = {**dict.fromkeys(plain, 1.0), **(opacities or {})}
    wrong = [
        f"colour {paint!r} of {name!r}"
        for name, paint in (colours or {}).items()
        if name not in plain or not is_color_like(paint)
    ] + [
        f"opacity {share} of {name!r}"
        for name, share in glass.items()
        if name not in plain or not 0 < share <= 1
    ]
    if wrong:
        raise LowdoseError(
            "colours and opacities",
            found="; ".join(wrong),
            expected=f"colours, and opacities above 0 up to 1, of {', '.join(map(repr, plain))}",
            way_out="Name parts as they are named in `parts`.",
        )
    paints = part_colours(list(plain), colours)
    text = plain_text(alt)
    low, high = bounds(plain)
    scene = {
        "unit": unit,
        "box": [low.tolist(), high.tolist()],
        "eye": direction(*view).round(4).tolist(),
        "parts": [
            {"name": name, "colour": paints[name], "opacity": glass[name], **_packed(mesh)}
            for name, mesh in plain.items()
        ],
    }
    # Within a script element only "<" could end it, or open a comment.
    data = json.dumps(scene, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    picture, across, down = "", 1, 1
    if len(data) <= SOLID_BYTES:  # what is refused below need not be drawn
        picture, across, down = still(plain, colours=paints, opacities=glass, unit=unit, view=view)
    content = (
        '<figure class="lowdose-solid">'
        f'<img class="lowdose-solid-still" width="{width}" height="{round(width * down / across)}" '
        f'style="max-width:100%;height:auto" alt="{html.escape(text)}" src="data:image/png;base64,{picture}">'
        f'<script type="application/json" class="lowdose-solid-data">{data}</script></figure>'
    )
    if (size := len(content.encode())) > SOLID_BYTES:
        raise LowdoseError(
            "parts",
            found=f"{len(plain)} with {sum(len(mesh.faces) for mesh in plain.values())} faces, "
            f"{size // 1000} kB in the page",
            expected=f"at most {SOLID_BYTES // 1000} kB",
            way_out="Give `meshes` a lower bound on faces, or show fewer parts.",
        )
    return Shown("text/html", content, text)


def _plain_mesh(name: str, vertices: npt.ArrayLike, faces: npt.ArrayLike) -> Mesh:
    """A mesh as float64 and int64, or a refusal."""
    points, corners = np.asarray(vertices), np.asarray(faces)
    if (
        points.ndim != 2
        or corners.ndim != 2
        or points.shape[1] != 3
        or corners.shape[1] != 3
        or not len(corners)
        or corners.dtype.kind not in "iu"
        or not np.isfinite(points).all()
        or corners.min() < 0
        or corners.max() >= len(points)
    ):
        raise LowdoseError(
            f"part {name!r}",
            found=f"vertices of shape {points.shape}, faces of shape {corners.shape} and {corners.dtype}",
            expected="finite (vertex, 3), and whole (face, 3) which number them from 0",
            way_out="Take it from `meshes`.",
        )
    return Mesh(points.astype(np.float64), corners.astype(np.int64))


def _packed(mesh: Mesh) -> dict[str, Any]:
    """A mesh as base64 of little-endian whole numbers, and the box that these divide."""
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    step = np.where(high > low, (high - low) / GRID, 1.0)
    places = np.round((mesh.vertices - low) / step).astype("<u2")
    kind = "<u2" if len(places) <= 65536 else "<u4"
    coded = {
        "vertices": base64.b64encode(places.tobytes()).decode("ascii"),
        "faces": base64.b64encode(mesh.faces.astype(kind).tobytes()).decode("ascii"),
    }
    return {"low": low.tolist(), "step": step.tolist(), "bits": 16 if kind == "<u2" else 32, **coded}
