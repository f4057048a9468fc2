"""One file from the first of its addresses that gives it: retries, waits, and what to do when none does."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import BinaryIO

import pooch
import requests

from lowdose_utils.errors import LowdoseError

TRY_AGAIN = {408, 425, 429}  # and all of 500 to 599
# Bytes as they are stored: a server that compresses on the way would hide the true length.
HEADERS = {"Accept-Encoding": "identity"}


@dataclass(frozen=True)
class Patience:
    """How long a download is tried.

    Attributes
    ----------
    attempts : int
        Tries at each address.
    backoff, longest_wait : float
        Seconds before the second try, doubled for each further one, and the most ever waited, also
        where the server asks for more by ``Retry-After``.
    timeout : float
        Seconds without an answer, or without a byte, after which a try is given up.
    """

    attempts: int = 5
    backoff: float = 1.0
    longest_wait: float = 60.0
    timeout: float = 30.0


class _Sink:
    """The file being written, closed to further bytes once the whole fetch is called off."""

    def __init__(self, file: BinaryIO, stop: threading.Event) -> None:
        self._file = file
        self._stop = stop

    def write(self, chunk: bytes) -> None:
        if self._stop.is_set():
            raise CancelledError
        self._file.write(chunk)

    def flush(self) -> None:
        self._file.flush()


def download(
    urls: list[str],
    target: Path,
    check: Callable[[Path], str],
    *,
    patience: Patience,
    progress: bool,
    stop: threading.Event,
) -> list[str]:
    """Write to `target` the first answer that passes `check`.

    Parameters
    ----------
    urls : list of str
        Addresses in the order to try.
    target : Path
        File to write; after a failure it may hold anything.
    check : callable
        Gets `target`, gives what is wrong with it, or "" if it is right.
    patience : Patience
        Tries, waits and time limit.
    progress : bool
        Show pooch's progress bar.
    stop : threading.Event
        Once set, the download ends with ``CancelledError`` at the next byte or wait.

    Returns
    -------
    list of str
        Empty on success; otherwise for each address what went wrong at the last try.
    """
    fetch = pooch.HTTPDownloader(
        progressbar=progress, chunk_size=1 << 18, timeout=patience.timeout, headers=HEADERS
    )
    problems = []
    for url in urls:
        problem = ""
        for attempt in range(patience.attempts):
            asked = 0.0
            try:
                with target.open("wb") as file:
                    fetch(url, _Sink(file, stop), None)
                problem = check(target)
                again = attempt == 0  # a transfer may be damaged once; twice the same is another file
            except requests.RequestException as error:
                problem, again, asked = _understand(error, patience)
            if not problem:
                return []
            if not again or attempt + 1 == patience.attempts:
                break
            if stop.wait(min(max(asked, patience.backoff * 2**attempt), patience.longest_wait)):
                raise CancelledError
        problems.append(f"{url}: {problem} (try {attempt + 1} of {patience.attempts})")
    return problems


def _understand(error: requests.RequestException, patience: Patience) -> tuple[str, bool, float]:
    """What went wrong, whether another try may help, and the seconds that the server asks to wait."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        status = error.response.status_code
        again = status in TRY_AGAIN or status >= 500
        wait = _seconds(error.response.headers.get("Retry-After", ""))
        return f"HTTP {status} {error.response.reason}".strip(), again, wait
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return f"silent for {patience.timeout:g} s", True, 0.0
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return f"broken off before its end ({error})", True, 0.0
    return str(error), isinstance(error, requests.ConnectionError), 0.0


def _seconds(retry_after: str) -> float:
    """The header ``Retry-After`` (RFC 9110, 10.2.3: seconds, or a date) in seconds from now."""
    try:
        return float(retry_after)
    except ValueError:
        pass
    try:
        return (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return 0.0


@contextmanager
def writing(path: Path, need: str, before: str) -> Iterator[None]:
    """Turn a failure to write `path` (need: what is to be stored; before: what was there) into our error."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        said = "no room left on the disk" if full else error.strerror or error
        raise LowdoseError(
            f"writing {path}",
            found=f"{said} (there before: {before})",
            expected=f"room for {need}" if full else "a folder that can be written to",
            way_out=("Make room" if full else "Change its permissions")
            + ", or set LOWDOSE_DATA_DIR to another folder, and run again: files already fetched are kept.",
        ) from error
