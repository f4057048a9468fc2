"""Whether a file is the one that the registry means."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path

import pooch

from lowdose_utils.data.registry import Store

logger = logging.getLogger(__name__)


def file_hash(path: Path, like: str | None = None) -> str:
    """The file's hash as ``algorithm:hex``, in the algorithm of the hash `like` (sha256 if None)."""
    algorithm = (like or "sha256:").partition(":")[0]
    return f"{algorithm}:{pooch.file_hash(str(path), alg=algorithm)}"


@cache
def _hash_once(path: Path, like: str | None, size: int, changed: int) -> str:
    """As `file_hash`, computed once in a process while the file's size and time of change stay."""
    return file_hash(path, like)


def check_file(path: Path, name: str, store: Store, published: str | None = None) -> str:
    """Compare the file at `path` with the hashes known for `name`; record a first use.

    Parameters
    ----------
    path : Path
        The file, maybe under a temporary name.
    name : str
        Its name in the registry.
    store : Store
        Knows the sha256, and keeps the records of first uses.
    published : str, optional
        A hash that its repository publishes, in any algorithm.

    Returns
    -------
    str
        What is wrong; "" if the file is right.
    """
    stat = path.stat()
    expected = store.expected(name)
    for wanted in filter(None, (expected, published)):
        if (found := _hash_once(path, wanted, stat.st_size, stat.st_mtime_ns)) != wanted:
            return f"a file of {stat.st_size} bytes with {found} in place of {wanted}"
    return "" if expected else _first_use(path, name, store, stat.st_size)


def _first_use(path: Path, name: str, store: Store, size: int) -> str:
    with path.open("rb") as file:
        start = file.read(256).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return f"a web page of {size} bytes (of a login, or of an error) in place of the data"
    found = file_hash(path)
    try:
        holds = store.record(name, found)
    except OSError as error:
        logger.warning("%s has no published sha256, and none can be recorded: %s", name, error)
        return ""
    if holds != found:
        return f"a file of {size} bytes with {found} in place of {holds}, recorded at first use"
    logger.warning(
        "%s has no published sha256: that of its first use, %s, is recorded in %s and checked ever after",
        name,
        found,
        store.first_use_path,
    )
    return ""
