"""A 3-D view as a browser shows it: a picture until the button is pressed, then a scene that turns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from loopback import Loopback, body, status
from playwright.sync_api import Browser, Page, expect

from lowdose_utils.figures.solid_view import meshes, solid_view

pytestmark = pytest.mark.browser
BOOK = Path(__file__).resolve().parents[2] / "book"
TEXT = "A block before a rod; the rod is longer."
PLOTLY = "/vendor/plotly/plotly-gl3d.min.js"
CAMERA = "() => document.querySelector('.lowdose-solid-scene').layout.scene.camera.eye"


@pytest.fixture(scope="module")
def content() -> str:
    """Html of a page with one view, as the book lays its files."""
    labels = np.zeros((20, 30, 40), int)
    labels[4:16, 3:12, 5:20], labels[8:12, 20:26, 3:37] = 1, 2
    view = solid_view(meshes(labels, spacing=0.5, names={1: "block", 2: "<rod>"}), alt=TEXT)
    head = '<meta charset="utf-8"><title>t</title><link rel="stylesheet" href="/_static/book.css">'
    script = '<script src="/_static/solid-view.js"></script>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{view.content}{script}</body></html>'


@pytest.fixture
def server(content: str) -> Iterator[Loopback]:
    with Loopback() as server:
        server.serve("/page.html", body(content.encode()))
        server.serve("/favicon.ico", body(b""))
        for name in ("book.css", "solid-view.js"):
            server.serve(f"/_static/{name}", body((BOOK / "_static" / name).read_bytes()))
        server.serve(PLOTLY, body((BOOK / "_extra" / PLOTLY[1:]).read_bytes()))
        yield server


@pytest.fixture
def page(browser: Browser, server: Loopback) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 800, "height": 900}, color_scheme="light")
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    address = server.serve("/page.html", *server._answers["/page.html"])
    outside: list[str] = []
    own = (address.removesuffix("/page.html"), "data:", "blob:")
    page.on("request", lambda asked: None if asked.url.startswith(own) else outside.append(asked.url))
    page.goto(address)
    yield page
    page.close()
    assert wrong == [] and outside == []


def opened(page: Page) -> Page:
    """The page once its scene is drawn."""
    page.get_by_role("button", name="Turn it in 3-D").click()
    expect(page.get_by_role("button", name="Back to the picture")).to_be_enabled(timeout=60_000)
    return page


def test_until_the_button_is_pressed_there_is_a_picture_and_no_plotly(page: Page, server: Loopback) -> None:
    expect(page.get_by_role("img", name=TEXT)).to_be_visible()
    assert server.hits[PLOTLY] == 0
    opened(page)
    assert server.hits[PLOTLY] == 1
    expect(page.get_by_role("img", name=TEXT)).to_be_hidden()


def test_the_scene_is_drawn_and_turns_by_mouse_and_by_key(page: Page) -> None:
    page.get_by_role("button", name="Turn it in 3-D").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Back to the picture")).to_be_enabled(timeout=60_000)
    scene = page.locator(".lowdose-solid-scene")
    expect(scene).to_be_focused()
    assert scene.evaluate("scene => getComputedStyle(scene).outlineStyle") == "solid"
    page.wait_for_timeout(500)
    shot = scene.screenshot()

    def camera() -> np.ndarray:
        return np.array([page.evaluate(CAMERA)[axis] for axis in "xyz"])

    first = camera()
    page.keyboard.press("ArrowLeft")
    turned = camera()
    angle = np.rad2deg(np.arctan2(turned[1], turned[0]) - np.arctan2(first[1], first[0]))
    assert angle == pytest.approx(10) and turned[2] == pytest.approx(first[2])
    page.keyboard.press("ArrowDown")
    assert camera()[2] > turned[2] + 0.05
    page.keyboard.press("+")
    assert camera()[2] < turned[2] + 0.3
    page.keyboard.press("Home")
    assert camera() == pytest.approx(first)

    box = scene.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 250, box["y"] + 250)
    page.mouse.down()
    page.mouse.move(box["x"] + 350, box["y"] + 250, steps=8)
    page.mouse.up()
    page.wait_for_function(f"before => Math.abs(({CAMERA})().x - before) > 0.1", arg=float(first[0]))
    page.wait_for_timeout(300)
    assert scene.screenshot() != shot


def test_parts_hide_one_by_one(page: Page) -> None:
    opened(page)
    page.get_by_label("<rod>").uncheck()
    shown = "() => document.querySelector('.lowdose-solid-scene').data.map(part => part.visible ?? true)"
    page.wait_for_function(f"() => JSON.stringify(({shown})()) === '[true,false]'")
    page.get_by_label("<rod>").check()
    page.wait_for_function(f"() => JSON.stringify(({shown})()) === '[true,true]'")


def test_escape_brings_the_picture_back_and_it_opens_again(page: Page) -> None:
    for _ in range(2):
        opened(page)
        page.keyboard.press("Escape")
        button = page.get_by_role("button", name="Turn it in 3-D")
        expect(button).to_be_focused()
        expect(page.get_by_role("img", name=TEXT)).to_be_visible()
        assert page.locator("canvas").count() == 0


def test_print_shows_the_picture_even_while_the_scene_is_open(page: Page) -> None:
    opened(page)
    page.emulate_media(media="print")
    expect(page.get_by_role("img", name=TEXT)).to_be_visible()
    expect(page.locator(".lowdose-solid-scene")).to_be_hidden()
    expect(page.get_by_role("button")).to_be_hidden()


def test_what_does_not_load_is_said_and_the_picture_stays(page: Page, server: Loopback) -> None:
    server.serve(PLOTLY, status(404))
    page.get_by_role("button", name="Turn it in 3-D").click()
    expect(page.get_by_role("status")).to_contain_text("cannot be shown: plotly did not load")
    expect(page.get_by_role("img", name=TEXT)).to_be_visible()
    expect(page.get_by_role("button", name="Turn it in 3-D")).to_be_enabled()


def test_without_script_there_is_the_picture_and_no_dead_button(browser: Browser, server: Loopback) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(server.serve("/page.html", *server._answers["/page.html"]))
    expect(page.get_by_role("img", name=TEXT)).to_be_visible()
    assert page.get_by_role("button").count() == 0
    assert page.locator("body").inner_text().strip() == ""
    context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_axes_take_the_ink_of_the_theme(page: Page, theme: str) -> None:
    opened(page)
    page.add_style_tag(content="html[data-theme=dark] body { color: #ced6dd; background: #14181e }")
    page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
    ink = {"light": "rgb(0, 0, 0)", "dark": "rgb(206, 214, 221)"}[theme]
    layout = "document.querySelector('.lowdose-solid-scene').layout"
    page.wait_for_function(f"ink => {layout}.scene.xaxis.color === ink", arg=ink)
    assert page.evaluate(f"{layout}.paper_bgcolor") == "rgba(0,0,0,0)"
