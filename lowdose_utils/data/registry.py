"""What the registry says, and the folder that holds the files."""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pooch
import yaml
from filelock import FileLock

from lowdose_utils.data.download import Patience
from lowdose_utils.errors import LowdoseError
from lowdose_utils.files import write_text


@dataclass(frozen=True)
class Dataset:
    """One entry of ``datasets.yml``; the head of that file explains each field."""

    name: str
    title: str
    description: str
    origin: str
    doi: str | None
    licence: str
    citation: str
    shape: str
    kind: Literal["measured", "simulated", "semi-synthetic"]
    status: Literal["pinned", "first-use", "manual", "unavailable"]
    bytes: int | None
    files: tuple[str, ...]
    used_by: tuple[str, ...]
    read: Mapping[str, Any]
    page: str = ""
    how: str = ""
    stands_in: str = ""
    listing: str = ""
    url_status: str = "published"
    bytes_note: str = ""
    urls: Mapping[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Registry:
    """The datasets, and the hash (``sha256:...``) and addresses of files."""

    datasets: Mapping[str, Dataset]
    hashes: Mapping[str, str]
    urls: Mapping[str, list[str]]

    @classmethod
    def load(cls, folder: str | Path) -> Registry:
        """Read ``registry.txt`` and ``datasets.yml`` of `folder`."""
        pins = pooch.create(path="", base_url="")
        pins.load_registry(Path(folder) / "registry.txt")
        entries = yaml.safe_load((Path(folder) / "datasets.yml").read_text(encoding="utf-8"))
        datasets: dict[str, Dataset] = {}
        urls = {name: [url] for name, url in pins.urls.items()}
        for name, entry in entries.items():
            rows = sorted(row for row in pins.registry if row.startswith(f"{name}/"))
            entry["files"] = tuple(rows if entry["files"] == ["*"] else entry["files"])
            entry["used_by"] = tuple(entry["used_by"])
            datasets[name] = Dataset(name=name, **entry)
            for file, more in datasets[name].urls.items():
                urls[file] = [*urls.get(file, []), *more]
        return cls(datasets, pins.registry, urls)

    def digest(self, names: Iterable[str]) -> str:
        """Hash what the registry pins of datasets: their files' hashes, and how they are to be read."""
        pinned = {
            name: [
                self.dataset(name).read,
                {k: v for k, v in self.hashes.items() if k.startswith(f"{name}/")},
            ]
            for name in names
        }
        return hashlib.sha256(json.dumps(pinned, sort_keys=True).encode()).hexdigest()[:16]

    def dataset(self, name: str) -> Dataset:
        """The dataset of this name, or the one that the file of this name belongs to."""
        found = self.datasets.get(name.partition("/")[0])
        if found is None:
            raise LowdoseError(
                "dataset",
                found=repr(name),
                expected="one of " + ", ".join(self.datasets),
                way_out="`lowdose data list` shows them all.",
            )
        return found


@dataclass(frozen=True)
class Store:
    """A registry, the folder that its files lie in, and how patiently they are fetched."""

    registry: Registry
    folder: Path
    patience: Patience = field(default_factory=Patience)

    @classmethod
    def default(cls) -> Store:
        """The book's registry with the folder of `data_dir`."""
        return cls(_load_once(registry_dir()), data_dir())

    def record_path(self, dataset: Dataset) -> Path:
        """Where the file list of a dataset with a ``listing`` is kept."""
        return self.folder / dataset.name / "record.json"

    def listed(self, dataset: Dataset) -> dict[str, tuple[str, str]]:
        """URL and hash of each file that the repository's record lists; empty before it was fetched.

        Source: https://developers.zenodo.org, resource "Records".
        """
        path = self.record_path(dataset)
        if not (dataset.listing and path.is_file()):
            return {}
        try:
            files = json.loads(path.read_text(encoding="utf-8"))["files"]
            listed = {
                f"{dataset.name}/{file['key']}": (str(file["links"]["self"]), str(file["checksum"]))
                for file in files
            }
            unfit = [name for name in listed if ".." in PurePosixPath(name).parts]
        except (ValueError, KeyError, TypeError) as error:
            listed, unfit = {}, [repr(error)]
        if unfit or not listed:
            raise LowdoseError(
                f"{path} from {dataset.listing}",
                found=unfit[0] if unfit else "no files",
                expected="a repository's list of files, each with key, checksum and links",
                way_out=f"Delete it to ask again, or fetch the files by hand from {dataset.page}.",
            )
        return listed

    def files(self, dataset: Dataset) -> tuple[str, ...]:
        """Names of the dataset's files; empty if they are not known before the first download."""
        return tuple(self.listed(dataset)) if dataset.listing else dataset.files

    def urls(self, name: str) -> list[str]:
        """Addresses of a file in the order to try; empty if it cannot be downloaded."""
        listed = self.listed(self.registry.dataset(name))
        return [listed[name][0]] if name in listed else list(self.registry.urls.get(name, []))

    @property
    def first_use_path(self) -> Path:
        """The file that keeps the hashes of first uses."""
        return self.folder / "first_use.txt"

    def first_use(self) -> dict[str, str]:
        """Hashes recorded at the first use of files that have no published sha256."""
        path = self.first_use_path
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        return {name: digest for digest, _, name in (line.partition(" ") for line in lines)}

    def expected(self, name: str) -> str | None:
        """The file's ``sha256:...`` by the registry or since its first use; None before that."""
        return self.registry.hashes.get(name) or self.first_use().get(name)

    def record(self, name: str, digest: str) -> str:
        """Record the hash of a file's first use, unless there is one already; give the one that holds."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".first_use.lock"):
            known = self.first_use()
            if name not in known:
                known[name] = digest
                lines = "".join(f"{known[file]} {file}\n" for file in sorted(known))
                write_text(self.first_use_path, lines)
        return known[name]


_load_once = cache(Registry.load)


def registry_dir() -> Path:
    """The folder of ``registry.txt`` and ``datasets.yml``: of the checkout, or of the installed package."""
    checkout = Path(__file__).resolve().parents[2] / "data_registry"
    installed = Path(str(importlib.resources.files("lowdose_utils"))) / "_registry"
    for folder in (checkout, installed):
        if (folder / "registry.txt").is_file() and (folder / "datasets.yml").is_file():
            return folder
    raise LowdoseError(
        "data registry",
        found="no registry.txt and datasets.yml",
        expected=f"them in {checkout} or {installed}",
        way_out="Install the package again.",
    )


def data_dir() -> Path:
    """The folder of the data: ``LOWDOSE_DATA_DIR``, or else the user's cache folder."""
    named = os.environ.get("LOWDOSE_DATA_DIR")
    return Path(named).expanduser().resolve() if named else Path(pooch.os_cache("lowdose"))


def datasets(*, store: Store | None = None) -> dict[str, Dataset]:
    """All registered datasets by name, in the registry's order."""
    return dict((store or Store.default()).registry.datasets)
