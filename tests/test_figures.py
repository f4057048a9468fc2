"""The book's figures keep grey values comparable, carry their text, and refuse what cannot be shown."""

from __future__ import annotations

import base64
import io
import re
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from IPython.core.formatters import DisplayFormatter
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from lowdose_utils import figures
from lowdose_utils.errors import LowdoseError

RAMP = np.linspace(0.0, 1.0, 40 * 60).reshape(40, 60)
TEXT = "A ramp from black to white."


def pixels(shown: figures.Shown) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(shown.content))).convert("RGB")).astype(int)


def test_all_panels_share_one_grey_scale() -> None:
    figure = figures.images([RAMP, 2 * RAMP, torch.from_numpy(3 * RAMP)], ["a", "b", "c"], unit="1/cm")
    scales = {axes.images[0].get_clim() for axes in figure.axes if axes.images}
    assert len(scales) == 1
    low, high = scales.pop()
    assert 0 <= low < 0.1 and 2.5 < high <= 3


def test_given_limits_hold_and_the_colour_bar_names_the_unit() -> None:
    figure = figures.images([RAMP], ["a"], unit="attenuation (1/cm)", limits=(-1.0, 2.0))
    assert figure.axes[0].images[0].get_clim() == (-1.0, 2.0)
    assert figure.axes[-1].get_ylabel() == "attenuation (1/cm)"


def test_scale_bar_is_as_long_as_it_says() -> None:
    figure = figures.images([np.zeros((50, 300))], ["a"], unit="1", pixel_size=1e-6)
    axes = figure.axes[0]
    assert axes.texts[0].get_text() == "100 µm"
    assert axes.patches[0].get_width() == pytest.approx(100)


@given(st.floats(1e-9, 10.0))
@settings(deadline=None, max_examples=50)
def test_scale_bars_fill_a_reasonable_part_of_the_width(extent: float) -> None:
    length, label = figures.nice_length(extent)
    assert extent / 7.6 < length <= extent / 3 * 1.000001
    assert re.fullmatch(r"(1|2|5)(0|00)? (m|mm|µm|nm|pm)", label)


def test_picture_is_small_opaque_and_white_around() -> None:
    noise = np.random.default_rng(0).normal(size=(4, 400, 400))
    shown = figures.show(figures.images(list(noise), list("abcd"), unit="1"), TEXT)
    image = Image.open(io.BytesIO(base64.b64decode(shown.content)))
    assert "transparency" not in image.info and image.mode == "P"
    assert image.width <= 7.4 * figures.DPI
    assert len(shown.content) < 800_000
    assert (pixels(shown)[0, 0] == 255).all()


