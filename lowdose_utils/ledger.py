"""The ledger: claims with their criteria, and the verdicts that follow from a run's measurements."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

CLAIMS = Path(__file__).resolve().parents[1] / "book" / "claims.yml"
INSTALLED_CLAIMS = Path(__file__).with_name("_book") / "claims.yml"
Outcome = Literal["reproduced", "not reproduced", "not judged"]


def short(value: Any) -> str:
    """A value as a table shows it: five digits of a float, anything else as JSON."""
    return f"{value:.5g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class Verdict:
    """An outcome and the sentence that gives its reason."""

    outcome: Outcome
    why: str


def anchor(claim: str) -> str:
    """The id in a page at which a claim is judged."""
    return "claim-" + claim.replace(".", "-").replace("_", "-")


def load_claims(path: Path | None = None) -> list[dict[str, Any]]:
    """All claims in the order of the file, each with the key of its paper.

    Parameters
    ----------
    path : Path, optional
        By default ``book/claims.yml`` of the checkout, or the copy that an installed package carries.
    """
    path = path or next((one for one in (CLAIMS, INSTALLED_CLAIMS) if one.is_file()), CLAIMS)
    papers = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [
        {**claim, "paper": paper, "paper_title": entry["title"]}
        for paper, entry in papers.items()
        for claim in entry["claims"]
    ]


_COMPARISONS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "at least": (lambda value, bound: value >= bound, "{bound} or more"),
    "at most": (lambda value, bound: value <= bound, "{bound} or less"),
    "above": (lambda value, bound: value > bound, "more than {bound}"),
    "below": (lambda value, bound: value < bound, "less than {bound}"),
    "equal": (lambda value, bound: value == bound, "{bound}"),
    "within": (lambda value, bound: bound[0] <= value <= bound[1], "from {bound[0]} to {bound[1]}"),
}


def judge(claim: Mapping[str, Any], record: Mapping[str, Any] | None, *, written: bool = True) -> Verdict:
    """Compare a record's measurements with a claim's criterion: the one place where verdicts are made.

    Parameters
    ----------
    claim : mapping
        An entry of ``book/claims.yml``. Its ``criterion`` is a list of checks, each with the name of a
        measurement (``measured``), a comparison (``is``) and a ``bound``; all must hold.
    record : mapping or None
        The section's run record, or None if the section has none.
    written : bool
        Whether the section has a source at all.

    Returns
    -------
    Verdict
        "not judged" where the section, the criterion or a measurement is missing.
    """
    if not written:
        return Verdict("not judged", "section not written")
    if record is None:
        return Verdict("not judged", "section not run in this build")
    if not claim.get("criterion"):
        return Verdict("not judged", "no criterion set")
    measured = record["claims"].get(claim["id"])
    if not measured:
        return Verdict("not judged", "nothing measured for it with these parameters")
    sentences, holds = [], True
    for check in claim["criterion"]:
        name, bound = check["measured"], check["bound"]
        value = measured.get(name)
        if value is None or isinstance(value, str):
            return Verdict("not judged", f"the measurement {name} is missing")
        holds_here, words = _COMPARISONS[check["is"]]
        holds = holds and bool(holds_here(value, bound))
        sentences.append(f"{name.replace('_', ' ')} {short(value)}, asked: {words.format(bound=bound)}")
    return Verdict("reproduced" if holds else "not reproduced", "; ".join(sentences))
