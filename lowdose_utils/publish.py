"""From executed sections to the published book: ledger, data page, colophon, README table, HTML."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lowdose_utils import data
from lowdose_utils.errors import LowdoseError
from lowdose_utils.files import atomic_path, write_text
from lowdose_utils.ledger import Verdict, anchor, judge, load_claims, short
from lowdose_utils.notebook import PRESETS, sections
from lowdose_utils.record import fingerprint

README_MARKS = ("<!-- sections: written by `lowdose record` -->\n", "<!-- end of sections -->")


def records(root: Path, preset: str) -> dict[str, dict[str, Any]]:
    """The records of this build's sections, by name."""
    found = {}
    for section in sections(root):
        path = root / "_build" / "pages" / preset / f"{section}.json"
        if path.exists():
            found[section] = json.loads(path.read_text(encoding="utf-8"))
    return found


def recorded_runs(root: Path) -> list[dict[str, Any]]:
    """The records kept in the repository, in the order of section, preset and device."""
    kept = [json.loads(path.read_text(encoding="utf-8")) for path in root.glob("book/recorded_runs/*.json")]
    return sorted(kept, key=lambda r: (r["section"], PRESETS.index(r["parameters"]["preset"]), r["device"]))


def front_picture(root: Path, preset: str) -> bytes:
    """The picture of the cell tagged ``front-picture``: the book's front page and the README show it."""
    for section in sections(root):
        page = json.loads(
            (root / "_build" / "pages" / preset / f"{section}.ipynb").read_text(encoding="utf-8")
        )
        for cell in page["cells"]:
            if "front-picture" in cell["metadata"].get("tags", []):
                return base64.b64decode(cell["outputs"][0]["data"]["image/png"])
    raise LowdoseError(
        "picture of the front page",
        found="no cell tagged front-picture",
        expected="one in some section",
        way_out="Tag the cell that draws it.",
    )