def test_grey_values_stay_grey_and_in_order() -> None:
    ramp = np.tile(np.arange(256.0), (64, 1))
    drawn = pixels(figures.show(figures.images([ramp], [""], unit="1", limits=(0.0, 255.0)), TEXT))
    row = drawn[len(drawn) // 2]
    spread = row.max(axis=1) - row.min(axis=1)
    picture = row[: np.flatnonzero(row[:, 0] >= 250)[-1]]
    assert spread.max() <= 2
    dark = np.flatnonzero(picture[:, 0] < 5)[0]
    rising = picture[dark : dark + 600, 0]
    assert (np.diff(rising[: np.argmax(rising)]) >= -2).all()


def test_text_reaches_the_notebook_beside_the_picture() -> None:
    shown = figures.show(figures.curves({"a": ([1, 2], [1, 2])}, x_label="x", y_label="y"), TEXT)
    data, metadata = DisplayFormatter().format(shown)
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert data["text/plain"] == TEXT
    assert metadata["image/png"]["alt"] == TEXT


def test_curves_differ_in_more_than_colour() -> None:
    x = np.arange(1, 6)
    figure = figures.curves(
        {"one": (x, x), "two": (x, 2 * x, 0.1 * x)},
        theory={"law": (x, x**0.5)},
        x_label="dose (1)",
        y_label="noise (1/cm)",
        log="xy",
    )
    axes = figure.axes[0]
    assert axes.get_xscale() == axes.get_yscale() == "log"
    named = {text.get_text() for text in figure.legends[0].get_texts()}
    assert named == {"one", "two", "law"}
    markers = [line.get_marker() for line in axes.lines if line.get_marker() in figures.MARKERS]
    assert len(set(markers)) == 2
    assert any(line.get_linestyle() == "--" for line in axes.lines)


def test_a_logarithmic_axis_of_common_numbers_is_labelled_with_them() -> None:
    x = np.array([1, 2, 4, 8])
    figure = figures.curves({"a": (x, 0.2 / x)}, x_label="n (1)", y_label="noise (1/cm)", log="xy")
    FigureCanvasAgg(figure).draw()
    (axes,) = figure.axes
    for axis, wanted in ((axes.xaxis, {"1", "2", "4"}), (axes.yaxis, {"0.1"})):
        shown = {text.get_text() for text in axis.get_ticklabels(which="both")} - {""}
        assert wanted <= shown and not any("$" in text or "e" in text for text in shown)
    figure = figures.curves({"a": (10.0**x, x)}, x_label="n (1)", y_label="noise (1/cm)", log="x")
    FigureCanvasAgg(figure).draw()
    assert any("10^{" in text.get_text() for text in figure.axes[0].get_xticklabels())


def test_of_many_curves_no_two_look_alike_and_no_name_covers_one() -> None:
    x = np.arange(1, 6)
    many = {f"method {number}": (x, number * x) for number in range(12)}
    figure = figures.curves(many, x_label="dose (1)", y_label="noise (1/cm)")
    (axes,) = figure.axes
    looks = {(line.get_marker(), line.get_color()) for line in axes.lines if line.get_marker() != "None"}
    assert {look for look in looks if look[0] in figures.MARKERS} == looks and len(looks) == len(many)
    FigureCanvasAgg(figure).draw()
    assert not figure.legends[0].get_window_extent().overlaps(axes.get_window_extent())


def test_in_small_multiples_a_name_looks_the_same_in_every_panel() -> None:
    x = np.arange(4.0)
    a, b, c = (x, x), (x, 2 * x), (x, 3 * x)
    lines = {"first": {"a": a, "b": b}, "second": {"b": b}, "third": {"c": c, "a": a}, "fourth": {"b": b}}
    figure = figures.small_multiples(lines, x_label="angle (degrees)", y_label="noise (1/cm)", columns=3)
    drawn = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title() for axes in drawn] == list(lines)
    assert len(figure.axes) == 6  # two rows of three, of which the last two are switched off
    assert not any(axes.lines for axes in figure.axes[4:])
    looks = {
        name: {
            (line.get_color(), line.get_linestyle())
            for axes in drawn
            for line in axes.lines
            if line.get_label() == name
        }
        for name in "abc"
    }
    assert all(len(found) == 1 for found in looks.values())
    for each in zip(*(found.pop() for found in looks.values()), strict=True):
        assert len(set(each)) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "c"]
    assert (figure.get_supxlabel(), figure.get_supylabel()) == ("angle (degrees)", "noise (1/cm)")


def test_tables_escape_round_and_say_what_they_head() -> None:
    alt = "What is lost at <b>half</b> the dose & more."
    rows = [
        ["fbp & <i>tv</i>", 1.23456, 1234567],
        ["none", np.float64(0.00098765), '"<'],
        ["all", 98.76, None],
    ]
    shown = figures.table(["", "PSNR <dB>", "n"], rows, alt)
    assert (shown.mime, shown.alt) == ("text/html", alt)
    root = ElementTree.fromstring(shown.content)  # what is not escaped is not well-formed, or not text
    assert root.tag == "table"
    assert root.findtext("caption") == alt
    assert [head.text or "" for head in root.findall("thead/tr/th[@scope='col']")] == ["", "PSNR <dB>", "n"]
    assert [head.text for head in root.findall("tbody/tr/th[@scope='row']")] == [
        "fbp & <i>tv</i>",
        "none",
        "all",
    ]
    cells = [[cell.text for cell in row.findall("td")] for row in root.findall("tbody/tr")]
    assert cells == [["1.23", "1234567"], ["0.000988", '"<'], ["98.8", "None"]]
    with pytest.raises(LowdoseError, match="alt"):
        figures.table(["a"], [["b"]], "table")


def test_slider_shows_both_pixel_for_pixel_on_one_scale() -> None:
    shown = figures.slider(
        RAMP,
        RAMP / 2,
        names=("full", "half & half"),
        alt=(TEXT, "The ramp, half as bright."),
        limits=(0.0, 1.0),
    )
    uris = re.findall(r'src="data:image/png;base64,([^"]+)"', shown.content)
    first, second = (np.asarray(Image.open(io.BytesIO(base64.b64decode(uri)))) for uri in uris)
    assert first.shape == second.shape == RAMP.shape
    np.testing.assert_allclose(first, RAMP * 255, atol=0.51)
    np.testing.assert_allclose(second, RAMP * 127.5, atol=0.51)
    assert f'alt="{TEXT}"' in shown.content
    assert "half &amp; half" in shown.content


