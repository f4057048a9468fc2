"""Packing the offline kit: wheels, the book, plain notebooks, data, an installer and a manifest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lowdose_utils import data
from lowdose_utils.errors import LowdoseError
from lowdose_utils.files import atomic_path, write_text
from lowdose_utils.kit import install, wheels
from lowdose_utils.notebook import write_sources
from lowdose_utils.publish.checkout import git, head_commit

INSTALLER = """\
#!/bin/sh
# Installs the book from this folder, without a network: sh install.sh [FOLDER]
kit=$(cd "$(dirname "$0")" && pwd) || exit 1
for python in ${{PYTHON:+"$PYTHON"}} python{python} python3; do
  if command -v "$python" >/dev/null; then exec "$python" "$kit/install.py" "$@"; fi
done
echo "install: no Python found; name one: PYTHON=/path/to/python{python} sh install.sh" >&2
exit 1
"""
README = """\
This kit installs the book "Low-dose tomography, re-run" (commit {commit}) without a network.
It is for Python {python} on {system}, {machine}; copy the folder there and type: sh install.sh FOLDER
{data}
"""


@dataclass
class Packed:
    """A kit as its manifest describes it.

    Attributes
    ----------
    folder : Path
        Where it lies.
    commit : str
        The commit of the book in it.
    files : dict
        SHA-256 of each file, by its path in the kit.
    missing : dict
        Pinned data files that could not be had, each with the reason.
    complete : bool
        Whether it was packed to its end.
    """

    folder: Path
    commit: str = ""
    files: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    complete: bool = False

    @classmethod
    def at(cls, folder: Path) -> Packed:
        """What an earlier call left in `folder`, less all files that are no longer as they were listed."""
        path = folder / install.MANIFEST
        if not path.exists():
            return cls(folder)
        read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if read["for"] != install.this_machine():
            return cls(folder)  # wheels for another Python or system are of no use
        kept = {
            name: digest
            for name, digest in read["files"].items()
            if (folder / name).is_file() and install.sha256(folder / name) == digest
        }
        return cls(folder, read["commit"], kept)

    def save(self) -> None:
        """Write the manifest."""
        manifest = {
            "complete": self.complete,
            "commit": self.commit,
            "for": install.this_machine(),
            "archive": self.archive,
            "files": dict(sorted(self.files.items())),
            "missing": self.missing,
        }
        write_text(self.folder / install.MANIFEST, json.dumps(manifest, indent=1) + "\n")

    @property
    def archive(self) -> str:
        """Name of the packed checkout."""
        return f"lowdose-book-{self.commit[:12]}.tar.gz"

    def add(self, paths: Iterable[Path]) -> None:
        """List files in the manifest."""
        for path in paths:
            self.files[path.relative_to(self.folder).as_posix()] = install.sha256(path)


def pack(
    root: Path,
    folder: Path,
    *,
    with_data: bool = True,
    torch: str | None = None,
    store: data.Store | None = None,
) -> Packed:
    """Pack what the book needs on a machine without a network that is like this one.

    Run again on the same folder, it goes on: files that are there and as they were listed are kept.

    Parameters
    ----------
    root : Path
        Checkout of the book; its commit is packed.
    folder : Path
        The kit, made if it is not there.
    with_data : bool
        Whether the pinned data are packed.
    torch : str, optional
        Requirement for another build of torch than the lock's, as for ``make book TORCH=``.
    store : data.Store, optional
        Registry of the data, and the folder from which files that are at hand are copied.

    Returns
    -------
    Packed
        Its ``missing`` names the data files that could not be had.

    Raises
    ------
    LowdoseError
        If the checkout has changes that are in no commit, the folder holds something else, or a wheel
        cannot be had.
    """
    folder = folder.resolve()
    if folder.exists() and any(folder.iterdir()) and not (folder / install.MANIFEST).exists():
        raise LowdoseError(
            f"folder {folder}",
            found="files that are no kit",
            expected="an empty folder, or a kit to go on with",
            way_out="Name another folder.",
        )
    kit = Packed.at(folder)
    kit.commit = head_commit(root)
    kit.save()
    for half in folder.glob(".part-*"):  # of a call that was killed
        shutil.rmtree(half)
    wheels.gather(kit, root / "requirements.lock", torch)
    archive = folder / kit.archive
    if kit.archive not in kit.files:
        for old in folder.glob("lowdose-book-*.tar.gz"):
            old.unlink()
        with atomic_path(archive) as temporary:
            git(root, "archive", "--format=tar.gz", f"--output={temporary}", "HEAD")
    shutil.rmtree(folder / "notebooks", ignore_errors=True)
    notebooks = write_sources(root, folder / "notebooks")
    store = store or data.Store.default()
    pinned = _gather_data(folder / "data", store) if with_data else {}
    kit.missing = {name: why for name, why in pinned.items() if why}
    machine = install.this_machine()
    shutil.copyfile(Path(install.__file__), folder / "install.py")
    write_text(folder / "install.sh", INSTALLER.format(**machine))
    said = _said_of_data(kit.missing, with_data)
    write_text(folder / "README.txt", README.format(commit=kit.commit[:12], data=said, **machine))
    kit.files = {name: digest for name, digest in kit.files.items() if name.startswith("wheels/")}
    kit.add([archive, *notebooks, *(folder / name for name in ("install.py", "install.sh", "README.txt"))])
    kit.add(folder / "data" / name for name, why in pinned.items() if not why)
    kit.complete = True
    kit.save()
    return kit


def _gather_data(folder: Path, store: data.Store) -> dict[str, str]:
    """Copy the pinned data that are at hand and fetch the rest; gives for each file why it is not there."""
    here = data.Store(store.registry, folder, store.patience)
    gathered: dict[str, str] = {}
    for name, dataset in store.registry.datasets.items():
        if dataset.status != "pinned":
            continue
        print(f"kit: data {name}", flush=True)
        for file in dataset.files:
            if not (folder / file).is_file() and (store.folder / file).is_file():
                with atomic_path(folder / file) as temporary:
                    shutil.copyfile(store.folder / file, temporary)
        why = ""
        try:
            data.fetch_dataset(name, store=here)
        except LowdoseError as error:
            why = str(error.found)
        for state in data.verify(name, store=here):
            gathered[state.name] = "" if state.state == "ok" else why or state.state
    return gathered


def _said_of_data(missing: dict[str, str], with_data: bool) -> str:
    if not with_data:
        return "It holds no data: sections simulate theirs, unless LOWDOSE_DATA_DIR names a folder of them."
    lacking = f" but {len(missing)} files, which {install.MANIFEST} lists as missing" if missing else ""
    return f"All pinned data are in it{lacking}. What is in it is checked before it is installed."
