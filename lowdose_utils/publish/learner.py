"""Copies for a class: each section without its solutions, and the solved ones for whoever teaches."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from papermill.translators import PythonTranslator

from lowdose_utils.files import atomic_path, write_text
from lowdose_utils.notebook import parameters, sections, source_notebook
from lowdose_utils.parameters import defaults
from lowdose_utils.publish.installing import installing_cell
from lowdose_utils.publish.plain import Plain, Solution, parts

GLUE = "application/papermill.record/"
EPOCH = (1980, 1, 1, 0, 0, 0)  # of all files in the archive: the same notebooks give the same bytes
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
Answer: TypeAlias = "Callable[[Solution, Run, Plain], list[NotebookNode]]"


@dataclass(frozen=True)
class Run:
    """What the executed page of a section shows; nothing if there is no such page.

    Parameters
    ----------
    command : str
        What executes the section at this preset.
    outputs : mapping
        Outputs by the source of their cell, so that a page older than the source gives none.
    record : mapping
        The run's record.
    """

    command: str
    outputs: Mapping[str, list[Any]]
    record: Mapping[str, Any]

    @classmethod
    def of(cls, section: str, preset: str, root: Path) -> Run:
        """Read the page of this build."""
        command = f"lowdose run {section} --preset {preset}"
        page = root / "_build" / "pages" / preset / f"{section}.ipynb"
        if not page.exists():
            return cls(command, {}, {"results": {}, "run": {}})
        cells = nbformat.read(page, as_version=4).cells
        outputs = {cell.source: cell.outputs for cell in cells if cell.cell_type == "code"}
        record = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
        return cls(command, outputs, record)

    def shown(self, cell: NotebookNode) -> list[Any]:
        """Outputs of a cell, less those that only carry a number into the book's text."""
        outputs = self.outputs.get(cell.source, [])
        return [out for out in outputs if not any(kind.startswith(GLUE) for kind in out.get("data", {}))]


def _expected(solution: Solution, run: Run) -> str:
    """What the solution's cells show, folded away: prediction comes first."""
    shown = []
    for cell in (piece for piece in solution if not isinstance(piece, str)):
        for output in run.shown(cell):
            data = output.get("data", {})
            if output.get("name") == "stderr":
                continue  # warnings and bars of progress differ from machine to machine
            if "image/png" in data:
                alt = output.metadata.get("image/png", {}).get("alt", "expected figure")
                shown.append(f"![{alt}](data:image/png;base64,{''.join(data['image/png'].split())})")
            else:
                shown.append(f"```text\n{output.get('text', data.get('text/plain', '')).rstrip()}\n```")
    if not shown:
        return (
            "*What to expect* stands here when the section has been executed: "
            f"`{run.command}`, then make the learner copies again."
        )
    head = "<details><summary>What to expect (predict first, then open)</summary>"
    return "\n\n".join([head, *shown, "</details>"])


def _to_write(solution: Solution, run: Run, plain: Plain) -> list[NotebookNode]:
    """In the place of a solution: cells to write into, of the kinds that the solution has."""
    cells = []
    if any(isinstance(piece, str) and piece.strip() for piece in solution):
        cells.append(new_markdown_cell("*Your prediction and your answer (double-click to write):*"))
    if any(not isinstance(piece, str) for piece in solution):
        cells += [new_code_cell("# Your code here"), new_markdown_cell(_expected(solution, run))]
    return cells


def _solved(solution: Solution, run: Run, plain: Plain) -> list[NotebookNode]:
    cells = [new_markdown_cell("#### Solution")]
    for piece in solution:
        cells += [new_markdown_cell(plain(piece))] if isinstance(piece, str) else [_code(piece, run)]
    return cells


def _code(cell: NotebookNode, run: Run | None = None) -> NotebookNode:
    """A code cell, its outputs if there is a run; what the book folds away is folded in JupyterLab, too."""
    copy = new_code_cell(cell.source, outputs=run.shown(cell) if run else [])
    tags = cell.metadata.get("tags", [])
    copy.metadata.update({"tags": tags} if tags else {})
    if {"hide-input", "hide-cell"} & set(tags):
        copy.metadata["jupyter"] = {"source_hidden": True}
    return copy


def _caption(cell: NotebookNode, plain: Plain) -> list[NotebookNode]:
    caption = cell.metadata.get("mystnb", {}).get("figure", {}).get("caption")
    return [new_markdown_cell(f"*Figure.* {plain(caption)}")] if caption else []


