"""The glossary is used, and what is used is in it."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT

ROLE = re.compile(r"\{term\}`(?:[^`<]*<)?([^`<>]+)>?`")


def pages() -> dict[str, str]:
    """Text of every page that a person writes, by its name."""
    files = [*ROOT.glob("book/*.md"), *ROOT.glob("book/guides/*.md"), *ROOT.glob("notebooks/*.md")]
    return {file.stem: file.read_text(encoding="utf-8") for file in files}


def terms() -> set[str]:
    """The glossary's terms, in small letters."""
    text = pages()["glossary"].split("```{glossary}")[1].split("```")[0]
    return {line.strip().lower() for line in re.findall(r"^(?=\S).+$", text, re.M)}


def links(text: str) -> list[str]:
    """The terms that a page links, in order and in small letters."""
    return [" ".join(term.split()).lower() for term in ROLE.findall(text)]


def test_every_term_is_linked_from_a_page() -> None:
    linked = {term for name, text in pages().items() if name != "glossary" for term in links(text)}
    assert linked <= terms()
    assert sorted(terms() - linked) == []


@pytest.mark.parametrize("section", sorted(file.stem for file in ROOT.glob("notebooks/[0-9][0-9]_*.md")))
def test_a_section_links_the_terms_it_leans_on_once_each_and_not_too_many(section: str) -> None:
    prose = re.sub(r"```\{code-cell\}.*?```", "", pages()[section], flags=re.S)
    linked = links(prose)
    assert 3 <= len(linked) <= 15
    assert len(set(linked)) == len(linked)
    assert links(pages()[section]) == linked, "a link in a code cell stays as it is typed"
    assert not ROLE.search("\n".join(re.findall(r"^#+ .*$", prose, re.M))), "a heading is no place for a link"
    question = prose.split("**Question.**")[1].split("\n\n")[0]
    assert not ROLE.search(question), "the README shows the question, and knows no roles"


def letters(formula: str) -> set[str]:
    """What a formula is made of: letters and commands with their index, without upright words."""
    one = r"(?:\\[a-zA-Z]+|[a-zA-Z])"
    return set(re.findall(rf"{one}(?:_(?:{one}|\d))?", re.sub(r"\\(mathrm|text)\{[^}]*\}", " ", formula)))


def test_each_symbol_is_first_used_where_the_page_of_notation_says() -> None:
    contents = (ROOT / "book" / "_toc.yml").read_text(encoding="utf-8")
    used: dict[str, list[set[str]]] = {}
    for name in re.findall(r"sections/(\w+)", contents):
        prose = re.sub(r"```\{code-cell\}.*?```", "", pages()[name], flags=re.S)
        used[name] = [letters(a or b) for a, b in re.findall(r"\$\$(.+?)\$\$|\$([^$\n]+)\$", prose, re.S)]
    table = pages()["notation"].split("## Other meanings")[0]
    rows = re.findall(r"^\| (\$.+?) \| .*sections/(\w+)\.ipynb\) \|$", table, re.M)
    assert len(rows) > 20
    for symbols, page in rows:
        for symbol in re.findall(r"\$([^$]+)\$", symbols):
            wanted = letters(symbol.split(" = ")[0])
            first = next(
                (name for name, made in used.items() if any(wanted <= one for one in made)), "nowhere"
            )
            assert first == page, f"{symbol} is first used in {first}"
