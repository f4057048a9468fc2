"""Pages and tables that follow from records and registry: frames, data, colophon, README."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lowdose_utils import data
from lowdose_utils.files import write_text
from lowdose_utils.ledger import load_claims
from lowdose_utils.notebook import sections
from lowdose_utils.publish.runs import FrontPicture, recorded_runs, records

CLASS_SECONDS = 240  # a class waits that long while something is explained to it, and hardly longer
README_MARKS = ("<!-- sections: written by `lowdose record` -->\n", "<!-- end of sections -->")


def front_figure(front: FrontPicture, record: Mapping[str, Any]) -> str:
    """The front page's picture, a caption that says whether its data were measured, and the slider."""
    shown = record["datasets"][0]
    source = (
        f"{shown['kind'].capitalize()} data: {shown['title']}. "
        f"Made by [this section](sections/{front.section}.ipynb) when this book was built."
    )
    slider = f"\n```{{raw}} html\n{front.slider}\n```\n" if front.slider else ""
    return (
        "```{figure} generated/front.png\n"
        f":alt: {json.dumps(front.alt)}\n"
        f":name: front-picture\n\n{front.caption} {source}\n```\n{slider}"
    )


def frame_page(root: Path, section: str) -> str:
    """What a section takes, preset by preset, from recorded runs: the top of its page includes it."""
    own = [run for run in recorded_runs(root) if run["section"] == section]
    if not own:
        return "No run of this section has been recorded yet.\n"
    lines = ["| preset | seconds | memory (MiB) | device | threads |", "|" + " --- |" * 5]
    for run in own:
        made = run["run"]
        lines.append(
            f"| {run['parameters']['preset']} | {made['seconds']} | {made['peak_memory_mib']} "
            f"| {run['device']} | {made['threads']} |"
        )
    used = [
        f"{d['title']} ({d['kind']}, {d.get('licence', 'made here')})" for r in own for d in r["datasets"]
    ]
    return "\n".join([*lines, "", "**Data.** " + "; ".join(dict.fromkeys(used)) + "."]) + "\n"


def timing_page(root: Path) -> str:
    """Which sections run while a class waits: from runs recorded without a GPU, the quickest first."""
    found: dict[str, dict[str, Any]] = {}
    for run in recorded_runs(root):
        if not run["run"]["peak_gpu_memory_mib"]:
            found.setdefault(run["section"], {})[run["parameters"]["preset"]] = run
    own = {section: runs for section, runs in found.items() if "quick" in runs}
    columns = ["section", "quick (s)", "memory (MiB)", "threads", "smoke (s)", "in class"]
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for section, runs in sorted(own.items(), key=lambda item: item[1]["quick"]["run"]["seconds"]):
        made = runs["quick"]["run"]
        smoke = runs["smoke"]["run"]["seconds"] if "smoke" in runs else "no run"
        use = "run it" if made["seconds"] <= CLASS_SECONDS else "show it"
        lines.append(
            f"| [{section}](sections/{section}.ipynb) | {made['seconds']} | {made['peak_memory_mib']} "
            f"| {made['threads']} | {smoke} | {use} |"
        )
    rule = f"To be run in class: what took at most {CLASS_SECONDS} s at the preset `quick`, without a GPU."
    return "\n".join([*lines, "", rule]) + "\n"


def facts_list(facts: Mapping[str, str]) -> list[str]:
    """Names and what they say, as lines of MyST; side by side where the screen is wide."""
    listed = [line for name, text in facts.items() for line in (name, f": {text}", "")]
    return ["::::{div} lowdose-facts", "", *listed, "::::", ""]