@pytest.mark.parametrize(
    ("make", "thing"),
    [
        (lambda: figures.images([RAMP], ["a", "b"], unit="1"), "titles"),
        (lambda: figures.images([], [], unit="1"), "titles"),
        (lambda: figures.images([np.zeros((2, 3, 4))], ["a"], unit="1"), "panel 'a'"),
        (lambda: figures.images([np.full((4, 4), np.nan)], ["a"], unit="1"), "panel 'a'"),
        (lambda: figures.show(figures.curves({"a": ([1], [1])}, x_label="x", y_label="y"), "x.png"), "alt"),
        (lambda: figures.slider(RAMP, RAMP[1:], names=("a", "b"), alt=(TEXT, TEXT)), "after"),
        (
            lambda: figures.slider(
                np.random.default_rng(0).normal(size=(600, 600)),
                np.zeros((600, 600)),
                names=("a", "b"),
                alt=(TEXT, TEXT),
            ),
            "before",
        ),
    ],
)
def test_what_cannot_be_shown_is_refused_by_name(make, thing: str) -> None:
    with pytest.raises(LowdoseError) as refused:
        make()
    assert refused.value.thing == thing


def test_a_table_refuses_rows_of_another_length_and_rounds_every_kind_of_float():
    with pytest.raises(LowdoseError, match="3 entries"):
        figures.table(["a", "b"], [["x", 1, 2]], "a table of two columns")
    shown = figures.table(["a", "b"], [["x", np.float32(0.123456)]], "a table of two columns")
    assert "<td>0.123</td>" in shown.content


def test_small_multiples_without_a_curve_are_refused():
    with pytest.raises(LowdoseError, match="no curve"):
        figures.small_multiples({"empty": {}}, x_label="x", y_label="y")


def test_film_moves_without_loss_and_rests_where_asked() -> None:
    frames = [[RAMP, np.clip(RAMP - shift, 0, 1)] for shift in (0.0, 0.2, 0.4)]
    shown = figures.film(frames, names=["still", "a <b>"], alt=TEXT, limits=(0, 1), milliseconds=300)
    assert shown.mime == "text/html" and shown.alt == TEXT
    figure = ElementTree.fromstring(re.sub(r"<(source|img)([^>]*)>", r"<\1\2/>", shown.content))
    picture, caption = figure
    source, image = picture
    assert source.get("media") == "(prefers-reduced-motion: reduce)"
    assert image.get("alt") == TEXT and caption.text == "From left to right: still, a <b>."

    def opened(uri: str | None) -> Image.Image:
        return Image.open(io.BytesIO(base64.b64decode((uri or "").removeprefix("data:image/webp;base64,"))))

    moving, resting = opened(image.get("src")), opened(source.get("srcset"))
    assert moving.n_frames == 3 and moving.info["loop"] == 0
    assert getattr(resting, "n_frames", 1) == 1
    last = np.asarray(resting.convert("L")).astype(float) / 255
    assert last.shape == (40, 122) and (last[:, 60:62] == 1).all()
    assert np.abs(last[:, :60] - RAMP).max() < 0.5 / 31 + 0.003  # no loss but that of 32 levels
    moving.seek(2)
    assert (np.asarray(moving.convert("L")) == np.asarray(resting.convert("L"))).all()


@pytest.mark.parametrize(
    ("frames", "names", "said"),
    [
        ([[RAMP]], ["a"], "two frames"),
        ([[RAMP], [RAMP, RAMP]], ["a"], "panels"),
        ([[RAMP], [RAMP[1:]]], ["a"], "one shape"),
        ([[RAMP], [RAMP * np.nan]], ["a"], "NaN"),
    ],
)
def test_film_refuses_what_it_cannot_show(frames, names, said) -> None:
    with pytest.raises(LowdoseError, match=said):
        figures.film(frames, names=names, alt=TEXT)


def test_a_film_above_its_bound_is_refused(monkeypatch) -> None:
    noise = [[np.random.default_rng(k).normal(size=(60, 60))] for k in range(2)]
    assert "webp" in figures.film(noise, names=["a"], alt=TEXT).content
    monkeypatch.setattr(sys.modules[figures.film.__module__], "FILM_BYTES", 5_000)
    with pytest.raises(LowdoseError, match="at most 5 kB"):
        figures.film(noise, names=["a"], alt=TEXT)
