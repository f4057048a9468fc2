"""MyST as plain Jupyter shows it: directives, roles and links of the book become ordinary markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from nbformat import NotebookNode
from pybtex.database import Entry, Person, parse_file

from lowdose_utils.errors import LowdoseError
from lowdose_utils.publish.tables import frame_page

FENCE = re.compile(
    r"^(?P<fence>`{3,}|:{3,})\{(?P<name>[\w-]+)\} *(?P<title>.*)\n(?P<options>(?::[\w-]+:.*\n)*)"
    r"(?P<body>(?s:.*?))^(?P=fence) *$",
    re.MULTILINE,
)
ROLE = re.compile(r"\{([a-z][a-z:]*)\}`([^`]*)`")
LABEL = re.compile(r"^\((?P<label>[\w-]+)\)=\n(?=#+ (?P<heading>.*)$)", re.MULTILINE)
EQUATION = re.compile(r"\$\$(?P<formula>(?:(?!\$\$).)*)\$\$ \((?P<label>[\w-]+)\)", re.DOTALL)
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")
ADMONITIONS = ("note", "tip", "important", "warning", "caution", "attention", "danger", "hint")
Solution: TypeAlias = list[str | NotebookNode]  # text and code between solution-start and solution-end


def _pieces(cells: list[NotebookNode]) -> Iterator[str | re.Match[str] | NotebookNode]:
    """Code cells, the marks at which solutions begin and end, and the text between."""
    for cell in cells:
        if cell.cell_type == "code":
            yield cell
            continue
        place = 0
        for mark in FENCE.finditer(cell.source):
            if mark["name"].startswith("solution-"):
                yield cell.source[place : mark.start()]
                yield mark
                place = mark.end()
        yield cell.source[place:]


def parts(section: str, cells: list[NotebookNode]) -> Iterator[str | NotebookNode | Solution]:
    """Text, code cells and, each in one piece, solutions.

    Raises
    ------
    LowdoseError
        If marks of solutions do not alternate: text of a solution could end up in a learner's copy.
    """
    solution: Solution | None = None
    marks = []
    for piece in _pieces(cells):
        if isinstance(piece, re.Match):
            marks.append(piece["name"])
            if solution is not None:
                yield solution
            solution = [] if solution is None else None
        elif solution is None:
            yield piece
        else:
            solution.append(piece)
    pairs = ["solution-start", "solution-end"] * (len(marks) // 2)
    if marks != pairs:
        raise LowdoseError(
            f"solutions of {section}",
            found=", ".join(marks),
            expected="solution-start and solution-end in turn",
            way_out=f"Mend notebooks/{section}.md.",
        )


def _family(person: Person) -> str:
    """A family name with its particle and without LaTeX: "van Heel", "Gürsoy"."""
    return " ".join(str(part) for part in [*person.rich_prelast_names, *person.rich_last_names])


def _authors(entry: Entry) -> str:
    names = [_family(person) for person in entry.persons["author"]]
    return f"{names[0]} et al." if len(names) > 2 else " and ".join(names)


def _title(page: Path) -> str:
    """The heading of a page of the book."""
    lines = page.read_text(encoding="utf-8").splitlines()
    return next(line.removeprefix("# ") for line in lines if line.startswith("# "))


class Plain:
    """Turns a section's markdown into what plain Jupyter and Colab render.

    Parameters
    ----------
    section : str
        Whose text it is: its frame takes the place of the include.
    root : Path
        Checkout of the book: bibliography, pages, recorded runs.
    texts : iterable of str
        All of the section's markdown in order. Exercises and equations are counted in it.
    results : mapping
        Results of a run by name, each with ``value``. The text quotes them; one that is missing is named.
    """

    def __init__(
        self, section: str, root: Path, texts: Iterable[str], results: Mapping[str, Mapping[str, Any]]
    ) -> None:
        whole = "\n".join(texts)
        self._section, self._root, self._results = section, root, results
        self._exercises = [f["title"] for f in FENCE.finditer(whole) if f["name"] == "exercise-start"]
        self._equations = [found["label"] for found in EQUATION.finditer(whole)]
        self._headings = {found["label"]: found["heading"] for found in LABEL.finditer(whole)}
        self._bibliography = parse_file(root / "book" / "references.bib").entries

    def __call__(self, text: str) -> str:
        """Convert the text of one cell.

        Raises
        ------
        LowdoseError
            On a directive or role that has no plain form here: it would stay in the text as it is.
        """
        text = FENCE.sub(self._directive, text)
        text = LABEL.sub("", text)
        text = EQUATION.sub(self._equation, text)
        text = ROLE.sub(lambda role: self._role(role[1], role[2]), text)
        return LINK.sub(self._link, text).strip()

    def _directive(self, found: re.Match[str]) -> str:
        name, title, body = found["name"], found["title"], found["body"].strip()
        if name == "exercise-start":
            number = self._exercises.index(title) + 1
            return f"### Exercise {number} of {len(self._exercises)}: {title}\n"
        if name == "include" and title.endswith(f"/frame_{self._section}.md"):
            return frame_page(self._root, self._section)
        if name in ADMONITIONS:
            lines = f"**{name.capitalize()}.** {body}".splitlines()
            return "\n".join(f"> {line}".rstrip() for line in lines)
        if name == "exercise-end":
            return ""
        raise self._unknown("directive", name)

    def _equation(self, found: re.Match[str]) -> str:
        number = self._equations.index(found["label"]) + 1
        return f"$${found['formula'].rstrip()} \\tag{{{number}}} $$"

    def _role(self, name: str, text: str) -> str:
        match name:
            case "glue:text":
                return self._result(*text.partition(":")[::2])
            case "term":
                return text.partition("<")[0].rstrip()
            case "cite:p" | "cite:t":
                return self._citation([key.strip() for key in text.split(",")], in_brackets=name == "cite:p")
            case "eq":
                return f"({self._equations.index(text) + 1})"
            case _:
                raise self._unknown("role", name)

    def _result(self, name: str, form: str) -> str:
        if name not in self._results:
            return f"`{name}`"
        value = self._results[name]["value"]
        return format(value, form) if form else str(value)

    def _citation(self, keys: list[str], *, in_brackets: bool) -> str:
        cited = []
        for key in keys:
            entry = self._bibliography[key]
            year, link = entry.fields["year"], entry.fields.get("doi")
            text = f"{_authors(entry)} {year}" if in_brackets else f"{_authors(entry)} ({year})"
            cited.append(f"[{text}](https://doi.org/{link})" if link else text)
        return "(" + "; ".join(cited) + ")" if in_brackets else "; ".join(cited)

    def _link(self, found: re.Match[str]) -> str:
        """Keep what leads to the web or to the next notebook; of the book's other pages leave the name."""
        text, target = found.groups()
        if target.startswith("#"):
            return f"{text} (*{self._headings[target[1:]]}*)"
        if target.startswith("http") or target.endswith(".ipynb"):
            return found[0]
        return text or _title((self._root / "book" / "sections" / target).resolve())

    def _unknown(self, kind: str, name: str) -> LowdoseError:
        return LowdoseError(
            f"{kind} of {self._section}",
            found=f"{{{name}}}",
            expected="one that the learner copies know",
            way_out="Say in lowdose_utils/publish/plain.py what plain Jupyter shows for it.",
        )
