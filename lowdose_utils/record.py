"""The run record that a section leaves in its notebook, as JSON and as a table."""

from __future__ import annotations

import html
import importlib.metadata
import json
import math
import platform
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lowdose_utils import data
from lowdose_utils.errors import LowdoseError
from lowdose_utils.fingerprint import ROOT, fingerprint, loaded_modules, registered
from lowdose_utils.ledger import anchor, judge, load_claims, short

MIME = "application/vnd.lowdose.record+json"
PACKAGES = ("lowdose_utils", "torch", "numpy", "scipy", "scikit-image", "h5py", "algotom", "matplotlib")


def _plain(value: Any) -> Any:
    """Turn a result into JSON, floats to six digits: past those, two machines differ anyway."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    return value


def commit(root: Path = ROOT) -> str:
    """The commit of the checkout, with a plus sign if files differ from it; "unknown" without git."""
    try:
        shown = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return shown.stdout.strip()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"python": platform.python_version(), **found}


@dataclass
class Record:
    """What a section did and found.

    Make it in the first cell after the parameters (`Record.begin`), add to it on the way, and end the
    section with `show`, which leaves it in the notebook as JSON under its own MIME type and as a table.

    Parameters
    ----------
    section : str
        Name of the section, as its source file has it.
    parameters : dict
        Every parameter and its value.
    device : str
        Device asked for; the record keeps the one that was used.
    """

    section: str
    parameters: dict[str, Any]
    device: str = "auto"
    datasets: list[dict[str, Any]] = field(default_factory=list)
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    claims: dict[str, dict[str, Any]] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter, repr=False)

    @classmethod
    def begin(cls, section: str, namespace: Mapping[str, Any], *, device: str = "auto") -> Record:
        """Start a record from a notebook's ``globals()``: each public plain value is a parameter.

        Call it before any other plain value is assigned; a test of every section holds it to that.
        """
        plain = (str, int, float, bool, list, tuple)
        hidden = ("In", "Out")
        parameters = {
            name: _plain(value)
            for name, value in namespace.items()
            if isinstance(value, plain) and not name.startswith("_") and name not in hidden
        }
        return cls(section, parameters, device)

    def dataset(self, name: str) -> _Html:
        """Note that the registered dataset `name` was used; the cell shows a label that says so."""
        self.datasets.append(data.provenance(name))
        return self._label()

    def simulated(self, name: str, description: str) -> _Html:
        """Note that data were simulated in this run; the cell shows a label that says so."""
        self.datasets.append({"name": name, "kind": "simulated", "title": description})
        return self._label()

    def _label(self) -> _Html:
        used = self.datasets[-1]
        licence = f" ({html.escape(used['licence'])})" if "licence" in used else ""
        return _Html(
            f'<p class="lowdose-data lowdose-{used["kind"]}">'
            f"<strong>{used['kind'].capitalize()} data</strong>: {html.escape(used['title'])}{licence}</p>"
        )

    def result(self, name: str, value: Any, unit: str = "") -> None:
        """Keep a result under a name, and glue it, so that prose can quote it as ``{glue:text}``.

        Parameters
        ----------
        name : str
            Unique within the book, since glue keys are: begin it with a word of the section.
        value : number, str or nested lists of them
            Stored to six significant digits.
        unit : str
            For instance "px", "dB", "m".
        """
        self.results[name] = {"value": _plain(value), "unit": unit}
        try:
            from myst_nb import glue
        except ImportError:  # outside the book (Colab, a plain script) there is no prose to fill
            return
        glue(name, _plain(value), display=False)

    def judge(self, claim: str, **measurements: Any) -> _Html:
        """Hand in the measurements for a claim; the cell shows the verdict, and the ledger links there.

        Parameters
        ----------
        claim : str
            Identifier in ``book/claims.yml``.
        **measurements : number or bool
            Named as the claim's criterion names them.
        """
        self.claims[claim] = _plain(measurements)
        known = {entry["id"]: entry for entry in load_claims()}
        if claim not in known:
            raise LowdoseError(
                "claim",
                found=repr(claim),
                expected="one of " + ", ".join(known),
                way_out="See book/claims.yml.",
            )
        verdict = judge(known[claim], {"claims": self.claims})
        title = html.escape(known[claim]["title"])
        return _Html(
            f'<p class="lowdose-verdict" id="{anchor(claim)}"><strong>{title}</strong>: '
            f'<span class="verdict-{verdict.outcome.replace(" ", "-")}">{verdict.outcome}</span> '
            f"({html.escape(verdict.why)}).</p>"
        )

    def as_dict(self) -> dict[str, Any]:
        """The record as JSON-ready data; all that differs between two equal runs is under ``run``."""
        # Imported here: torch takes seconds that whoever only reads records need not spend.
        import torch

        from lowdose_utils.device import peak_memory, resolve_device

        device = resolve_device(self.device)
        cuda = device.type == "cuda"
        return {
            "section": self.section,
            "parameters": self.parameters,
            "datasets": self.datasets,
            "results": self.results,
            "claims": self.claims,
            "versions": versions(),
            "device": torch.cuda.get_device_name(device) if cuda else f"{device.type}, {platform.machine()}",
            "inputs": fingerprint(self.section, loaded_modules(), registered(self.datasets)),
            "run": {
                "seconds": round(time.perf_counter() - self.started, 1),
                "peak_memory_mib": round(peak_memory()),
                "peak_gpu_memory_mib": round(torch.cuda.max_memory_allocated(device) / 2**20) if cuda else 0,
                "threads": torch.get_num_threads(),
                "date": datetime.now(UTC).strftime("%Y-%m-%d"),
                "commit": commit(),
            },
        }

    def show(self) -> None:
        """Leave the record in the notebook: JSON for machines, a small table for the reader."""
        from IPython.display import display

        record = self.as_dict()
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{html.escape(short(entry['value']))}</td>"
            f"<td>{html.escape(entry['unit'])}</td></tr>"
            for name, entry in record["results"].items()
        )
        table = (
            '<table class="dataframe table"><thead><tr><th>result</th><th>value</th><th>unit</th></tr>'
            f"</thead><tbody>{rows}</tbody></table>"
        )
        text = json.dumps(record["results"], indent=1)
        display({MIME: record, "text/html": table, "text/plain": text}, raw=True)


@dataclass(frozen=True)
class _Html:
    """A piece of HTML as the value of a cell."""

    text: str

    def _repr_html_(self) -> str:
        return self.text


def read_record(notebook: Mapping[str, Any]) -> dict[str, Any]:
    """Take the record out of an executed notebook.

    Raises
    ------
    LowdoseError
        If it does not hold exactly one.
    """
    outputs = [out for cell in notebook["cells"] for out in cell.get("outputs", [])]
    found = [out["data"][MIME] for out in outputs if MIME in out.get("data", {})]
    if len(found) != 1:
        raise LowdoseError(
            "run record of the notebook",
            found=f"{len(found)} records",
            expected="exactly one",
            way_out="End the section with one call of Record.show().",
        )
    record: dict[str, Any] = found[0]
    return record
