"""The book's Sphinx side: how outputs become html, and what the theme must not load."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from docutils import nodes
    from myst_nb.core.render import MimeData, NbElementRenderer
    from sphinx.application import Sphinx

RECORD = "application/vnd.lowdose.record+json"


class RecordRenderer:
    """MyST-NB plugin: the run record stays out of sight, and a picture brings its own alternative text.

    Registered as the entry point ``myst_nb.mime_renderers``. A picture's text is in the output's metadata
    (`lowdose_utils.figures.Shown`), where MyST-NB itself would look only at the cell's.
    """

    mime_priority_overrides: ClassVar[Sequence[tuple[str, str, int | None]]] = ()

    @staticmethod
    def handle_mime(renderer: NbElementRenderer, data: MimeData, inline: bool) -> list[nodes.Element] | None:
        """Give the nodes of an output, or None to leave it to MyST-NB."""
        if data.mime_type == RECORD:
            return []
        alt = data.output_metadata.get("image/png", {}).get("alt")
        if data.mime_type != "image/png" or not alt:
            return None
        images: list[nodes.Element] = renderer.render_image(data)
        for image in images:
            image["alt"] = alt
        return images


def drop_thebe(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    """Take sphinx-thebe's files off a page: Jupyter Book always adds them, twice, which is a script error."""
    for kind in ("script_files", "css_files"):
        context[kind] = [
            file
            for file in context.get(kind, [])
            if "thebe" not in f"{file.filename}{file.attributes.get('body', '')}".lower()
        ]


def as_written(app: Sphinx, kind: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Ready a docstring for Sphinx: a table as it stands in the source, bars and footnotes as plain text.

    reStructuredText refuses a table with a cell wider than its column, and a wide table has no room on a
    telephone, where a block of text scrolls. Footnotes of many docstrings on one page would share numbers.
    """
    done: list[str] = []
    in_table = False
    for line in lines:
        border = re.fullmatch(r"=+( +=+)+", line)
        if border and not in_table:
            done += ["::", ""]
        in_table = bool(line) and (in_table or border is not None)
        plain = re.sub(r"(``.*?``)|\|", lambda bar: bar[1] or r"\|", line)
        plain = re.sub(r"^\.\. \[(\d+)\]", r"\1.", re.sub(r"\[(\d+)\]_", r"[\1]", plain))
        done.append(f"    {line}" if in_table else plain)
    lines[:] = done


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx extension: late, so that what others add is there to be taken away."""
    app.connect("html-page-context", drop_thebe, priority=900)
    if "sphinx.ext.autodoc" in app.extensions:
        app.connect("autodoc-process-docstring", as_written, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
