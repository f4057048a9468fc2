"""The page of claims: what the papers report, what was measured here, and the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowdose_utils.fingerprint import is_current
from lowdose_utils.ledger import Verdict, anchor, judge, load_claims, short
from lowdose_utils.notebook import sections
from lowdose_utils.publish.runs import (
    best_run,
    has_its_presets_values,
    recorded_runs,
    records,
    run_label,
)
from lowdose_utils.publish.tables import facts_list


@dataclass(frozen=True)
class Judged:
    """The claims in their order, and each one's verdict by its identifier."""

    claims: list[dict[str, Any]]
    verdicts: dict[str, Verdict]

    @classmethod
    def of_build(cls, root: Path, preset: str) -> Judged:
        """What this build's records make of the claims in ``book/claims.yml``."""
        built, written = records(root, preset), sections(root)
        claims = load_claims(root / "book" / "claims.yml")
        return cls(
            claims,
            {c["id"]: judge(c, built.get(c["section"]), written=c["section"] in written) for c in claims},
        )


def counted(verdicts: Iterable[Verdict]) -> str:
    """How many claims were reproduced, in a sentence."""
    counts = Counter(verdict.outcome for verdict in verdicts)
    return (
        f"Of {counts.total()} claims, {counts['reproduced']} were reproduced, {counts['not reproduced']} "
        f"were not, {counts['not judged']} could not be judged."
    )


def outcome_html(verdict: Verdict) -> str:
    """The outcome in a word, in its colour."""
    return f'<span class="verdict-{verdict.outcome.replace(" ", "-")}">{verdict.outcome}</span>'


def _verdict_cell(verdict: Verdict) -> str:
    return f"{outcome_html(verdict)}: {verdict.why}"


def ledger_target(claim: Mapping[str, Any]) -> str:
    """The claim's own place on the page of claims."""
    return anchor(claim["id"]).replace("claim-", "ledger-", 1)


def ledger_page(root: Path, preset: str) -> str:
    """The page of claims: for each the paper's figure, this build's, the best recorded run's, the verdict."""
    built, runs, judged = records(root, preset), recorded_runs(root), Judged.of_build(root, preset)
    claims, verdicts = judged.claims, judged.verdicts
    lines = [
        "# The ledger of claims",
        "",
        f"This build ran at the preset `{preset}`. {counted(verdicts.values())} "
        "Each verdict follows from a criterion that is data (`book/claims.yml`) and from the measurement of "
        "a run; nobody writes it.",
        "",
    ]
    by_paper = {claim["paper"]: claim["paper_title"] for claim in claims}
    lines += ["| claim | of | this build |", "| --- | --- | --- |"]
    lines += [
        f"| [{c['title']}](#{ledger_target(c)}) | {c['paper_title']} | {outcome_html(verdicts[c['id']])} |"
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
    entry = [f"({ledger_target(claim)})=", f"### {claim['title']}", "", f"`{claim['id']}`", ""]
    rows = [("Reported", f"{claim['reported']} ({claim['where']})"), ("Measured here", claim["measure"])]
    rows += [("Data", claim["data"]), ("This build", _verdict_cell(verdict))]
    if best is not None and claim.get("criterion"):
        current = is_current(best, root) and has_its_presets_values(best, root)
        stale = "" if current else "; made before the latest change of the code or of the preset"
        rows.append(("Best recorded run", f"{_verdict_cell(judge(claim, best))} ({run_label(best)}{stale})"))
    if built:
        judged = f"#{anchor(claim['id'])}" if verdict.outcome != "not judged" else ""
        rows.append(("Cell", f'<a href="../sections/{claim["section"]}.html{judged}">{claim["section"]}</a>'))
    entry += facts_list(dict(rows))
    if "table" in claim:
        head, body = claim["table"]["columns"], claim["table"]["rows"]
        entry += ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
        entry += ["| " + " | ".join(short(value) for value in row) + " |" for row in body] + [""]
    return entry
