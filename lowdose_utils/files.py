"""Writing files so that nothing half-written is ever seen under its final name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `target`; rename it onto `target` when the block ends well.

    The name carries the process number, so that two writers do not meet, and keeps the ending, by which
    many libraries choose a format. After an error
    (``KeyboardInterrupt`` too) the temporary file or folder is removed and `target` is as it was.

    Parameters
    ----------
    target : str or Path
        Final file or folder. Missing parent folders are made.

    Yields
    ------
    Path
        The temporary path; the block creates a file or a folder there.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.part{target.suffix}")
    try:
        yield temporary
        if temporary.is_dir() and target.is_dir():
            # A rename cannot overwrite a folder that has content: the old one steps aside first.
            old = target.with_name(f".{target.name}.{os.getpid()}.old")
            target.rename(old)
            temporary.replace(target)
            shutil.rmtree(old)
        else:
            temporary.replace(target)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def write_text(target: str | Path, text: str) -> None:
    """Write `text` as UTF-8 to `target`, whole or not at all."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")
