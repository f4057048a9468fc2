"""The built book as a browser shows it: whole, still, without a network, wide and narrow, light and dark.

Needs a Chromium. Looks at a book built at the preset `smoke`, or at the html in LOWDOSE_BOOK_HTML.
axe.min.js beside this file is axe-core 4.14.1, MPL-2.0, unchanged.
"""

from __future__ import annotations

import functools
import http.server
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parents[2]
AXE = Path(__file__).with_name("axe.min.js")
VIEWS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]


def toc_pages() -> list[str]:
    """Every page of the table of contents; of a branch, whose pages one program makes, the first."""
    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
    chapters = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    pages = [page for chapter in chapters for page in (chapter, *chapter.get("sections", [])[:1])]
    return [toc["root"]] + [page["file"] for page in pages]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest) -> Iterator[str]:
    """Address of the built book on the loopback interface."""
    named = os.environ.get("LOWDOSE_BOOK_HTML")
    folder = Path(named) if named else request.getfixturevalue("built_book") / "_build" / "html"
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@dataclass
class Watched:
    """A page and everything that went wrong on it."""

    page: Page
    site: str
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.wrong.append(f"script error: {error}"))
        self.page.on("requestfailed", lambda request: self.wrong.append(f"failed: {request.url}"))
        self.page.on(
            "response",
            lambda answer: (
                self.wrong.append(f"{answer.status}: {answer.url}") if answer.status >= 400 else None
            ),
        )
        self.page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((self.site, "data:", "blob:"))
                else self.wrong.append(f"outside: {request.url}")
            ),
        )

    def _heard(self, message) -> None:
        if message.type in {"error", "warning"}:
            self.wrong.append(f"console: {message.text}")

    def open(self, name: str) -> Page:
        """Go to a page and wait until pictures, fonts and formulas are there."""
        self.page.goto(f"{self.site}{name}.html")
        self.page.evaluate("""async () => {
            for (const image of document.images) image.loading = "eager";
            await Promise.all([...document.images].map(image => image.decode().catch(() => {})));
            await (window.MathJax?.startup?.promise);
            await document.fonts.ready;
        }""")
        return self.page


@pytest.fixture(scope="module", params=VIEWS, ids=lambda view: f"{view[0]}-{view[1]}")
def watched(request: pytest.FixtureRequest, browser: Browser, site: str) -> Iterator[Watched]:
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    yield Watched(context.new_page(), site)
    context.close()


IMAGES = """() => [...document.querySelectorAll(".bd-article img")].map(image => ({
    alt: image.getAttribute("alt"), width: image.naturalWidth, name: image.getAttribute("src").slice(0, 80),
    filter: getComputedStyle(image).filter, seen: image.getBoundingClientRect().width}))"""


@pytest.mark.parametrize("name", toc_pages())
def test_page_is_whole(watched: Watched, name: str) -> None:
    watched.wrong.clear()
    page = watched.open(name)
    assert page.locator(".bd-article h1").count() == 1
    for image in page.evaluate(IMAGES):
        assert image["width"] > 0, f"picture not loaded: {image['name']}"
        assert image["alt"] and not image["alt"].lower().endswith((".png", ".jpg", ".svg")), image["name"]
        assert image["filter"] == "none", f"grey values changed: {image['name']}"
    excess = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert excess <= 0, f"{excess} px wider than the window"
    assert page.locator("mjx-merror").count() == 0, "a formula that MathJax cannot read"
    assert watched.wrong == []


@pytest.mark.parametrize("name", toc_pages())
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_obstacle_for_assistive_technology(
    browser: Browser, site: str, name: str, scheme: str
) -> None:
    page = browser.new_page(
        viewport={"width": 1280, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    Watched(page, site).open(name)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("async () => (await axe.run(document, {resultTypes: ['violations']})).violations")
    page.close()
    serious = [
        f"{hit['id']}: {node['html'][:120]} {node['any'][0]['message'] if node['any'] else ''}"
        for hit in found
        if hit["impact"] in {"serious", "critical"}
        for node in hit["nodes"]
    ]
    assert serious == []


def test_slider_moves_by_keyboard(browser: Browser, site: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    for name in toc_pages():
        Watched(page, site).open(name)
        if page.locator("img-comparison-slider.rendered").count():
            break
    else:
        pytest.fail("no page has a working slider")
    slider = page.locator("img-comparison-slider.rendered").first
    slider.focus()
    before = slider.evaluate("slider => slider.value")
    page.keyboard.down("ArrowRight")
    page.wait_for_function("([slider, value]) => slider.value > value", arg=[slider.element_handle(), before])
    page.keyboard.up("ArrowRight")
    page.close()


def test_without_script_both_pictures_of_a_slider_are_seen(browser: Browser, site: str) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    seen = 0
    for name in toc_pages():
        page.goto(f"{site}{name}.html")
        for slider in page.locator("img-comparison-slider").all():
            boxes = [image.bounding_box() for image in slider.locator("img").all()]
            assert boxes[0]["y"] == boxes[1]["y"] and boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
            seen += 1
    context.close()
    assert seen > 0


def test_search_finds_a_word_of_the_book(browser: Browser, site: str) -> None:
    page = browser.new_page()
    page.goto(f"{site}search.html?q=sinogram")
    page.wait_for_selector("#search-results li a")
    found = page.locator("#search-results li a").all_inner_texts()
    page.close()
    assert any("Glossary" in title for title in found)


def test_sections_can_be_launched_and_downloaded(browser: Browser, site: str) -> None:
    """Dictionaries in _config.yml replace Jupyter Book's own unless told otherwise: then these are gone."""
    page = browser.new_page()
    for name in [name for name in toc_pages() if name.startswith("sections/")]:
        page.goto(f"{site}{name}.html")
        links = page.locator(".article-header-buttons a").evaluate_all("all => all.map(link => link.href)")
        assert any("colab" in link and link.endswith(f"/book/{name}.ipynb") for link in links)
        assert any("mybinder" in link and f"book/{name}.ipynb" in link for link in links)
        assert any(link.endswith(f"{name.split('/')[-1]}.ipynb") and link.startswith(site) for link in links)
    page.close()


def test_theme_switch_turns_the_page(browser: Browser, site: str) -> None:
    page = browser.new_page(color_scheme="light")
    Watched(page, site).open("index")
    ground = "() => getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(ground)
    button = page.locator(".theme-switch-button:visible").first
    for _ in range(3):  # auto, light, dark in turn
        button.click()
        if page.evaluate(ground) != before:
            break
    after = page.evaluate(ground)
    page.close()
    assert after != before