@dataclass(frozen=True)
class Material:
    """All that both copies of a section are made of."""

    section: str
    preset: str
    source: NotebookNode
    values: Mapping[str, Any]
    run: Run
    plain: Plain
    package: str | None

    @classmethod
    def of(cls, section: str, root: Path, preset: str, package: str | None = None) -> Material:
        """Read source, preset, page and bibliography, each once; `package` is what a first cell installs."""
        source = source_notebook(section, root)
        values = {**defaults(source), **parameters(section, preset, {}, root)}
        run = Run.of(section, preset, root)
        texts = [cell.source for cell in source.cells if cell.cell_type == "markdown"]
        plain = Plain(section, root, texts, run.record["results"])
        return cls(section, preset, source, values, run, plain, package)

    def copy(self, note: str, answer: Answer, *, executed: bool) -> NotebookNode:
        """The section in plain markdown, at the preset's values, its solutions as `answer` has them."""
        cells: list[NotebookNode] = []
        for part in parts(self.section, self.source.cells):
            if isinstance(part, str):
                cells.append(new_markdown_cell(self.plain(part)))
            elif isinstance(part, list):
                cells += answer(part, self.run, self.plain)
            else:
                cells += [_code(part, self.run if executed else None), *_caption(part, self.plain)]
        made = self.run.record["run"].get("date")
        quoted = (
            f"are those of a run at `{self.preset}` of {made}" if made else f"come with `{self.run.command}`"
        )
        cells.insert(1, new_markdown_cell(f"{note} Numbers in the text {quoted}; your own end the notebook."))
        cells = [cell for cell in cells if cell.source]
        for number, cell in enumerate(cells):
            cell["id"] = f"cell-{number:03d}"
            if "parameters" in cell.metadata.get("tags", []):
                lines = (
                    f"{name} = {PythonTranslator.translate(value)}" for name, value in self.values.items()
                )
                cell.source = "\n".join(lines)
        first = [installing_cell(self.package)] if self.package else []
        return new_notebook(cells=first + cells, metadata=KERNEL)

    def learner(self) -> NotebookNode:
        """See `learner_notebook`."""
        note = (
            f"**Learner copy**, preset `{self.preset}`. Run all cells once; then write into the *Exercises*."
        )
        return self.copy(note, _to_write, executed=False)

    def answers(self) -> NotebookNode:
        """The section with its solutions and, where it has been executed, all outputs."""
        note = f"**Solved copy**, for whoever teaches; preset `{self.preset}`."
        return self.copy(note, _solved, executed=True)


def learner_notebook(
    section: str, root: Path, preset: str = "quick", package: str | None = None
) -> NotebookNode:
    """The section as a learner gets it: one file, no solution, every cell runs as it stands.

    Parameters
    ----------
    section : str
        Name of a source in ``notebooks/``.
    root : Path
        Checkout of the book. Numbers and expected outputs are those of its ``_build/pages/PRESET/``.
    preset : str
        Whose values the parameters get.
    package : str, optional
        What a first cell installs where the package is missing, as pip names it (see `package_at`).

    Raises
    ------
    LowdoseError
        On an unknown section or preset, and on MyST that has no plain form.
    """
    return Material.of(section, root, preset, package).learner()


def write_learner(
    root: Path, folder: Path, preset: str = "quick", *, package: str | None = None
) -> list[Path]:
    """Write a learner's copy of every section, and ``answers.zip`` with the solved ones.

    The archive holds whole notebooks, not solutions by themselves: a solution uses what the cells before it
    made, so only a whole notebook runs; and with its outputs an answer can be shown without a run.
    """
    written, solved = [], {}
    for name in sections(root):
        material = Material.of(name, root, preset, package)
        written.append(folder / f"{name}.ipynb")
        write_text(written[-1], nbformat.writes(material.learner()) + "\n")
        solved[written[-1].name] = nbformat.writes(material.answers()) + "\n"
    written.append(folder / "answers.zip")
    with atomic_path(written[-1]) as partial, zipfile.ZipFile(partial, "w") as archive:
        for name, text in solved.items():
            archive.writestr(zipfile.ZipInfo(f"answers/{name}", EPOCH), text, zipfile.ZIP_DEFLATED)
    return written
