"""The slice browser as a browser shows it: pictures without script, and panels that move together with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from loopback import Loopback, body
from playwright.sync_api import Browser, Page, expect

from lowdose_utils.figures.slice_browser import slice_browser

pytestmark = pytest.mark.browser
BOOK = Path(__file__).resolve().parents[2] / "book"
AXE = Path(__file__).with_name("axe.min.js")
TEXT = "Two volumes whose greys tell where one is."
SHAPE = (5, 40, 60)
rng = np.random.default_rng(1)
VOLUMES = {"noisy <b>": rng.uniform(-1, 1, SHAPE), "smooth": np.linspace(-0.9, 0.7, 12000).reshape(SHAPE)}
LIMITS = (-0.8, 0.8)
STEP = 1.6 / 255
# The grey that a canvas shows at a place given in parts of its height and width.
PIXEL = """([panel, down, right]) => {
    const canvas = document.querySelectorAll(".lowdose-slices-canvas")[panel];
    const place = [right * canvas.width, down * canvas.height].map(Math.floor);
    const copy = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, ...place, 1, 1, 0, 0, 1, 1);
    return copy.getImageData(0, 0, 1, 1).data[0]; }"""
PLAIN = "html[data-theme=dark] body { color: #ced6dd; background: #14181e }"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A page with one figure, with the book's own files."""
    shown = slice_browser(VOLUMES, alt=TEXT, limits=LIMITS, pixel_size=2e-6, unit="cm⁻¹", width=600)
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>t</title>'
    head += f'<link rel="stylesheet" href="/book.css"><style>{PLAIN}</style>'
    inside = (
        f'<main class="bd-article"><h1>t</h1>{shown.content}</main><script src="/slice-browser.js"></script>'
    )
    page = f'<!doctype html><html lang="en"><head>{head}</head><body>{inside}</body></html>'
    with Loopback() as server:
        server.serve("/favicon.ico", body(b""))
        server.serve("/book.css", body((BOOK / "_static" / "book.css").read_bytes()))
        server.serve("/slice-browser.js", body((BOOK / "_static" / "slice-browser.js").read_bytes()))
        yield server.serve("/page.html", body(page.encode()))


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 800, "height": 1000})
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type in {"error", "warning"} else None)
    page.goto(address)
    expect(page.locator(".lowdose-slices.browsing")).to_be_visible()
    yield page
    page.close()
    assert wrong == []


def seen(page: Page) -> tuple[int, int, int, list[float]]:
    """Slice, row, column and values as the page says them, after the next frame."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    place = [int(n) for n in re.findall(r"\d+", page.locator(".lowdose-slices-place").inner_text())]
    said = page.locator(".lowdose-slices-value").all_inner_texts()
    return *place, [float(re.search(r"[−\d.]+", text)[0].replace("−", "-")) for text in said]


def check_values(page: Page, at: tuple[int, int, int]) -> None:
    """That the values said are the volumes' own, to a step."""
    *place, values = seen(page)
    assert tuple(place) == at
    expected = [float(np.clip(volume[at], *LIMITS)) for volume in VOLUMES.values()]
    assert values == pytest.approx(expected, abs=STEP)


def check_pixels(page: Page, voxel: tuple[int, int, int], sight: tuple[float, float, float, float]) -> None:
    """That each panel shows a voxel's grey where it belongs, given top, left, height and width in sight."""
    top, left, height, width = sight
    for panel, volume in enumerate(VOLUMES.values()):
        place = [(voxel[1] + 0.5 - top) / height, (voxel[2] + 0.5 - left) / width]
        grey = (np.clip(volume[voxel], *LIMITS) - LIMITS[0]) / STEP
        assert page.evaluate(PIXEL, [panel, *place]) == pytest.approx(grey, abs=0.51)


def parts_in_sight(page: Page) -> list[float]:
    """First column and number of columns under the profile."""
    seen(page)
    left, _, width, _ = page.locator(".lowdose-slices-plot svg").get_attribute("viewBox").split()
    return [float(left), float(width)]


def points(page: Page) -> list[int]:
    """How many points each line of the profile has."""
    lines = page.locator(".lowdose-slices-plot polyline").all()
    return [len(line.get_attribute("points").split()) for line in lines]


def test_one_control_moves_all_panels_to_the_same_slice(page: Page) -> None:
    expect(page.locator("img")).to_have_count(2)
    assert not any(image.is_visible() for image in page.locator("img").all())
    slider = page.get_by_role("slider", name="Slice")
    slider.focus()
    for key, number in (("Home", 0), ("ArrowRight", 1), ("End", 4), ("PageDown", 3)):
        if key == "PageDown":  # in the panels, not in the slider
            page.get_by_role("application").focus()
        page.keyboard.press(key)
        check_values(page, (number, 20, 30))
        assert slider.input_value() == str(number)
        for voxel in ((number, 3, 5), (number, 30, 50), (number, 17, 2)):
            check_pixels(page, voxel, (0, 0, 40, 60))


def test_arrow_keys_move_the_point_and_its_profile(page: Page) -> None:
    page.get_by_role("application").focus()
    check_values(page, (2, 20, 30))
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Shift+ArrowRight")
    check_values(page, (2, 19, 40))
    for _ in range(5):
        page.keyboard.press("Shift+ArrowDown")
    check_values(page, (2, 39, 40))
    assert points(page) == [60, 60]
    given = page.locator(".lowdose-slices-plot polyline").first.get_attribute("points").split()
    heights = [LIMITS[1] - float(point.split(",")[1]) * STEP for point in given]
    assert heights == pytest.approx(np.clip(VOLUMES["noisy <b>"][2, 39], *LIMITS), abs=STEP / 2 + 1e-6)


