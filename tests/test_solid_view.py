"""Structures in three dimensions: closed meshes of the right size, and a view with picture and data."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from lowdose_utils.errors import LowdoseError
from lowdose_utils.figures.solid_mesh import enclosed_volume
from lowdose_utils.figures.solid_view import SOLID_BYTES, Mesh, meshes, solid_view

TEXT = "A ball beside a smaller one."


def ball(radius: float, size: int = 64, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> np.ndarray:
    """Label 1 within a radius, in units of the spacing, about the middle."""
    axes = [(np.arange(round(size / step)) - round(size / step) / 2) * step for step in spacing]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return (x**2 + y**2 + z**2 <= radius**2).astype(np.uint8)


def area(mesh: Mesh) -> float:
    corners = mesh.vertices[mesh.faces]
    return (
        np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum()
        / 2
    )


def is_closed(mesh: Mesh) -> bool:
    """Each edge is run along once in either direction."""
    edges = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    forth = {tuple(edge) for edge in edges.tolist()}
    return len(forth) == len(edges) and all((end, start) in forth for start, end in forth)


@pytest.mark.parametrize(("radius", "faces"), [(8, 500), (8, 10_000), (20, 500), (20, 2000), (28, 10_000)])
def test_the_mesh_of_a_ball_is_closed_and_as_large_as_the_ball(radius: float, faces: int) -> None:
    mesh = meshes(ball(radius), faces=faces)["1"]
    assert is_closed(mesh)
    assert len(mesh.faces) <= faces
    assert enclosed_volume(*mesh) == pytest.approx(
        4 / 3 * np.pi * radius**3, rel=0.03
    )  # outwards, so positive
    assert area(mesh) == pytest.approx(4 * np.pi * radius**2, rel=0.03)
    assert mesh.vertices.min(axis=0) == pytest.approx([32 - radius] * 3, abs=1.5)
    assert mesh.vertices.max(axis=0) == pytest.approx([32 + radius] * 3, abs=1.5)


def test_spacing_gives_the_unit_along_each_axis() -> None:
    spacing = (0.5, 0.25, 0.2)
    mesh = meshes(ball(4.0, 12, spacing), spacing=spacing)["1"]
    assert is_closed(mesh)
    assert enclosed_volume(*mesh) == pytest.approx(4 / 3 * np.pi * 4.0**3, rel=0.03)
    assert np.ptp(mesh.vertices, axis=0) == pytest.approx([8, 8, 8], abs=0.6)
    assert (mesh.vertices.min(axis=0) + mesh.vertices.max(axis=0)) / 2 == pytest.approx([6, 6, 6], abs=0.15)


def test_columns_are_x_y_z_and_a_label_stays_at_its_place() -> None:
    labels = np.zeros((20, 40, 60), int)
    labels[3:9, 20:30, 40:55] = 7
    mesh = meshes(labels, spacing=2.0)["7"]
    assert mesh.vertices.min(axis=0) == pytest.approx([79, 39, 5], abs=0.6)  # faces half a voxel outside
    assert mesh.vertices.max(axis=0) == pytest.approx([109, 59, 17], abs=0.6)


def test_a_label_that_fills_the_volume_is_closed_at_its_edge() -> None:
    mesh = meshes(np.ones((9, 12, 15), bool))["1"]
    assert is_closed(mesh) and enclosed_volume(*mesh) == pytest.approx(9 * 12 * 15, rel=0.02)


def test_one_voxel_has_a_mesh() -> None:
    labels = np.zeros((3, 3, 3), int)
    labels[1, 1, 1] = 1
    mesh = meshes(labels)["1"]
    assert is_closed(mesh) and 0.5 < enclosed_volume(*mesh) < 1.5


@given(st.integers(0, 10_000), st.sampled_from([0.01, 1.0, 2.0]), st.sampled_from([200, 1500, 20_000]))
@settings(deadline=None, max_examples=25)
def test_meshes_of_any_shape_are_closed_and_few_enough(seed: int, width: float, faces: int) -> None:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(14, 17, 20)), width)
    mesh = meshes(noise > 0, faces=faces, spacing=(2.0, 1.0, 1.0))["1"]
    assert is_closed(mesh) and len(mesh.faces) <= faces
    assert enclosed_volume(*mesh) > 0


@pytest.mark.parametrize("kind", ["bool", "uint8", "int16", "uint32", "int64", "uint64", ">i2"])
def test_whole_numbers_of_any_kind_are_labels(kind: str) -> None:
    labels = ball(4, 12)[:, :, ::2].astype(kind)
    assert (meshes(labels)["1"].vertices == meshes(labels.astype(np.int64))["1"].vertices).all()


def test_names_choose_and_order_the_parts() -> None:
    labels = np.zeros((10, 10, 30), int)
    labels[3:7, 3:7, 3:7], labels[3:7, 3:7, 12:16], labels[3:7, 3:7, 22:26] = 1, 2, 5
    assert list(meshes(labels)) == ["1", "2", "5"]
    assert list(meshes(labels, names={5: "last", 1: "first"})) == ["last", "first"]


@pytest.mark.parametrize(
    ("labels", "settings"),
    [
        (np.zeros((4, 4, 4), int), {}),
        (np.ones((4, 4), int), {}),
        (np.ones((4, 4, 4)), {}),
        (-np.ones((4, 4, 4), int), {}),
        (np.ones((0, 4, 4), int), {}),
        (np.ones((4, 4, 4), int), {"spacing": 0.0}),
        (np.ones((4, 4, 4), int), {"spacing": (1.0, np.nan, 1.0)}),
        (np.ones((4, 4, 4), int), {"spacing": (1.0, 1.0)}),
        (np.ones((4, 4, 4), int), {"faces": 10}),
        (np.ones((4, 4, 4), int), {"names": {2: "absent"}}),
        (np.arange(64).reshape(4, 4, 4), {"names": {2: "same", 3: "same"}}),
    ],
)
def test_what_is_no_volume_of_labels_is_refused(labels: np.ndarray, settings: dict) -> None:
    with pytest.raises(LowdoseError):
        meshes(labels, **settings)


class Reader(HTMLParser):
    """Images, scripts and stray text of a page."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.images: list[dict] = []
        self.tags: list[str] = []
        self.script = self.text = ""
        self.feed(content)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attributes))

    def handle_data(self, data: str) -> None:
        if self.tags[-1] == "script":
            self.script += data
        else:
            self.text += data


