"""Pages from ``book/figures.yml``: a gallery for each paper, and the index of all figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lowdose_utils.files import atomic_path, write_text
from lowdose_utils.publish.claims import Judged, counted, ledger_target, outcome_html
from lowdose_utils.publish.counterparts import Counterpart, Picture, load_counterparts, pictures, thumbnail
from lowdose_utils.publish.runs import records
from lowdose_utils.publish.tables import parameters_target


def write_galleries(root: Path, preset: str) -> None:
    """Write ``book/generated/gallery_PAPER.md`` with small pictures, and ``book/generated/figures.md``."""
    generated = root / "book" / "generated"
    entries, built, judged = load_counterparts(root), records(root, preset), Judged.of_build(root, preset)
    shown = {
        section: pictures(root / "_build" / "pages" / preset / f"{section}.ipynb")
        for section in {entry.section for entry in entries} & set(built)
    }
    with atomic_path(generated / "gallery") as folder:
        folder.mkdir()
        for entry in entries:
            picture = shown.get(entry.section, {}).get(entry.cell)
            if picture is not None:
                (folder / f"{entry.cell}.webp").write_bytes(thumbnail(picture.content))
    for paper in dict.fromkeys(entry.paper for entry in entries):
        own = [entry for entry in entries if entry.paper == paper]
        write_text(generated / f"gallery_{paper}.md", gallery_page(own, built, shown, judged, preset))
    write_text(generated / "figures.md", index_page(entries, built, judged, preset))


def gallery_page(
    entries: Sequence[Counterpart],
    built: Mapping[str, Mapping[str, Any]],
    shown: Mapping[str, Mapping[str, Picture]],
    judged: Judged,
    preset: str,
) -> str:
    """One paper's figures as cards that lead to our cells, and its verdicts; the paper's page includes it.

    Parameters
    ----------
    entries : sequence of Counterpart
        Of one paper.
    built : mapping
        This build's records by section.
    shown : mapping
        For each section its pictures by name.
    """
    lines = ["## Its figures, made again", "", "Each card leads to the place where the book makes it.", ""]
    lines += ["::::{grid} 1 2 3 3", ":gutter: 3", ":class-container: lowdose-gallery", ""]
    for entry in entries:
        if entry.section in built:
            picture = shown.get(entry.section, {}).get(entry.cell)
            lines += _card(entry, built[entry.section], picture, judged)
    lines += ["::::", ""]
    lines += [f"{entry.figure}: not made here. {entry.why}\n" for entry in entries if entry.why]
    own = [claim for claim in judged.claims if claim["paper"] == entries[0].paper]
    lines += ["## What came out", ""]
    tally = counted(judged.verdicts[claim["id"]] for claim in own)
    lines += [f"This build ran at the preset `{preset}`. {tally} The ledger gives the reasons.", ""]
    lines += ["| claim | in the paper | this build |", "| --- | --- | --- |"]
    lines += [f"| {_to_ledger(c)} | {c['where']} | {outcome_html(judged.verdicts[c['id']])} |" for c in own]
    return "\n".join(lines) + "\n"


def _to_ledger(claim: Mapping[str, Any]) -> str:
    return f"[{claim['title']}](#{ledger_target(claim)})"


def _card(
    entry: Counterpart, record: Mapping[str, Any], picture: Picture | None, judged: Judged
) -> list[str]:
    """One figure as a card of sphinx-design, which is a link as a whole."""
    outcomes = [judged.verdicts[claim["id"]] for claim in entry.claims(judged.claims)]
    verdicts = ", ".join(outcome_html(verdict) for verdict in outcomes) or "no claim rests on it"
    image = (
        [f":img-top: generated/gallery/{entry.cell}.webp", f":img-alt: {json.dumps(picture.alt)}"]
        if picture
        else []
    )
    return [
        f":::{{grid-item-card}} {entry.figure}",
        *image,
        f":link: sections/{entry.section}.html#{entry.cell}",
        f":link-alt: {json.dumps(f'{entry.figure}, {entry.title}')}",
        "",
        entry.title + ("." if picture else ". A table."),
        "",
        f"{entry.kind(record).capitalize()}; {verdicts}",
        ":::",
        "",
    ]


def index_page(
    entries: Sequence[Counterpart], built: Mapping[str, Mapping[str, Any]], judged: Judged, preset: str
) -> str:
    """All figures of the papers: which cell makes each here, from what parameters, and what rests on it."""
    lines = ["# Index of figures", ""]
    lines += [
        f"The papers' figures and tables that claims rest on, and where this book makes them again, at the "
        f"preset `{preset}`. Parameters are those of the whole section, as the colophon lists them.",
        "",
    ]
    titles = {claim["paper"]: claim["paper_title"] for claim in judged.claims}
    for paper in dict.fromkeys(entry.paper for entry in entries):
        lines += ["", f"## {titles[paper]}", ""]
        lines += ["| figure | made again by | rests on it |", "| --- | --- | --- |"]
        for entry in (entry for entry in entries if entry.paper == paper):
            rests = "<br>".join(
                f"{_to_ledger(c)}: {outcome_html(judged.verdicts[c['id']])}"
                for c in entry.claims(judged.claims)
            )
            made = entry.why or "not run in this build"
            if entry.section in built:
                place = f'<a href="../sections/{entry.section}.html#{entry.cell}">{entry.title}</a>'
                parameters = f"[parameters](#{parameters_target(entry.section)})"
                made = f"{place}<br>`{entry.section}`, {entry.kind(built[entry.section])}, {parameters}"
            lines.append(f"| {entry.figure} | {made} | {rests or 'no claim'} |")
    return "\n".join(lines) + "\n"
