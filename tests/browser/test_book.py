"""The built book as a browser shows it: what moves, what is printed, what can be searched and launched."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from book_pages import Watched, toc_pages
from bs4 import BeautifulSoup
from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
PAPER = {"width": 718, "height": 1047}  # A4 less margins of a centimetre, in CSS pixels


def with_slider(html: Path) -> list[str]:
    """Pages that have two pictures to compare."""
    found = [name for name in toc_pages() if "<img-comparison-slider" in (html / f"{name}.html").read_text()]
    assert found, "no page has a slider"
    return found


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