def _best_run(section: str, runs: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The recorded run with the largest preset."""
    own = [run for run in runs if run["section"] == section]
    return max(own, key=lambda run: PRESETS.index(run["parameters"]["preset"]), default=None)


def _run_label(run: Mapping[str, Any]) -> str:
    made = run["run"]
    return f"preset {run['parameters']['preset']}, {run['device']}, {made['date']}, commit {made['commit']}"


def _verdict_cell(verdict: Verdict) -> str:
    kind = verdict.outcome.replace(" ", "-")
    return f'<span class="verdict-{kind}">{verdict.outcome}</span>: {verdict.why}'


def ledger_page(root: Path, preset: str) -> str:
    """The page of claims: for each the paper's figure, this build's, the best recorded run's, the verdict."""
    built, runs = records(root, preset), recorded_runs(root)
    claims = load_claims(root / "book" / "claims.yml")
    written = sections(root)
    verdicts = {c["id"]: judge(c, built.get(c["section"]), written=c["section"] in written) for c in claims}
    counts = Counter(verdict.outcome for verdict in verdicts.values())
    lines = [
        "# The ledger of claims",
        "",
        f"This build ran at the preset `{preset}`. Of {len(claims)} claims, {counts['reproduced']} were "
        f"reproduced, {counts['not reproduced']} were not, {counts['not judged']} could not be judged. "
        "Each verdict follows from a criterion that is data (`book/claims.yml`) and from the measurement of "
        "a run; nobody writes it.",
        "",
    ]
    for paper in dict.fromkeys(claim["paper"] for claim in claims):
        own = [claim for claim in claims if claim["paper"] == paper]
        lines += [f"## {own[0]['paper_title']}", ""]
        for claim in own:
            lines += _claim_entry(claim, verdicts[claim["id"]], claim["section"] in built, runs, root)
    return "\n".join(lines) + "\n"


def _claim_entry(
    claim: Mapping[str, Any], verdict: Verdict, built: bool, runs: list[dict[str, Any]], root: Path
) -> list[str]:
    """One claim as a small definition list; raw links lead to anchors that the run left in the page."""
    best = _best_run(claim["section"], runs)
    entry = [f"### {claim['title']}", "", f"`{claim['id']}`", ""]
    rows = [("Reported", f"{claim['reported']} ({claim['where']})"), ("Measured here", claim["measure"])]
    rows += [("Data", claim["data"]), ("This build", _verdict_cell(verdict))]
    if best is not None and claim.get("criterion"):
        stale = (
            ""
            if best["inputs"] == fingerprint(claim["section"], root)
            else "; made before the latest change of the code"
        )
        rows.append(("Best recorded run", f"{_verdict_cell(judge(claim, best))} ({_run_label(best)}{stale})"))
    if built:
        judged = f"#{anchor(claim['id'])}" if verdict.outcome != "not judged" else ""
        rows.append(("Cell", f'<a href="../sections/{claim["section"]}.html{judged}">{claim["section"]}</a>'))
    for name, text in rows:
        entry += [f"{name}", f": {text}", ""]
    if "table" in claim:
        head, body = claim["table"]["columns"], claim["table"]["rows"]
        entry += ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
        entry += ["| " + " | ".join(short(value) for value in row) + " |" for row in body] + [""]
    return entry


def frame_page(root: Path, section: str) -> str:
    """What a section takes, preset by preset, from recorded runs: the top of its page includes it."""
    own = [run for run in recorded_runs(root) if run["section"] == section]
    lines = ["| preset | seconds | memory (MiB) | device | data |", "|" + " --- |" * 5]
    for run in own:
        used = "; ".join(
            f"{d['title']} ({d['kind']}, {d.get('licence', 'made here')})" for d in run["datasets"]
        )
        lines.append(
            f"| {run['parameters']['preset']} | {run['run']['seconds']} | {run['run']['peak_memory_mib']} "
            f"| {run['device']}, {run['run']['threads']} threads | {used} |"
        )
    return "\n".join(lines) + "\n" if own else "No run of this section has been recorded yet.\n"


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
        for title, text in facts.items():
            lines += [title, f": {text}", ""] if text else []
    return "\n".join(lines) + "\n"


def colophon_page(root: Path, preset: str) -> str:
    """The page that says what made this build."""
    built = records(root, preset)
    lines = ["# Colophon", "", "What made this build.", ""]
    lines += [
        "## Sections",
        "",
        "| section | preset | seconds | peak memory (MiB) | device | commit |",
        "|" + " --- |" * 6,
    ]
    for name, record in built.items():
        run = record["run"]
        lines.append(
            f"| [{name}](../sections/{name}.ipynb) | {preset} | {run['seconds']} | {run['peak_memory_mib']} "
            f"| {record['device']}, {run['threads']} threads | {run['commit']} |"
        )
    lines += ["", "## Data used", "", "| section | dataset | kind | SHA-256 |", "|" + " --- |" * 4]
    for name, record in built.items():
        for used in record["datasets"]:
            lines.append(f"| {name} | {used['title']} | {used['kind']} | `{used.get('sha256', 'none')}` |")
    lines += ["", "## Parameters", ""]
    for name, record in built.items():
        lines += [f"### {name}", "", "| parameter | value |", "| --- | --- |"]
        lines += [f"| `{key}` | `{json.dumps(value)}` |" for key, value in record["parameters"].items()] + [
            ""
        ]
    lines += ["## Software", "", "| package | version |", "| --- | --- |"]
    used_versions = next(iter(built.values()))["versions"] if built else {}
    lines += [f"| {package} | {version} |" for package, version in used_versions.items()]
    return "\n".join(lines) + "\n"


def write_pages(root: Path, preset: str) -> None:
    """Write ``book/generated/`` and copy the preset's executed sections to ``book/sections/``."""
    generated = root / "book" / "generated"
    write_text(generated / "claims.md", ledger_page(root, preset))
    write_text(generated / "data.md", data_page())
    write_text(generated / "colophon.md", colophon_page(root, preset))
    with atomic_path(generated / "front.png") as picture:
        picture.write_bytes(front_picture(root, preset))
    for name in sections(root):
        write_text(generated / f"frame_{name}.md", frame_page(root, name))
    target = root / "book" / "sections"
    wanted = {
        f"{name}.ipynb": root / "_build" / "pages" / preset / f"{name}.ipynb" for name in sections(root)
    }
    if target.exists():
        for stray in target.iterdir():
            if stray.name not in wanted:
                stray.unlink()
    for name, page in wanted.items():
        write_text(target / name, page.read_text(encoding="utf-8"))


def build_html(root: Path) -> Path:
    """Build the book strictly and from clean, then put it in place of the last good one.

    Raises
    ------
    LowdoseError
        If Jupyter Book warns or fails; the last good book stays.
    """
    aside, final = root / "_build" / "jb", root / "_build" / "html"
    shutil.rmtree(aside, ignore_errors=True)
    tool = Path(sys.executable).with_name("jupyter-book")
    options = ["--config", "_config.yml", "--path-output", "_build/jb", "-W", "-n", "--keep-going"]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [str(tool), "build", "book", *options],
        cwd=root,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    log = root / "_build" / "logs" / "html.log"
    write_text(log, done.stdout + done.stderr)
    page = aside / "_build" / "html" / "index.html"
    if done.returncode != 0 or not page.exists():
        said = [
            line for line in (done.stdout + done.stderr).splitlines() if "WARNING" in line or "ERROR" in line
        ]
        raise LowdoseError(
            "book",
            found="; ".join(said[:10]) or f"exit status {done.returncode}",
            expected="a build without a warning",
            way_out=f"The whole log is {log.relative_to(root).as_posix()}.",
        )
    old = root / "_build" / "html.old"
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    page.parent.rename(final)
    shutil.rmtree(old, ignore_errors=True)
    return final / "index.html"


def sections_table(root: Path) -> str:
    """The README's table: sections and, from the recorded runs, what they take at each preset."""
    runs = recorded_runs(root)
    papers = {c["section"]: c["paper_title"] for c in load_claims(root / "book" / "claims.yml")}
    lines = ["| section | paper | data | time, memory and device by preset |", "| --- | --- | --- | --- |"]
    for name in sections(root):
        own = [run for run in runs if run["section"] == name]
        times = "; ".join(
            f"{r['parameters']['preset']}: {r['run']['seconds']} s, "
            f"{r['run']['peak_memory_mib']} MiB, {r['device']}"
            for r in own
        )
        used = "; ".join(dict.fromkeys(f"{d['title']} ({d['kind']})" for r in own for d in r["datasets"]))
        lines.append(f"| [{name}](notebooks/{name}.md) | {papers.get(name, '')} | {used} | {times} |")
    return "\n".join(lines) + "\n"


def write_readme(root: Path) -> None:
    """Renew the table of sections in README.md."""
    readme = root / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(README_MARKS[0])
    _, after = rest.split(README_MARKS[1])
    write_text(readme, before + README_MARKS[0] + sections_table(root) + README_MARKS[1] + after)


def keep_record(root: Path, section: str, preset: str) -> Path:
    """Copy this build's record of a section to ``book/recorded_runs/`` and renew the README's table."""
    source = root / "_build" / "pages" / preset / f"{section}.json"
    if not source.exists():
        raise LowdoseError(
            f"record of {section} at {preset}",
            found="none",
            expected=source.relative_to(root).as_posix(),
            way_out=f"Run `lowdose run {section} --preset {preset}` first.",
        )
    record = json.loads(source.read_text(encoding="utf-8"))
    kind = "gpu" if record["run"]["peak_gpu_memory_mib"] else "cpu"
    target = root / "book" / "recorded_runs" / f"{section}-{preset}-{kind}.json"
    write_text(target, source.read_text(encoding="utf-8"))
    with atomic_path(root / "book" / "recorded_runs" / "front.png") as picture:
        picture.write_bytes(front_picture(root, preset))
    write_readme(root)
    return target
