"""The built book as a browser shows it: whole, still, without a network, wide and narrow, light and dark.

Needs a Chromium. Looks at a book built at the preset `smoke`, or at the html in LOWDOSE_BOOK_HTML.
axe.min.js beside this file is axe-core 4.14.1, MPL-2.0, unchanged.
"""

from __future__ import annotations

import functools
import http.server
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup
from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parents[2]
AXE = Path(__file__).with_name("axe.min.js")
WIDTHS = (390, 1920, 1300)  # of a telephone, a wide screen, a laptop; what follows sees the last
PAPER = {"width": 718, "height": 1047}  # A4 less margins of a centimetre, in CSS pixels


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
def html(request: pytest.FixtureRequest) -> Path:
    """Folder of the built book."""
    named = os.environ.get("LOWDOSE_BOOK_HTML")
    return Path(named) if named else request.getfixturevalue("built_book") / "_build" / "html"


@pytest.fixture(scope="module")
def site(html: Path) -> Iterator[str]:
    """Address of the built book on the loopback interface."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=html))
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


def with_slider(html: Path) -> list[str]:
    """Pages that have two pictures to compare."""
    found = [name for name in toc_pages() if "<img-comparison-slider" in (html / f"{name}.html").read_text()]
    assert found, "no page has a slider"
    return found


@pytest.fixture(scope="module", params=["light", "dark"])
def watched(request: pytest.FixtureRequest, browser: Browser, site: str) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": 1300, "height": 900}, color_scheme=request.param)
    yield Watched(context.new_page(), site)
    context.close()


@pytest.fixture(scope="module", params=toc_pages())
def opened(request: pytest.FixtureRequest, watched: Watched) -> Watched:
    """A page that has been loaded once for all that is asked of it."""
    watched.wrong.clear()
    watched.page.emulate_media(reduced_motion="no-preference")
    watched.open(request.param)
    return watched


IMAGES = """() => [...document.querySelectorAll(".bd-article img")].map(image => ({
    alt: image.getAttribute("alt"), width: image.naturalWidth, name: image.getAttribute("src").slice(0, 80),
    filter: getComputedStyle(image).filter, seen: image.getBoundingClientRect().width}))"""


SCROLLED_BY_KEYBOARD = """() => [...document.querySelectorAll(".bd-article pre[tabindex]")].every(
    box => box.tabIndex >= 0 || box.scrollWidth <= box.clientWidth)"""


def test_page_is_whole(opened: Watched) -> None:
    page = opened.page
    assert page.locator(".bd-article h1").count() == 1
    for image in page.evaluate(IMAGES):
        assert image["width"] > 0, f"picture not loaded: {image['name']}"
        assert image["alt"] and not image["alt"].lower().endswith((".png", ".jpg", ".svg")), image["name"]
        assert image["filter"] == "none", f"grey values changed: {image['name']}"
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        excess = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert excess <= 0, f"{excess} px wider than a window of {width} px"
    assert page.locator("mjx-merror").count() == 0, "a formula that MathJax cannot read"
    assert opened.wrong == []


def test_no_serious_obstacle_for_assistive_technology(opened: Watched) -> None:
    page = opened.page
    page.emulate_media(reduced_motion="reduce")
    page.wait_for_timeout(350)  # so long after a change of width the theme looks at what can be scrolled
    page.wait_for_function(SCROLLED_BY_KEYBOARD)
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("async () => (await axe.run(document, {resultTypes: ['violations']})).violations")
    serious = [
        f"{hit['id']}: {node['html'][:120]} {node['any'][0]['message'] if node['any'] else ''}"
        for hit in found
        if hit["impact"] in {"serious", "critical"}
        for node in hit["nodes"]
    ]
    assert serious == []


def test_slider_moves_by_keyboard(browser: Browser, html: Path, site: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    Watched(page, site).open(with_slider(html)[0])
    slider = page.locator("img-comparison-slider.rendered").first
    slider.focus()
    before = slider.evaluate("slider => slider.value")
    page.keyboard.down("ArrowRight")
    page.wait_for_function("([slider, value]) => slider.value > value", arg=[slider.element_handle(), before])
    page.keyboard.up("ArrowRight")
    page.close()


def side_by_side(page: Page) -> bool:
    """Whether the page has sliders and both pictures of each stand beside each other, whole."""
    pairs = [
        [image.bounding_box() for image in slider.locator("img").all()]
        for slider in page.locator("img-comparison-slider").all()
    ]
    return bool(pairs) and all(
        left and right and left["y"] == right["y"] and left["x"] + left["width"] <= right["x"]
        for left, right in pairs
    )


def test_without_script_both_pictures_of_a_slider_are_seen(browser: Browser, html: Path, site: str) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    for name in with_slider(html):
        page.goto(f"{site}{name}.html")
        assert side_by_side(page), name
    context.close()


CUT_OFF = """() => [...document.querySelectorAll(".bd-article *")]
    .filter(one => one.getClientRects().length && !one.closest("svg, .math, img-comparison-slider"))
    .filter(one => one.getBoundingClientRect().right > innerWidth + 1
        || (one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).overflowX !== "visible"))
    .map(one => `${one.tagName}.${one.className} ${one.innerText.slice(0, 60)}`)"""


def test_on_paper_nothing_is_hidden_cut_off_or_dark(browser: Browser, html: Path, site: str) -> None:
    name = next(name for name in with_slider(html) if name.startswith("sections/"))
    page = browser.new_page(viewport=PAPER, color_scheme="dark")
    Watched(page, site).open(name)
    hidden = page.locator(
        ".solution .toggle-hidden, .solution.toggle-hidden, .bd-article details:not([open])"
    )
    assert hidden.count() > 0
    pictures = page.evaluate(
        "new Set([...document.querySelectorAll('.bd-article img')].map(i => i.src)).size"
    )
    pdf = page.pdf(format="A4")
    assert len(re.findall(rb"/Type ?/Page\b", pdf)) > 1
    assert len(re.findall(rb"/Subtype ?/Image\b", pdf)) >= pictures
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert hidden.count() == 0
    assert side_by_side(page)
    assert page.evaluate(CUT_OFF) == []
    ink = "() => getComputedStyle(document.querySelector('.bd-article p')).color"
    assert max(int(part) for part in re.findall(r"\d+", page.evaluate(ink))) < 128
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    assert hidden.count() > 0 and page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.close()


def test_search_finds_a_word_of_the_book(browser: Browser, site: str) -> None:
    page = browser.new_page()
    page.goto(f"{site}search.html?q=sinogram")
    page.wait_for_selector("#search-results li a")
    found = page.locator("#search-results li a").all_inner_texts()
    page.close()
    assert any("Glossary" in title for title in found)


@pytest.mark.parametrize("name", [name for name in toc_pages() if name.startswith("sections/")])
def test_sections_can_be_launched_and_downloaded(html: Path, name: str) -> None:
    """Dictionaries in _config.yml replace Jupyter Book's own unless told otherwise: then these are gone."""
    page = BeautifulSoup((html / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
    links = [str(link["href"]) for link in page.select(".article-header-buttons a")]
    assert any("colab" in link and link.endswith(f"/book/{name}.ipynb") for link in links)
    assert any("mybinder" in link and f"book/{name}.ipynb" in link for link in links)
    own = [link for link in links if link.endswith(f"{name.split('/')[-1]}.ipynb") and "://" not in link]
    assert own and all((html / "sections" / link).is_file() for link in own)


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
