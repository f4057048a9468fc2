"""The page of claims: what the papers report, what was measured here, and the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lowdose_utils.ledger import Verdict, anchor, judge, load_claims, short
from lowdose_utils.notebook import sections
from lowdose_utils.publish.runs import (
    best_run,
    has_its_presets_values,
    recorded_runs,
    records,
    run_label,
)
from lowdose_utils.record import is_current


def _outcome(verdict: Verdict) -> str:
    return f'<span class="verdict-{verdict.outcome.replace(" ", "-")}">{verdict.outcome}</span>'


def _verdict_cell(verdict: Verdict) -> str:
    return f"{_outcome(verdict)}: {verdict.why}"


def _target(claim: Mapping[str, Any]) -> str:
    """The claim's own place on the page of claims."""
    return anchor(claim["id"]).replace("claim-", "ledger-", 1)


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
    by_paper = {claim["paper"]: claim["paper_title"] for claim in claims}
    lines += ["| claim | of | this build |", "| --- | --- | --- |"]
    lines += [
        f"| [{c['title']}](#{_target(c)}) | {c['paper_title']} | {_outcome(verdicts[c['id']])} |"
        for c in claims
    ]
    for paper, title in by_paper.items():
        lines += ["", f"## {title}", ""]
        for claim in claims:
            if claim["paper"] == paper:
                lines += _claim_entry(claim, verdicts[claim["id"]], claim["section"] in built, runs, root)
    return "\n".join(lines) + "\n"


def _claim_entry(
    claim: Mapping[str, Any], verdict: Verdict, built: bool, runs: list[dict[str, Any]], root: Path
) -> list[str]:
    """One claim as a small definition list; raw links lead to anchors that the run left in the page."""
    best = best_run(claim["section"], runs)
    entry = [f"({_target(claim)})=", f"### {claim['title']}", "", f"`{claim['id']}`", ""]
    rows = [("Reported", f"{claim['reported']} ({claim['where']})"), ("Measured here", claim["measure"])]
    rows += [("Data", claim["data"]), ("This build", _verdict_cell(verdict))]
    if best is not None and claim.get("criterion"):
        current = is_current(best, root) and has_its_presets_values(best, root)
        stale = "" if current else "; made before the latest change of the code or of the preset"
        rows.append(("Best recorded run", f"{_verdict_cell(judge(claim, best))} ({run_label(best)}{stale})"))
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