def data_page() -> str:
    """The page of datasets, from the registry."""
    lines = [
        "# Data",
        "",
        "Every dataset that the book uses or can use. *Pinned* files are checked against a hash that this "
        "repository holds; *first-use* ones, for which nobody has published a hash, against the hash of the "
        "first download; *manual* ones need a person to fetch them; *unavailable* ones are in no public "
        "store that we know.",
        "",
    ]
    for name, entry in data.datasets().items():
        lines += [
            f"## {entry.title}",
            "",
            f"`{name}` · {entry.kind} · {entry.status}",
            "",
            entry.description.strip(),
            "",
        ]
        facts = {
            "Origin": entry.origin,
            "Licence": entry.licence,
            "Shape": entry.shape,
            "Cite": entry.citation,
            "DOI": f"[{entry.doi}](https://doi.org/{entry.doi})" if entry.doi else "",
            "How to get it": entry.how,
            "In its place": entry.stands_in,
        }
        lines += facts_list({title: text for title, text in facts.items() if text})
    return "\n".join(lines) + "\n"


def colophon_page(root: Path, preset: str) -> str:
    """The page that says what made this build."""
    built = records(root, preset)
    lines = ["# Colophon", "", f"What made this build, at the preset `{preset}`.", ""]
    lines += [
        "## Sections",
        "",
        "| section | seconds | memory (MiB) | device | threads | commit |",
        "|" + " --- |" * 6,
    ]
    for name, record in built.items():
        run = record["run"]
        lines.append(
            f"| [{name}](../sections/{name}.ipynb) | {run['seconds']} | {run['peak_memory_mib']} "
            f"| {record['device']} | {run['threads']} | {run['commit']} |"
        )
    lines += ["", "## Data used", "", "| section | dataset | kind | SHA-256 |", "|" + " --- |" * 4]
    for name, record in built.items():
        for used in record["datasets"]:
            lines.append(f"| {name} | {used['title']} | {used['kind']} | `{used.get('sha256', 'none')}` |")
    lines += ["", "## Parameters", ""]
    for name, record in built.items():
        lines += [
            f"({parameters_target(name)})=",
            f"### {name}",
            "",
            "| parameter | value |",
            "| --- | --- |",
        ]
        lines += [f"| `{key}` | `{json.dumps(value)}` |" for key, value in record["parameters"].items()] + [
            ""
        ]
    lines += ["## Software", "", "| package | version |", "| --- | --- |"]
    used_versions = next(iter(built.values()))["versions"] if built else {}
    lines += [f"| {package} | {version} |" for package, version in used_versions.items()]
    return "\n".join(lines) + "\n"


def parameters_target(section: str) -> str:
    """The place on the colophon that has a section's parameters."""
    return "parameters-" + section.replace("_", "-")


def _question(root: Path, section: str) -> str:
    """The question that a section opens with."""
    source = (root / "notebooks" / f"{section}.md").read_text(encoding="utf-8")
    return " ".join(source.split("**Question.**")[1].split("\n\n")[0].split())


def _threads(run: Mapping[str, Any]) -> str:
    count = run["run"]["threads"]
    return f"{count} thread{'s' * (count != 1)}"


def sections_table(root: Path) -> str:
    """The README's table: sections and, from the recorded runs, what they take at each preset."""
    runs = recorded_runs(root)
    papers = {c["section"]: c["paper_title"] for c in load_claims(root / "book" / "claims.yml")}
    lines = ["| section | question | claims of | data | time, memory, device by preset |", "|" + " --- |" * 5]
    for name in sections(root):
        own = [run for run in runs if run["section"] == name]
        times = "; ".join(
            f"{r['parameters']['preset']}: {r['run']['seconds']} s, "
            f"{r['run']['peak_memory_mib']} MiB, {r['device']}, {_threads(r)}"
            for r in own
        )
        used = "; ".join(dict.fromkeys(f"{d['title']} ({d['kind']})" for r in own for d in r["datasets"]))
        shown = [f"[{name}](notebooks/{name}.md)", _question(root, name), papers.get(name, ""), used, times]
        lines.append("| " + " | ".join(shown) + " |")
    return "\n".join(lines) + "\n"


def write_readme(root: Path) -> None:
    """Renew the table of sections in README.md."""
    readme = root / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(README_MARKS[0])
    _, after = rest.split(README_MARKS[1])
    write_text(readme, before + README_MARKS[0] + sections_table(root) + README_MARKS[1] + after)
