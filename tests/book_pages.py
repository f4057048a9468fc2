"""The built book in a browser: its pages, what is asked of every one of them, and what went wrong there.

Needs a Chromium. Looks at a book built at the preset `smoke`, or at the html in LOWDOSE_BOOK_HTML.
browser/axe.min.js is axe-core 4.14.1, MPL-2.0, unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import yaml
from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[1]
AXE = ROOT / "tests" / "browser" / "axe.min.js"
WIDTHS = (390, 1920, 1300)  # of a telephone, a wide screen, a laptop; what follows sees the last


def toc_pages() -> list[str]:
    """Every page of the table of contents; of a branch, whose pages one program makes, the first."""
    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text(encoding="utf-8"))
    chapters = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    pages = [page for chapter in chapters for page in (chapter, *chapter.get("sections", [])[:1])]
    return [toc["root"]] + [page["file"] for page in pages]


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
    assert opened.wrong == [], opened.wrong


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
    assert serious == [], serious
