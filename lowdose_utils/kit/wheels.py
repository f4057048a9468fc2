"""The wheels of a kit: what the lock pins and what that needs, in pieces, so that a download goes on."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from collections import defaultdict
from email.parser import HeaderParser
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from lowdose_utils.errors import LowdoseError

if TYPE_CHECKING:
    from lowdose_utils.kit.pack import Packed

PIECE = 16  # wheels that pip is asked for at a time: what an interruption can cost


def gather(kit: Packed, lock: Path, torch: str | None) -> None:
    """Bring the kit's wheels in line with the lock.

    First torch, then every other pin, then what these need and the lock does not name: libraries of
    torch's build for a GPU, say.

    Parameters
    ----------
    kit : Packed
        Wheels that it lists and that fit are kept; its manifest is written after each piece.
    lock : Path
        ``requirements.lock``: a line ``name==version`` for each package.
    torch : str or None
        Requirement in place of the lock's for torch.

    Raises
    ------
    LowdoseError
        If pip cannot get a wheel; what it said is in the message.
    """
    lines = [line for line in lock.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    pins = {canonicalize_name(Requirement(line).name): Requirement(line) for line in lines}
    if torch:
        pins[canonicalize_name("torch")] = Requirement(torch)
    for file in _listed(kit):
        name = parse_wheel_filename(Path(file).name)[0]
        if name in pins and not _satisfies(file, pins[name]):
            del kit.files[file]
    _drop_unlisted(kit)
    wanted = [pin for pin in pins.values() if not any(_satisfies(file, pin) for file in _listed(kit))]
    wanted.sort(key=lambda pin: pin.name != "torch")
    big = bool(wanted) and wanted[0].name == "torch"
    starts = [0, *range(1 if big else PIECE, len(wanted), PIECE)]
    for start, end in zip(starts, [*starts[1:], len(wanted)], strict=True):
        _fetch(kit, wanted[start:end], f"wheels {start + 1} to {end} of {len(wanted)}")
    unmet, used = _needs(kit, list(pins.values()))
    while unmet:
        _fetch(kit, unmet, "what these need: " + ", ".join(pin.name for pin in unmet))
        unmet, used = _needs(kit, list(pins.values()))
    for file in set(_listed(kit)) - used:
        del kit.files[file]
    _drop_unlisted(kit)


def _satisfies(file: str, requirement: Requirement) -> bool:
    name, version, _, _ = parse_wheel_filename(Path(file).name)
    right = name == canonicalize_name(requirement.name)
    return right and requirement.specifier.contains(version, prereleases=True)


def _listed(kit: Packed) -> list[str]:
    return [name for name in kit.files if name.startswith("wheels/")]


def _drop_unlisted(kit: Packed) -> None:
    """Delete wheels that the kit does not list: half of a piece, or those of an older lock."""
    for path in (kit.folder / "wheels").glob("*"):
        if f"wheels/{path.name}" not in kit.files:
            path.unlink()


def _needs(kit: Packed, pins: list[Requirement]) -> tuple[list[Requirement], set[str]]:
    """Follow what the kit's wheels say that they need: what of it is not there, and the wheels met."""
    seen: dict[str, set[str]] = defaultdict(set)  # extras followed so far, "" for the package itself
    unmet: dict[str, Requirement] = {}
    used: set[str] = set()
    waiting = list(pins)
    while waiting:
        wanted = waiting.pop()
        found = next((file for file in _listed(kit) if _satisfies(file, wanted)), None)
        if found is None:
            wanted.marker = None
            unmet[str(wanted)] = wanted
            continue
        used.add(found)
        fresh = {"", *wanted.extras} - seen[found]
        seen[found] |= fresh
        if fresh:
            said = [Requirement(line) for line in _requires(kit.folder / found)]
            waiting += [
                need
                for need in said
                if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in fresh)
            ]
    return list(unmet.values()), used


def _requires(wheel: Path) -> list[str]:
    """The lines ``Requires-Dist`` of a wheel."""
    with zipfile.ZipFile(wheel) as file:
        inside = next(name for name in file.namelist() if name.endswith(".dist-info/METADATA"))
        header = HeaderParser().parsestr(file.read(inside).decode())
    return header.get_all("Requires-Dist") or []


def _fetch(kit: Packed, requirements: list[Requirement], said: str) -> None:
    if not requirements:
        return
    print(f"kit: {said}", flush=True)
    folder = kit.folder / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=kit.folder) as part:
        # `pip wheel`, not `pip download`: what is published as a source only is built here, not there.
        asked = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
        names = [str(requirement) for requirement in requirements]
        done = subprocess.run(
            [*asked, "--wheel-dir", part, *names],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            lines = done.stderr.splitlines()
            errors = [line for line in lines if line.startswith("ERROR")] or lines
            raise LowdoseError(
                "wheels of the kit",
                found="; ".join(errors[-3:]),
                expected=", ".join(names),
                way_out="Look at the connection and run the same command again: it goes on where it was.",
            )
        placed = [path.replace(folder / path.name) for path in sorted(Path(part).glob("*.whl"))]
    kit.add(placed)
    kit.save()
