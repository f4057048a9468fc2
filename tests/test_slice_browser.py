"""Volumes on a page: the embedded pictures give the values back, and what cannot be shown is refused."""

from __future__ import annotations

import base64
import io
import json
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from lowdose_utils.errors import LowdoseError
from lowdose_utils.figures.slice_browser import SLICES_BYTES, slice_browser

TEXT = "A disc in noise, then with less of it, then without."
SMALL = np.arange(24.0).reshape(2, 3, 4)


class Reader(HTMLParser):
    """Elements and the data of a figure."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.script = self.text = ""
        self.feed(content)
        self.images = [attributes for tag, attributes in self.elements if tag == "img"]
        self.data = json.loads(self.script)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        if self.elements[-1][0] == "script":
            self.script += data
        else:
            self.text += data


def values(read: Reader, number: int) -> np.ndarray:
    """A panel's volume as a page's reader gets it."""
    low, high = read.data["limits"]
    uris = [uri or read.images[number]["src"] for uri in read.data["panels"][number]["slices"]]
    greys = [np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))) for uri in uris]
    assert all((grey == grey[..., :1]).all() for grey in greys)  # no colour
    return low + np.stack(greys)[..., 0] / 255 * (high - low)


def three_volumes(slices: int = 16, size: int = 160) -> dict[str, np.ndarray]:
    """Truth, and two reconstructions with the noise of filtered back-projection, as tall as the contrast."""
    rng = np.random.default_rng(3)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in (slices, size, size)), indexing="ij")
    truth = np.where(x**2 + y**2 < 0.8, 0.2, 0.0) + np.where((x - 0.3) ** 2 + y**2 + z**2 / 9 < 0.1, 0.2, 0.0)
    noise = rng.normal(0, 0.2, truth.shape)
    noise -= ndimage.gaussian_filter(noise, (0, 1.5, 1.5))
    smooth = ndimage.gaussian_filter(truth + 0.2 * noise, (0, 0.8, 0.8))
    return {"FBP": truth + noise, "Noise2Inverse": smooth, "truth": truth}


def test_what_the_atlas_shows_fits_and_comes_back_within_half_a_step() -> None:
    volumes = three_volumes()
    shown = slice_browser(volumes, alt=TEXT, unit="cm⁻¹", pixel_size=2e-6)
    assert (shown.mime, shown.alt) == ("text/html", TEXT)
    assert len(shown.content.encode()) < 0.9 * SLICES_BYTES
    read = Reader(shown.content)
    low, high = read.data["limits"]
    assert [panel["name"] for panel in read.data["panels"]] == list(volumes)
    assert [image["alt"] for image in read.images] == [f"{name}, slice 8" for name in volumes]
    assert "in 256 steps" in read.text and "A pixel is 2 µm wide" in read.text
    for number, volume in enumerate(volumes.values()):
        error = np.abs(values(read, number) - np.clip(volume, low, high)).max()
        assert error <= 0.5001 * (high - low) / 255
        clipped = [volume.min() < low, volume.max() > high]
        assert read.data["panels"][number]["clipped"] == clipped


def test_limits_are_kept_and_tensors_are_volumes() -> None:
    read = Reader(slice_browser({"a": torch.from_numpy(SMALL)}, alt=TEXT, limits=(-1.0, 50.0)).content)
    assert read.data["limits"] == [-1.0, 50.0] and read.data["shape"] == [2, 3, 4]
    assert np.abs(values(read, 0) - SMALL).max() <= 0.5001 * 51 / 255
    assert read.data["panels"][0]["clipped"] == [False, False]


def test_names_text_and_unit_are_escaped() -> None:
    name, alt, unit = '</script><b>"bold" & x', 'Said "so" <i>& more</i>, by all.', "<µm>"
    read = Reader(slice_browser({name: SMALL}, alt=alt, unit=unit).content)
    tags = [tag for tag, _ in read.elements]
    assert tags == ["figure", "div", "div", "div", "img", "figcaption", "span", "script"]
    assert read.elements[0][1]["aria-label"] == alt
    assert read.images[0]["alt"] == f"{name}, slice 1"
    assert read.data["panels"][0]["name"] == name and read.data["unit"] == unit
    assert read.text.startswith(name) and unit in read.text


def test_what_is_too_large_is_refused_with_its_size_and_a_way_out() -> None:
    noise = np.random.default_rng(0).normal(size=(6, 256, 256))
    with pytest.raises(LowdoseError, match=r"6 x 256 x 256, \d+ kB.*fewer slices"):
        slice_browser({"a": noise, "b": noise + 1, "c": noise + 2}, alt=TEXT)


@pytest.mark.parametrize(
    "settings",
    [
        {"volumes": {}},
        {"volumes": {str(number): SMALL for number in range(7)}},
        {"volumes": {"a": SMALL, "b": SMALL[:, :2]}},
        {"volumes": {"a": SMALL[0]}},
        {"volumes": {"a": SMALL[:0]}},
        {"volumes": {"a": SMALL, "b": np.where(SMALL == 5, np.nan, SMALL)}},
        {"alt": "short"},
        {"limits": (1.0, 1.0)},
        {"limits": (0.0, np.inf)},
        {"pixel_size": 0.0},
    ],
)
def test_what_cannot_be_shown_is_refused(settings: dict) -> None:
    with pytest.raises(LowdoseError):
        slice_browser(**{"volumes": {"a": SMALL}, "alt": TEXT, **settings})
