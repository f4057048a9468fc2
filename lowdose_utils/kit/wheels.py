"""The wheels of a kit: those that the lock pins, in pieces, so that an interrupted download goes on."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from lowdose_utils.errors import LowdoseError

if TYPE_CHECKING:
    from lowdose_utils.kit.pack import Packed

PIECE = 16  # pins that pip is asked for at a time: what an interruption can cost


def gather(kit: Packed, lock: Path, torch: str | None) -> str:
    """Bring the kit's wheels in line with the lock.

    torch comes first and with all that its build needs, for instance CUDA's libraries, which the lock
    does not name; then every other pin, and nothing but it.

    Parameters
    ----------
    kit : Packed
        Wheels that it lists are kept; its manifest is written after each piece.
    lock : Path
        ``requirements.lock``: a line ``name==version`` for each package.
    torch : str or None
        Requirement in place of the lock's for torch.

    Returns
    -------
    str
        Hash of lock and build of torch.

    Raises
    ------
    LowdoseError
        If pip cannot get a wheel; the last lines that it said are in the message.
    """
    lines = [line for line in lock.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    pins = {canonicalize_name(Requirement(line).name): line for line in lines}
    first = torch or pins.get(canonicalize_name("torch"))
    asked = hashlib.sha256("\n".join([first or "", *lines]).encode()).hexdigest()
    if kit.requirements != asked:
        _drop(kit, [line for name, line in pins.items() if name != "torch"])
        kit.requirements = asked
    _drop_strays(kit)
    if first and not _has(kit, first):
        print(f"kit: {first}", flush=True)
        _fetch(kit, [first], ["--constraint", str(lock)])
    wanted = [line for name, line in pins.items() if name != "torch" and not _has(kit, line)]
    for start in range(0, len(wanted), PIECE):
        print(f"kit: wheels {start + 1} to {min(start + PIECE, len(wanted))} of {len(wanted)}", flush=True)
        _fetch(kit, wanted[start : start + PIECE], ["--no-deps"])
    return asked


def _satisfies(file: str, requirement: str) -> bool:
    name, version, _, _ = parse_wheel_filename(Path(file).name)
    wanted = Requirement(requirement)
    return name == canonicalize_name(wanted.name) and wanted.specifier.contains(version, prereleases=True)


def _listed(kit: Packed) -> list[str]:
    return [name for name in kit.files if name.startswith("wheels/")]


def _has(kit: Packed, requirement: str) -> bool:
    return any(_satisfies(file, requirement) for file in _listed(kit))


def _drop(kit: Packed, requirements: list[str]) -> None:
    """Take the wheels off the list that meet none of these requirements."""
    for file in _listed(kit):
        if not any(_satisfies(file, requirement) for requirement in requirements):
            del kit.files[file]


def _drop_strays(kit: Packed) -> None:
    """Delete wheels that the kit does not list: half of a piece, or those of an older lock."""
    for path in (kit.folder / "wheels").glob("*"):
        if f"wheels/{path.name}" not in kit.files:
            path.unlink()


def _fetch(kit: Packed, requirements: list[str], options: list[str]) -> None:
    folder = kit.folder / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=kit.folder) as part:
        # `pip wheel`, not `pip download`: what is published as a source only is built here, not there.
        asked = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run(
            [*asked, "--wheel-dir", part, *options, *requirements],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            lines = done.stderr.splitlines()
            said = [line for line in lines if line.startswith("ERROR")] or lines
            raise LowdoseError(
                "wheels of the kit",
                found="; ".join(said[-3:]),
                expected=", ".join(requirements),
                way_out="Look at the connection and run the same command again: it goes on where it was.",
            )
        fresh = sorted(Path(part).glob("*.whl"))
        placed = [path.replace(folder / path.name) for path in fresh]
    kit.add(placed)
    kit.save()
