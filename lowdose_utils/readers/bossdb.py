"""Cutouts of public volumes of BossDB (bossdb.org), such as the X-ray volumes of Kuan et al. 2020.

The service gives any box of a volume for one request, packed by Blosc; see the documentation of its client,
github.com/jhuapl-boss/intern. Nothing is asked for but by calling `cutout`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import imagecodecs
import numpy as np
import numpy.typing as npt
import requests

from lowdose_utils.data.registry import data_dir
from lowdose_utils.errors import LowdoseError
from lowdose_utils.files import atomic_path

SERVER = "https://api.bossdb.io"
TOKEN = "public"  # what everyone may use
FLY_BRAIN = "kuan_phelps2020/drosophila_brain_120nm/drBrain_120nm_rec"
MOST = 2**28  # voxels of one cutout

Range = tuple[int, int]


def cutout(
    volume: str,
    z: Range,
    y: Range,
    x: Range,
    *,
    resolution: int = 0,
    dtype: npt.DTypeLike = np.uint8,
    folder: str | Path | None = None,
    server: str = SERVER,
    timeout: float = 30.0,
) -> npt.NDArray[np.generic]:
    """Fetch a box of a volume, once: it is kept in a file, and taken from there ever after.

    Parameters
    ----------
    volume : str
        "collection/experiment/channel"; `FLY_BRAIN` is a fly's central brain at 120 nm (8 bit).
    z, y, x : two ints each
        First voxel, and the one after the last.
    resolution : int
        0 is the finest; each further one is half as fine.
    dtype : dtype
        That of the channel: unsigned integers of 8, 16 or 64 bits.
    folder : str or Path, optional
        Where to keep it; by default ``bossdb`` in the data folder.
    server : str
        Address without a slash at its end.
    timeout : float
        Seconds without an answer, or without a byte, after which it is given up.

    Returns
    -------
    array (z, y, x)

    Raises
    ------
    LowdoseError
        If the box or the name makes no sense, the service cannot be reached or refuses, or what it sends is
        not such a box; or if the kept file is damaged.
    """
    kind = np.dtype(dtype)
    ranges = (z, y, x)
    shape = tuple(int(b) - int(a) for a, b in ranges)
    named = len(volume.split("/")) == 3 and all(volume.split("/"))
    sensible = all(a >= 0 for a, _ in ranges) and min(shape) > 0 and np.prod(shape, dtype=float) <= MOST
    if not (
        named and sensible and resolution >= 0 and kind in (np.uint8, np.uint16, np.uint64) and timeout > 0
    ):
        raise LowdoseError(
            "volume, z, y, x, resolution, dtype, timeout",
            found=(volume, z, y, x, resolution, str(kind), timeout),
            expected="collection/experiment/channel; rising pairs from 0 on, of no more than "
            f"{MOST:,} voxels; a number from 0; uint8, uint16 or uint64; seconds",
            way_out="Look the volume's names and size up at bossdb.org.",
        )
    across = "/".join(f"{a}:{b}" for a, b in (x, y, z))
    url = f"{server}/v1/cutout/{volume}/{resolution}/{across}/"
    key = hashlib.sha256(f"{url} {kind}".encode()).hexdigest()[:16]
    path = Path(folder or data_dir() / "bossdb") / f"{volume.split('/')[-1]}-{key}.npy"
    if path.exists():
        return _kept(path, shape, kind)
    found = _unpacked(_asked(url, timeout), shape, kind, url)
    with atomic_path(path) as temporary:
        np.save(temporary, found)
    return found


def _kept(path: Path, shape: tuple[int, ...], kind: np.dtype[np.generic]) -> npt.NDArray[np.generic]:
    try:
        found: npt.NDArray[np.generic] = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise _damaged(path, error) from error
    if found.shape != shape or found.dtype != kind:
        raise _damaged(path, f"{found.dtype} {found.shape}")
    return found


def _damaged(path: Path, found: object) -> LowdoseError:
    return LowdoseError(
        str(path), found=found, expected="a cutout that was kept", way_out="Delete this file and run again."
    )


def _asked(url: str, timeout: float) -> bytes:
    """The answer's body."""
    headers = {"Authorization": f"Token {TOKEN}", "Accept": "application/blosc"}
    try:
        answer = requests.get(url, headers=headers, timeout=timeout)
    except requests.RequestException as error:
        raise LowdoseError(
            url,
            found=f"no answer ({type(error).__name__})",
            expected="a cutout",
            way_out="Go online, or do without: nothing else needs it.",
        ) from error
    if answer.status_code != 200:
        raise LowdoseError(
            url,
            found=f"HTTP {answer.status_code} {answer.reason}".strip(),
            expected="HTTP 200",
            way_out="Look at bossdb.org whether the volume still has this name, and is as large.",
        )
    return answer.content


def _unpacked(
    body: bytes, shape: tuple[int, ...], kind: np.dtype[np.generic], url: str
) -> npt.NDArray[np.generic]:
    wanted = int(np.prod(shape)) * kind.itemsize
    try:
        raw = imagecodecs.blosc_decode(body)
    except imagecodecs.BloscError as error:
        raise LowdoseError(
            url,
            found=f"{len(body)} bytes that are not packed by Blosc",
            expected=f"{wanted} bytes packed by Blosc",
            way_out="Try again; else the service has changed.",
        ) from error
    if len(raw) != wanted:
        raise LowdoseError(
            url,
            found=f"{len(raw)} bytes",
            expected=f"{wanted}, {shape} voxels of {kind}",
            way_out="Give the channel's dtype, and a box inside the volume.",
        )
    return np.frombuffer(raw, kind).reshape(shape).copy()