def test_clipped_values_are_said_to_be_beyond(page: Page) -> None:
    row, column = np.argwhere(VOLUMES["noisy <b>"][2] > 0.85)[0]
    box = page.locator(".lowdose-slices-canvas").first.bounding_box()
    page.mouse.move(
        box["x"] + (column + 0.5) * box["width"] / 60, box["y"] + (row + 0.5) * box["height"] / 40
    )
    check_values(page, (2, int(row), int(column)))
    assert page.locator(".lowdose-slices-value").first.inner_text().startswith("≥ 0.8")


def test_the_mouse_points_and_a_click_keeps_the_point(page: Page) -> None:
    box = page.locator(".lowdose-slices-canvas").nth(1).bounding_box()
    scale = box["width"] / 60
    page.mouse.move(box["x"] + 10.5 * scale, box["y"] + 5.5 * scale)
    check_values(page, (2, 5, 10))
    page.mouse.move(5, 5)
    check_values(page, (2, 20, 30))
    page.mouse.click(box["x"] + 10.5 * scale, box["y"] + 5.5 * scale)
    page.mouse.move(5, 5)
    check_values(page, (2, 5, 10))


def test_zoom_and_pan_are_linked_and_go_back(page: Page) -> None:
    canvas = page.locator(".lowdose-slices-canvas")
    box = canvas.first.bounding_box()
    bars = page.locator(".lowdose-slices-histogram path").nth(1).get_attribute("d")
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, -300)
    assert parts_in_sight(page) == [0, 60]  # without Ctrl, and out of focus, the wheel is the page's
    page.keyboard.down("Control")
    for _ in range(3):
        page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    left, width = parts_in_sight(page)
    assert width == pytest.approx(60 * np.exp(-0.9)) and left + width / 2 == pytest.approx(30, abs=0.2)
    check_pixels(page, (2, 18, 33), (20 - width / 3, left, width * 2 / 3, width))
    assert points(page) == [int(np.ceil(left + width)) - int(left)] * 2
    assert page.locator(".lowdose-slices-histogram path").nth(1).get_attribute("d") != bars
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 20, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    panned, same = parts_in_sight(page)
    assert panned == pytest.approx(left - 20 / box["width"] * width) and same == width
    page.mouse.move(5, 5)
    check_values(page, (2, 20, 30))  # a pull keeps the point
    page.get_by_role("button", name="Show all").click()
    assert parts_in_sight(page) == [0, 60]
    check_pixels(page, (2, 18, 33), (0, 0, 40, 60))
    page.get_by_role("application").focus()
    page.keyboard.press("+")
    assert parts_in_sight(page)[1] == pytest.approx(40)
    for _ in range(3):
        page.keyboard.press("Shift+ArrowLeft")
    assert parts_in_sight(page)[0] == 0  # what is in sight follows the point
    page.keyboard.press("-")
    assert parts_in_sight(page)[1] == pytest.approx(60)


def test_two_fingers_zoom(page: Page) -> None:
    page.locator(".lowdose-slices-canvas").first.evaluate("""canvas => {
        const box = canvas.getBoundingClientRect();
        const finger = (type, pointerId, x) => canvas.dispatchEvent(new PointerEvent(type, { pointerId,
            pointerType: "touch", clientX: box.left + x, clientY: box.top + 50, bubbles: true }));
        canvas.setPointerCapture = () => {};
        finger("pointerdown", 5, 100);
        finger("pointerdown", 6, 140);
        finger("pointermove", 6, 180);
        finger("pointerup", 6, 180);
        finger("pointerup", 5, 100);
    }""")
    assert parts_in_sight(page)[1] == pytest.approx(30)


@pytest.mark.parametrize("media", ["no script", "print"])
def test_without_script_and_in_print_there_are_all_pictures(
    browser: Browser, address: str, media: str
) -> None:
    context = browser.new_context(java_script_enabled=media == "print")
    page = context.new_page()
    page.goto(address)
    if media == "print":
        expect(page.locator(".lowdose-slices.browsing")).to_be_visible()
        page.emulate_media(media="print")
    boxes = [page.get_by_role("img", name=f"{name}, slice 2").bounding_box() for name in VOLUMES]
    assert boxes[0]["y"] == boxes[1]["y"] and boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    assert all(box["width"] > 250 and box["height"] > 150 for box in boxes)
    for gone in ("slider", "button", "status", "application"):
        assert page.get_by_role(gone).count() == 0 or gone == "application"
    assert "Shown is slice 2 of 0 to 4." in page.locator("figcaption").inner_text()
    context.close()


def test_a_browser_that_alters_pictures_is_found_out(page: Page) -> None:
    assert "may be off" not in page.locator("figcaption").inner_text()
    page.add_init_script("""
        const honest = CanvasRenderingContext2D.prototype.getImageData;
        CanvasRenderingContext2D.prototype.getImageData = function (...place) {
            const image = honest.apply(this, place);
            image.data[0] ^= 1;
            return image;
        };""")
    page.reload()
    expect(page.locator("figcaption")).to_contain_text("may be off")


def test_no_obstacle_and_nothing_wider_than_the_window(page: Page) -> None:
    page.evaluate(AXE.read_text(encoding="utf-8"))
    page.get_by_text("How to use it").click()
    for width, theme in ((1300, "light"), (1300, "dark"), (390, "light"), (390, "dark")):
        page.set_viewport_size({"width": width, "height": 900})
        page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        seen(page)
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
        found = page.evaluate(
            "async () => (await axe.run(document, {resultTypes: ['violations']})).violations"
        )
        assert [(hit["id"], [node["html"][:100] for node in hit["nodes"]]) for hit in found] == []
