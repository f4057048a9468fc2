"""Fetching: from the folder if the file is there and right, else from the network, else a way out."""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path

from tqdm import tqdm

from lowdose_utils.data.check import check_file
from lowdose_utils.data.download import download, writing
from lowdose_utils.data.registry import Dataset, Store
from lowdose_utils.errors import LowdoseError

logger = logging.getLogger(__name__)


def fetch(name: str, *, progress: bool = False, store: Store | None = None) -> Path:
    """Give the path of a registered file, downloaded if it is not at hand, its hash checked.

    Parameters
    ----------
    name : str
        Name in the registry, ``<dataset>/<file>``.
    progress : bool
        Show a progress bar for a download.
    store : Store, optional
        Another registry, folder or patience than the default.

    Raises
    ------
    LowdoseError
        If there is no such file, or it cannot be had: the message names file, address, what was found
        and expected, and the way out. Nothing half-written is left.
    """
    store = store or Store.default()
    dataset = _fetchable(store, name)
    stop = threading.Event()
    _fetch_listing(dataset, store, stop)
    if name not in store.files(dataset):
        raise LowdoseError(
            "data file",
            found=repr(name),
            expected=f"one of {', '.join(store.files(dataset)[:4])} ... ({len(store.files(dataset))} files)",
            way_out=f"`lowdose data fetch {dataset.name}` fetches them all.",
        )
    return _fetch(name, dataset, store, progress, stop)


def fetch_dataset(
    dataset: str, *, progress: bool = False, workers: int = 8, store: Store | None = None
) -> Path:
    """Fetch all files of a dataset, several at a time, and give their folder.

    Parameters
    ----------
    dataset : str
        The dataset's name.
    progress : bool
        Show progress: a bar for each of a few files, or one bar that counts many.
    workers : int
        Downloads at a time.
    store : Store, optional
        Another registry, folder or patience than the default.

    Raises
    ------
    LowdoseError
        As `fetch`; the first failure calls the rest off. Files that are complete are kept.
    """
    store = store or Store.default()
    entry = _fetchable(store, dataset)
    stop = threading.Event()
    _fetch_listing(entry, store, stop)
    names = store.files(entry)
    _need_room(entry, names, store)
    few = len(names) <= 4
    with ThreadPoolExecutor(max_workers=workers) as pool:
        jobs = [pool.submit(_fetch, name, entry, store, progress and few, stop) for name in names]
        done = tqdm(as_completed(jobs), entry.name, len(jobs), unit="file", disable=few or not progress)
        try:
            for job in done:
                job.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return store.folder / entry.name


def fetch_all(
    names: Iterable[str] | None = None,
    *,
    progress: bool = False,
    workers: int = 8,
    store: Store | None = None,
) -> dict[str, Path]:
    """Fetch many datasets: an offline kit, to be used through ``LOWDOSE_DATA_DIR``.

    Parameters
    ----------
    names : iterable of str, optional
        Datasets; without it all that are pinned (the others are large, or need a hand).
    progress, workers, store
        As for `fetch_dataset`.

    Returns
    -------
    dict
        Folder of each dataset.

    Raises
    ------
    LowdoseError
        After all were tried, if any could not be had; it names each with its reason.
    """
    store = store or Store.default()
    pinned = [name for name, entry in store.registry.datasets.items() if entry.status == "pinned"]
    folders: dict[str, Path] = {}
    failed: dict[str, LowdoseError] = {}
    for name in pinned if names is None else names:
        try:
            folders[name] = fetch_dataset(name, progress=progress, workers=workers, store=store)
        except LowdoseError as error:
            failed[name] = error
    if failed:
        raise LowdoseError(
            f"datasets {', '.join(failed)}",
            found="\n".join(f"{name}: {error}" for name, error in failed.items()),
            expected=f"all of them in {store.folder}",
            way_out="Run the same command again: what is there already is kept.",
        ) from next(iter(failed.values()))
    return folders


