"""Running a sweep: what is finished stays, the rest goes through Snakemake, then all is collected."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lowdose_utils import figures
from lowdose_utils.errors import LowdoseError
from lowdose_utils.files import atomic_path, write_text
from lowdose_utils.fingerprint import is_current
from lowdose_utils.notebook import command
from lowdose_utils.sweep.collect import choose, draw, in_words, table, write_table
from lowdose_utils.sweep.plan import Combination, Sweep, check_results, plan, read_values


def run_sweep(
    section: str,
    pairs: Sequence[str],
    *,
    root: Path,
    preset: str = "quick",
    jobs: int | None = None,
    profile: str | None = None,
    dry_run: bool = False,
    results: Sequence[str] = (),
    name: str | None = None,
) -> int:
    """Run a section at every combination of values and write ``results.csv`` and ``results.png``.

    Parameters
    ----------
    section, preset : str
        As for `lowdose_utils.notebook.run`.
    pairs : sequence of str
        ``NAME=VALUE`` or ``NAME=VALUE,VALUE``.
    root : Path
        Checkout of the book.
    jobs : int, optional
        Runs at the same time: by default one, or as many as the profile says.
    profile : str, optional
        Snakemake's: a folder or a name.
    dry_run : bool
        Say what would be run, and let Snakemake check the profile.
    results : sequence of str
        Those to draw; by default the first single numbers that vary.
    name : str, optional
        Of the folder in ``_build/sweeps/SECTION``.

    Returns
    -------
    int
        The exit status: 1 if a combination is missing at the end, which is then named on standard error.

    Raises
    ------
    LowdoseError
        Before anything runs, on whatever `plan` or `check_results` refuse; after all ran, if a result that
        was asked for is in no record.
    """
    if jobs is not None and jobs < 1:
        raise LowdoseError("--jobs", found=jobs, expected="1 or more", way_out="Leave it out.")
    sweep = plan(section, read_values(pairs), preset=preset, root=root, name=name)
    check_results(results, section, root)
    todo = [one for one in sweep.combinations if finished(sweep, one, root) is None]
    total, left = len(sweep.combinations), len(todo)
    counts = f"{total} combinations, {total - left} finished, {left} to run"
    print(f"{section}, preset {preset}: {counts}", flush=True)
    if dry_run:
        for one in sweep.combinations:
            words = shlex.join(["lowdose", *command(section, preset, one.overrides)])
            print(f"{one.label}: {words if one in todo else 'finished'}")
    if todo and (profile or not dry_run):
        _snakemake(sweep, todo, root, jobs=jobs, profile=profile, dry_run=dry_run)
    return 0 if dry_run else _collect(sweep, root, results)


def finished(sweep: Sweep, one: Combination, root: Path) -> dict[str, Any] | None:
    """The record of a combination, if it was run and nothing that its results depend on has changed since."""
    page = root / sweep.folder / f"{one.name}.ipynb"
    if not page.exists() or not page.with_suffix(".json").exists():
        return None
    record: dict[str, Any] = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
    return record if is_current(record) else None


def _snakemake(
    sweep: Sweep,
    todo: Sequence[Combination],
    root: Path,
    *,
    jobs: int | None,
    profile: str | None,
    dry_run: bool,
) -> None:
    """Run combinations through ``sweep.smk``, whatever becomes of each."""
    runs = {one.name: shlex.join(command(sweep.section, sweep.preset, one.overrides)) for one in todo}
    text = json.dumps({"folder": sweep.folder.as_posix(), "runs": runs}, indent=1)
    # Named by its content: a later sweep into the same folder must not change what waiting jobs read.
    steps = sweep.folder / "plans" / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
    write_text(root / steps, text)
    words = [sys.executable, "-m", "snakemake", "--snakefile", str(root / "sweep.smk")]
    words += ["--directory", str(root)]
    words += ["--config", f"plan={steps.as_posix()}", "--forceall", "--keep-going", "--nolock"]
    words += ["--rerun-incomplete", "--quiet", "host", "reason", "rules"]
    if profile is not None:
        words += ["--profile", str(Path(profile).resolve()) if Path(profile).is_dir() else profile]
        words += [] if jobs is None else ["--jobs", str(jobs)]
    else:
        threads = max(1, _cores() // (jobs or 1))
        words += ["--cores", str(threads * (jobs or 1)), "--set-threads", f"combination={threads}"]
    if dry_run:
        checked = subprocess.run([*words, "--dry-run"], cwd=root, capture_output=True, text=True, check=False)
        if checked.returncode != 0:
            raise LowdoseError(
                "dry run of Snakemake",
                found=" ".join((checked.stdout + checked.stderr).split()),
                expected="no error",
                way_out="Correct the profile.",
            )
        return
    for one in todo:
        (root / sweep.folder / f"{one.name}.log").unlink(missing_ok=True)
    with subprocess.Popen(words, cwd=root) as process:
        try:
            process.wait()
        except KeyboardInterrupt:
            process.wait()  # it stops its runs, and takes its jobs out of a cluster's queue
            raise


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _collect(sweep: Sweep, root: Path, results: Sequence[str]) -> int:
    """Write table and picture of all that is finished; name what is not."""
    folder = root / sweep.folder
    records = {one.name: finished(sweep, one, root) for one in sweep.combinations}
    missing = [one for one in sweep.combinations if records[one.name] is None]
    rows = table(sweep, {name: record for name, record in records.items() if record is not None})
    try:
        if rows:
            write_table(folder / "results.csv", rows)
            print(f"{len(rows)} runs: {sweep.folder.as_posix()}/results.csv", flush=True)
            _draw(sweep, rows, folder / "results.png", results)
    finally:
        for one in missing:
            print(f"lowdose: {one.label}: {_reason(folder / f'{one.name}.log', root)}", file=sys.stderr)
    return int(bool(missing))


def _draw(sweep: Sweep, rows: Sequence[dict[str, Any]], path: Path, results: Sequence[str]) -> None:
    """Write the picture, if there is anything to draw."""
    columns = choose(rows, sweep, results)
    if columns:
        shown = figures.show(draw(rows, columns, sweep.swept), in_words(sweep, columns))
        with atomic_path(path) as temporary:
            temporary.write_bytes(base64.b64decode(shown.content))
        print(f"{shown.alt} {sweep.folder.as_posix()}/{path.name}", flush=True)


def _reason(log: Path, root: Path) -> str:
    """The message of a run that did not end well; it names the partial notebook."""
    if not log.exists():
        return "it was not started"
    _, mark, said = f"\n{log.read_text(encoding='utf-8', errors='replace')}".rpartition("\nlowdose: ")
    said = " ".join(said.split()) if mark else "it was stopped from outside."
    return f"{said} Its log is {log.relative_to(root).as_posix()}"
