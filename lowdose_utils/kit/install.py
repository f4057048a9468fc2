"""Install the book from the kit that this file lies in, without a network: ``sh install.sh [FOLDER]``.

It is copied into each kit, so it needs nothing but Python's own library.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
PLACES = {"data": "data", "notebooks": "_build/notebooks"}


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def this_machine() -> dict[str, str]:
    """What wheels depend on: Python's version, the system and the processor."""
    return {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "system": platform.system(),
        "machine": platform.machine(),
    }


def problems(kit: Path, manifest: dict[str, Any]) -> list[str]:
    """What keeps a kit from being installed here: one sentence each, none if it is whole and fits."""
    if not manifest.get("complete"):
        return ["the kit was not packed to its end; run `lowdose kit` on this folder again"]
    made, here = manifest["for"], this_machine()
    if made != here:
        text = "Python {python} on {system}, {machine}"
        return [f"the kit is for {text.format(**made)}; this is {text.format(**here)}"]
    found = []
    for name, expected in manifest["files"].items():
        if not (kit / name).is_file():
            found.append(f"{name} is missing")
        elif sha256(kit / name) != expected:
            found.append(f"{name} is not the file that was packed")
    return found


def install(kit: Path, manifest: dict[str, Any], target: Path) -> None:
    """Unpack the book into `target`, with an environment and the data; an interrupted one is gone on with.

    Raises
    ------
    subprocess.CalledProcessError
        If pip fails; it has said why.
    """
    target.mkdir(parents=True, exist_ok=True)
    (target / ".from-kit").touch()
    shutil.unpack_archive(kit / manifest["archive"], target)
    for name in manifest["files"]:
        folder, _, rest = name.partition("/")
        if folder in PLACES:
            place = target / PLACES[folder] / rest
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(kit / name, place)
    venv.create(target / ".venv", with_pip=True, symlinks=True)
    python = target / ".venv" / "bin" / "python"
    pip = [str(python), "-m", "pip", "--isolated", "--disable-pip-version-check", "install", "--quiet"]
    # The wheels by their names: a file that the manifest does not list is never picked up.
    wheels = [str(kit / name) for name in manifest["files"] if name.startswith("wheels/")]
    subprocess.run([*pip, "--no-index", *wheels], check=True)
    own = ["--no-index", "--no-deps", "--no-build-isolation", "--editable", str(target)]
    subprocess.run([*pip, *own], check=True)
    if (target / "data").is_dir():
        # Read whenever this environment's Python starts, by `make`, a terminal or a notebook's kernel.
        asked = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
        packages = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
        line = f"import os; os.environ.setdefault('LOWDOSE_DATA_DIR', {str(target / 'data')!r})\n"
        (Path(packages) / "lowdose_data.pth").write_text(line, encoding="utf-8")
    (target / ".venv" / ".done").touch()  # the stamp of the Makefile, written last: `make` installs nothing


def main() -> int:
    """Check the kit, install it, say what to type next; exit status 1 with a reason if it cannot be."""
    kit = Path(__file__).resolve().parent
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "lowdose-book").resolve()
    listed = kit / MANIFEST
    manifest = json.loads(listed.read_text(encoding="utf-8")) if listed.exists() else {}
    found = problems(kit, manifest)
    if (target / ".venv" / ".done").exists():
        found.append(f"{target} has an installed book; name another folder, or remove it")
    elif target.exists() and any(target.iterdir()) and not (target / ".from-kit").exists():
        found.append(f"{target} is not empty; name another folder: sh install.sh FOLDER")
    if found:
        print("install: nothing was installed\n  " + "\n  ".join(found), file=sys.stderr)
        return 1
    print(f"install: {len(manifest['files'])} files are as they were packed; installing into {target}")
    try:
        install(kit, manifest, target)
    except (subprocess.CalledProcessError, OSError) as error:
        why = "pip failed, see above" if isinstance(error, subprocess.CalledProcessError) else str(error)
        print(f"install: {why}. Run it again to go on.", file=sys.stderr)
        return 1
    print(f"install: done. Now: cd {target} && source .venv/bin/activate && lowdose --help")
    return 0


if __name__ == "__main__":
    sys.exit(main())