def two_balls() -> dict[str, Mesh]:
    small, large = meshes(ball(4, 16))["1"], meshes(ball(8, 24))["1"]
    return {"large": Mesh(large.vertices + np.array([20.0, 0, 0]), large.faces), "small": small}


def test_the_view_holds_a_picture_its_text_and_the_parts() -> None:
    parts = two_balls()
    shown = solid_view(parts, alt=TEXT, unit="µm", colours={"small": "black"}, opacities={"large": 0.4})
    assert (shown.mime, shown.alt) == ("text/html", TEXT)
    read = Reader(shown.content)
    assert [image["alt"] for image in read.images] == [TEXT]
    assert read.tags == ["figure", "img", "script"] and read.text == ""
    picture = Image.open(io.BytesIO(base64.b64decode(read.images[0]["src"].split(",")[1]))).convert("RGB")
    colours = np.asarray(picture).reshape(-1, 3).astype(int)
    assert (colours.sum(axis=1) < 60).mean() > 0.005  # the black ball
    assert ((colours[:, 2] - colours[:, 0]) > 40).mean() > 0.02  # the blue one
    data = json.loads(read.script)
    assert [part["name"] for part in data["parts"]] == ["large", "small"]
    assert [part["opacity"] for part in data["parts"]] == [0.4, 1.0]
    assert data["parts"][1]["colour"] == "#000000" and data["unit"] == "µm"
    for part, mesh in zip(data["parts"], parts.values(), strict=True):
        places = np.frombuffer(base64.b64decode(part["vertices"]), "<u2").reshape(-1, 3)
        vertices = np.array(part["low"]) + places * np.array(part["step"])
        assert np.abs(vertices - mesh.vertices).max() < 2e-4 * np.ptp(mesh.vertices)
        faces = np.frombuffer(base64.b64decode(part["faces"]), f"<u{part['bits'] // 8}").reshape(-1, 3)
        assert (faces == mesh.faces).all()


def test_the_nearer_part_hides_the_farther() -> None:
    mesh = meshes(ball(8, 24))["1"]
    parts = {"near": mesh, "far": Mesh(mesh.vertices + np.array([0, 40.0, 0]), mesh.faces)}
    for names in (["near", "far"], ["far", "near"]):  # whatever is drawn first
        shown = solid_view(
            {name: parts[name] for name in names},
            alt=TEXT,
            colours={"near": "red", "far": "blue"},
            view=(-90.0, 0.0),
        )
        picture = Image.open(io.BytesIO(base64.b64decode(re.search(r"base64,([^\"]+)", shown.content)[1])))
        red, _, blue = np.asarray(picture.convert("RGB")).astype(int)[: picture.height // 2].reshape(-1, 3).T
        assert ((red > 80) & (blue < 40)).sum() > 1000
        assert ((blue > 80) & (red < 40)).sum() < 100


def test_names_and_text_are_escaped() -> None:
    name, alt = '</script><b>"bold" & $x^{2$', 'Said "so" <i>& more</i>, by all.'
    mesh = meshes(ball(4, 16))["1"]
    read = Reader(solid_view({name: mesh, "_b": mesh}, alt=alt, unit="<µm>").content)
    assert read.tags == ["figure", "img", "script"]
    assert json.loads(read.script)["parts"][0]["name"] == name
    assert read.images[0]["alt"] == alt


def test_more_than_the_bound_is_refused_and_what_is_given_fits(monkeypatch) -> None:
    assert SOLID_BYTES == 1_200_000
    monkeypatch.setattr("lowdose_utils.figures.solid_view.SOLID_BYTES", 150_000)
    mesh = meshes(ball(10), faces=2_000)["1"]
    many = {str(number): mesh for number in range(12)}
    with pytest.raises(LowdoseError, match="lower bound"):
        solid_view(many, alt=TEXT)
    assert len(solid_view(dict(list(many.items())[:1]), alt=TEXT).content.encode()) < 150_000


POINTS, FACES = np.eye(4, 3), [[0, 1, 2], [0, 2, 3]]


@pytest.mark.parametrize(
    "settings",
    [
        {"parts": {}},
        {"parts": {"a": (POINTS[:, :2], FACES)}},
        {"parts": {"a": (POINTS * np.nan, FACES)}},
        {"parts": {"a": (POINTS, [[0, 1, 4]])}},
        {"parts": {"a": (POINTS, [[-1, 1, 2]])}},
        {"parts": {"a": (POINTS, [[0.0, 1.0, 2.0]])}},
        {"parts": {"a": (POINTS, np.zeros((0, 3), int))}},
        {"alt": "short"},
        {"colours": {"b": "red"}},
        {"colours": {"a": "no colour"}},
        {"opacities": {"a": 0.0}},
        {"opacities": {"b": 0.5}},
    ],
)
def test_what_cannot_be_drawn_is_refused(settings: dict) -> None:
    with pytest.raises(LowdoseError):
        solid_view(**{"parts": {"a": (POINTS, FACES)}, "alt": TEXT, **settings})
