"""Networks that sections of the book have trained, for a demonstration without training.

``data_registry/weights.yml`` names them: the file and its SHA-256, the network's settings, and what it was
trained on. The run that made a file (section, preset, commit) is written in the file itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lowdose_utils.data.registry import registry_dir
from lowdose_utils.errors import LowdoseError
from lowdose_utils.networks.msd import MSD
from lowdose_utils.noise2inverse import Denoiser

__all__ = ["Pretrained", "load_pretrained", "pretrained"]


@dataclass(frozen=True)
class Pretrained:
    """A trained network that the book brings along.

    Attributes
    ----------
    name, title : str
    file : Path
        Its weights.
    sha256 : str
        Of the file.
    network : mapping
        Arguments of `networks.msd.MSD`.
    trained_on : str
        Sample, dose and unit; on anything else it is a guess.
    """

    name: str
    title: str
    file: Path
    sha256: str
    network: Mapping[str, Any]
    trained_on: str


def pretrained(folder: Path | None = None) -> dict[str, Pretrained]:
    """All that there are, by name; `folder` is that of the registry by default."""
    folder = registry_dir() if folder is None else folder
    entries = yaml.safe_load((folder / "weights.yml").read_text(encoding="utf-8"))
    return {
        name: Pretrained(name, **{**entry, "file": folder / "weights" / f"{name}.pt"})
        for name, entry in entries.items()
    }


def load_pretrained(name: str, folder: Path | None = None) -> Denoiser:
    """Load a denoiser that a section of the book has trained. Only weights are read, no code.

    Parameters
    ----------
    name : str
        One of `pretrained`.
    folder : Path, optional
        Of ``weights.yml``; the registry's by default.

    Raises
    ------
    LowdoseError
        If there is none of that name, or the file is missing or not the one that is registered.
    """
    known = pretrained(folder)
    if name not in known:
        raise LowdoseError(
            "pretrained network", found=repr(name), expected=", ".join(known), way_out="Name one of them."
        )
    entry = known[name]
    found = hashlib.sha256(entry.file.read_bytes()).hexdigest() if entry.file.exists() else "no file"
    if found != entry.sha256:
        raise LowdoseError(
            f"weights {entry.file.name}",
            found=found,
            expected=f"SHA-256 {entry.sha256}",
            way_out="Install the package again, or restore the file: git checkout -- data_registry/weights",
        )
    return Denoiser.load(MSD(**entry.network), entry.file)