def _fetch(name: str, dataset: Dataset, store: Store, progress: bool, stop: threading.Event) -> Path:
    path = store.folder / name
    urls = store.urls(name)
    published = store.listed(dataset)[name][1] if dataset.listing else None
    check = partial(check_file, name=name, store=store, published=published)
    problem = check(path) if path.is_file() else "no such file"
    if not problem:
        return path
    if not urls:
        raise LowdoseError(
            f"{path} ({dataset.title})",
            found=problem,
            expected="the file, fetched by hand",
            way_out=f"1. Visit {dataset.page} : {dataset.how} 2. Put it in the folder {path.parent} under "
            f"the name {path.name} . 3. Run again. Its hash is recorded at first use and checked ever after "
            f"(to change to another version on purpose, remove its line from {store.first_use_path} ).",
        )
    if path.exists():
        logger.warning("%s: %s; it is fetched anew", path, problem)
    with writing(path, f"{dataset.name}, {dataset.bytes or 'an unknown number of'} bytes", problem):
        failures = _place(path, urls, check, store, progress, stop)
    if failures:
        raise LowdoseError(
            f"download of {name}",
            found="; ".join(failures),
            expected=store.expected(name) or published or "the file (no hash is published)",
            way_out="Look at the connection and run again: files already fetched are kept. Or fetch it by "
            f"hand (see {dataset.page} ) and put it at {path} ."
            + (f" Status of the address: {dataset.url_status}." if "inferred" in dataset.url_status else ""),
        )
    return path


def _place(
    path: Path,
    urls: list[str],
    check: Callable[[Path], str],
    store: Store,
    progress: bool,
    stop: threading.Event,
) -> list[str]:
    """Download under another name, then rename onto `path`; gives each address's failure, if all failed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A fresh folder for each download: two processes, or two threads, never meet in it.
    with tempfile.TemporaryDirectory(prefix=".part-", dir=path.parent) as part:
        fresh = Path(part) / path.name
        failures = download(urls, fresh, check, patience=store.patience, progress=progress, stop=stop)
        if not failures:
            fresh.replace(path)
    return failures


def _fetchable(store: Store, name: str) -> Dataset:
    dataset = store.registry.dataset(name)
    if dataset.status == "unavailable":
        raise LowdoseError(
            f"dataset {dataset.name} ({dataset.title})",
            found="no public store that has it",
            expected="a place to fetch it from",
            way_out=f"In its place: {dataset.stands_in}.",
        )
    return dataset


def _fetch_listing(dataset: Dataset, store: Store, stop: threading.Event) -> None:
    """Fetch the repository's record of a dataset that has its file list there, once."""
    path = store.record_path(dataset)
    if not dataset.listing or path.is_file():
        return
    with writing(path, "a list of files", "no such file"):
        failures = _place(path, [dataset.listing], lambda _: "", store, False, stop)
    if failures:
        raise LowdoseError(
            f"file list of {dataset.name}",
            found="; ".join(failures),
            expected="the repository's record",
            way_out=f"Look at the connection and run again, or see {dataset.page} .",
        )


def _need_room(dataset: Dataset, names: tuple[str, ...], store: Store) -> None:
    """Refuse before the first byte if the disk cannot hold a dataset of which nothing is there yet."""
    if dataset.bytes is None or any((store.folder / name).exists() for name in names):
        return
    folder = next(folder for folder in (store.folder, *store.folder.absolute().parents) if folder.exists())
    free = shutil.disk_usage(folder).free
    if free < dataset.bytes:
        raise LowdoseError(
            f"room for {dataset.name} in {store.folder}",
            found=f"{free / 1e9:.1f} GB free",
            expected=f"{dataset.bytes / 1e9:.1f} GB",
            way_out="Make room, or set LOWDOSE_DATA_DIR to a folder on a larger disk.",
        )
