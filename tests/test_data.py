"""The data registry: what it says is so, and fetching ends in the right file or in a way out."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from loopback import Answer, Loopback, body, stalling, status, truncated

from lowdose_utils import data
from lowdose_utils.data import Patience, Registry, Store
from lowdose_utils.data.download import download
from lowdose_utils.errors import LowdoseError

CONTENT = bytes(range(256)) * 40
QUICK = Patience(attempts=3, backoff=0.01, longest_wait=0.05, timeout=0.3)
SECTIONS = {
    "00_scan_to_slice",
    "01_spheres",
    "02_mouse_brain_txm",
    "03_shepp_logan_weka",
    "04_fuel_cell_static",
    "05_fuel_cell_dynamic",
    "06_xrdct",
    "07_xnh_imaging",
    "08_xnh_neurons",
    "11_needle_and_membranes",
    "09_dose_atlas",
}


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.fixture
def server() -> Iterator[Loopback]:
    with Loopback() as loopback:
        yield loopback


MakeStore = Callable[..., Store]


@pytest.fixture
def make_store(tmp_path: Path) -> MakeStore:
    """A store with one dataset `scan`: pins are rows (name, hash, url), the rest fields of the entry."""

    def make(*pins: tuple[str, str, str], folder: Path | None = None, **fields: Any) -> Store:
        entry = {
            "title": "A scan",
            "description": "",
            "origin": "a test",
            "doi": None,
            "licence": "CC0",
            "citation": "",
            "shape": "",
            "kind": "measured",
            "status": "pinned",
            "bytes": None,
            "files": ["*"],
            "used_by": [],
            "read": {},
            "page": "https://example.org/scan",
            **fields,
        }
        registry = tmp_path / "registry"
        registry.mkdir(exist_ok=True)
        rows = "".join(f"{name} {digest} {url}\n" for name, digest, url in pins)
        (registry / "registry.txt").write_text(rows)
        (registry / "datasets.yml").write_text(yaml.safe_dump({"scan": entry}))
        return Store(Registry.load(registry), folder or tmp_path / "data", QUICK)

    return make


def litter(folder: Path) -> list[str]:
    """Every file under the folder but locks."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if (path.is_file() and path.suffix != ".lock") or path.name.startswith(".part")
    )


# ---- the registry itself


REGISTRY = Registry.load(data.registry_dir())


def test_every_pin_is_a_sha256_at_a_fixed_https_address() -> None:
    assert len(REGISTRY.hashes) == 265
    for name, digest in REGISTRY.hashes.items():
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", digest), name
        assert len(REGISTRY.urls[name]) == 1
        # a commit's hash in the address: the bytes there cannot change
        assert re.match(
            r"https://raw\.githubusercontent\.com/[^/]+/[^/]+/[0-9a-f]{40}/", REGISTRY.urls[name][0]
        )


def test_no_pinned_file_is_orphaned_and_no_dataset_names_a_file_that_is_not_pinned() -> None:
    pinned = [entry for entry in REGISTRY.datasets.values() if entry.status == "pinned"]
    assert sorted(name for entry in pinned for name in entry.files) == sorted(REGISTRY.hashes)


@pytest.mark.parametrize("entry", REGISTRY.datasets.values(), ids=REGISTRY.datasets)
def test_an_entry_says_what_its_status_needs(entry: data.Dataset) -> None:
    assert set(entry.used_by) <= SECTIONS and entry.used_by
    assert all(name.startswith(f"{entry.name}/") for name in (*entry.files, *entry.urls))
    assert entry.kind in {"measured", "semi-synthetic"}
    assert entry.title and entry.origin and entry.licence and entry.citation and entry.shape
    if entry.status == "unavailable":
        assert entry.stands_in and not entry.files
        return
    assert entry.page.startswith("https://") and entry.read["format"]
    urls = [url for name in entry.files for url in REGISTRY.urls.get(name, [])]
    assert all(url.startswith("https://") for url in urls)
    if entry.status == "manual":
        assert entry.how and entry.files and not urls
    elif entry.status == "first-use":
        assert entry.listing or (entry.files and set(entry.urls) == set(entry.files))
    else:
        assert entry.status == "pinned" and entry.files


def test_the_registry_agrees_with_the_list_that_came_with_the_files(
    real_data: Callable[[str], Path],
) -> None:
    rows = [line.split("\t") for line in real_data("files.tsv").read_text().splitlines()[1:]]
    assert {name: (digest, [url]) for name, url, digest, _, _ in rows} == {
        name: (digest, REGISTRY.urls[name]) for name, digest in REGISTRY.hashes.items()
    }
    for entry in REGISTRY.datasets.values():
        if entry.status == "pinned":
            mine = [row for row in rows if row[0].startswith(f"{entry.name}/")]
            assert entry.bytes == sum(int(row[3]) for row in mine)
            assert {row[4] for row in mine} == {entry.licence}


def test_real_files_verify_and_are_used_as_they_lie(real_data: Callable[[str], Path]) -> None:
    folder = real_data("tooth/tooth.h5").parents[1]
    store = Store(REGISTRY, folder)
    for name, entry in REGISTRY.datasets.items():
        if entry.status == "pinned":
            real_data(f"{name}/")
            assert data.is_available(name, store=store)
            assert {row.state for row in data.verify(name, store=store)} == {"ok"}
            assert data.fetch_dataset(name, store=store) == folder / name


# ---- a download that ends well


@pytest.mark.parametrize(
    "before",
    [
        [],
        [status(429, Retry_After="0")],
        [status(429, Retry_After="3600")],  # bounded by `longest_wait`
        [status(500), status(503)],
        [truncated(CONTENT)],
        [stalling(CONTENT)],
        [body(b"damaged on the way")],
    ],
    ids=["at once", "429", "429 for an hour", "500 and 503", "truncated", "stalled", "damaged"],
)
def test_a_passing_trouble_is_tried_through(
    server: Loopback, make_store: MakeStore, before: list[Answer]
) -> None:
    url = server.serve("/a.h5", *before, body(CONTENT))
    store = make_store(("scan/a.h5", sha256(CONTENT), url))
    path = data.fetch("scan/a.h5", store=store)
    assert path == store.folder / "scan" / "a.h5" and path.read_bytes() == CONTENT
    assert server.hits["/a.h5"] == len(before) + 1
    assert litter(store.folder) == ["scan/a.h5"]
    assert data.fetch("scan/a.h5", store=store) == path
    assert server.hits["/a.h5"] == len(before) + 1  # at hand: not asked again


def test_a_redirect_is_followed(server: Loopback, make_store: MakeStore) -> None:
    there = server.serve("/there", body(CONTENT))
    url = server.serve("/here", status(302, Location=there))
    store = make_store(("scan/a.h5", sha256(CONTENT), url))
    assert data.fetch("scan/a.h5", store=store).read_bytes() == CONTENT


def test_a_folder_with_spaces_and_other_letters(
    server: Loopback, make_store: MakeStore, tmp_path: Path
) -> None:
    url = server.serve("/a.h5", body(CONTENT))
    store = make_store(("scan/a.h5", sha256(CONTENT), url), folder=tmp_path / "Mes données — 数据")
    assert data.fetch("scan/a.h5", store=store).read_bytes() == CONTENT


def test_a_mirror_is_asked_when_the_first_address_fails(server: Loopback, make_store: MakeStore) -> None:
    first, mirror = server.serve("/first", status(404)), server.serve("/mirror", body(CONTENT))
    store = make_store(("scan/a.h5", sha256(CONTENT), first), urls={"scan/a.h5": [mirror]})
    assert data.fetch("scan/a.h5", store=store).read_bytes() == CONTENT
    assert server.hits == {"/first": 1, "/mirror": 1}


def test_a_damaged_file_in_the_folder_is_fetched_anew(server: Loopback, make_store: MakeStore) -> None:
    url = server.serve("/a.h5", body(CONTENT))
    store = make_store(("scan/a.h5", sha256(CONTENT), url))
    path = store.folder / "scan" / "a.h5"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT[:100])
    assert [row.state for row in data.verify("scan", store=store)] == ["wrong"]
    assert data.fetch("scan/a.h5", store=store).read_bytes() == CONTENT
    assert [row.state for row in data.verify("scan", store=store)] == ["ok"]


def test_many_files_are_fetched_and_the_missing_ones_completed(
    server: Loopback, make_store: MakeStore
) -> None:
    contents = {f"scan/{i}.png": b"%d" % i for i in range(30)}
    pins = [(name, sha256(c), server.serve(f"/{name}", body(c))) for name, c in contents.items()]
    store = make_store(*pins)
    assert not data.is_available("scan", store=store)
    folder = data.fetch_dataset("scan", store=store)
    assert {f"scan/{path.name}": path.read_bytes() for path in folder.iterdir()} == contents
    assert data.is_available("scan", store=store)
    (folder / "7.png").unlink()
    assert data.fetch_all(store=store) == {"scan": folder}
    assert server.hits.total() == 31 and server.hits["/scan/7.png"] == 2


# ---- a download that fails


@pytest.mark.parametrize(
    ("answer", "asked", "said"),
    [
        (status(404), 1, "HTTP 404"),
        (status(429), 3, "HTTP 429"),
        (status(500), 3, "HTTP 500"),
        (truncated(CONTENT), 3, "broken off"),
        (stalling(CONTENT), 3, "silent for 0.3 s"),
        (body(b"other"), 2, sha256(b"other")),
    ],
    ids=["404", "429", "500", "truncated", "stalled", "wrong hash"],
)
def test_a_lasting_trouble_ends_in_a_way_out_and_leaves_nothing(
    server: Loopback, make_store: MakeStore, answer: Answer, asked: int, said: str
) -> None:
    url = server.serve("/a.h5", answer)
    store = make_store(("scan/a.h5", sha256(CONTENT), url))
    with pytest.raises(LowdoseError) as error:
        data.fetch("scan/a.h5", store=store)
    for needed in (said, url, "scan/a.h5", sha256(CONTENT), "https://example.org/scan", "run again"):
        assert needed in str(error.value)
    assert server.hits["/a.h5"] == asked
    assert litter(store.folder) == []


def test_a_server_that_is_not_there(server: Loopback, make_store: MakeStore) -> None:
    url = server.serve("/a.h5", body(CONTENT))
    server.close()
    store = make_store(("scan/a.h5", sha256(CONTENT), url))
    with pytest.raises(LowdoseError, match=r"(?i)refused"):
        data.fetch("scan/a.h5", store=store)
    assert litter(store.folder) == []


def test_a_failure_keeps_the_old_file_and_the_complete_ones(server: Loopback, make_store: MakeStore) -> None:
    good, gone = server.serve("/good", body(CONTENT)), server.serve("/gone", status(404))
    store = make_store(("scan/a", sha256(CONTENT), good), ("scan/b", sha256(CONTENT), gone))
    (store.folder / "scan").mkdir(parents=True)
    (store.folder / "scan" / "b").write_bytes(b"old")
    with pytest.raises(LowdoseError, match="HTTP 404"):
        data.fetch_all(workers=1, store=store)
    assert litter(store.folder) == ["scan/a", "scan/b"]
    assert (store.folder / "scan" / "b").read_bytes() == b"old"


class Waits(threading.Event):
    """Notes how long it was asked to wait, and does not."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout or 0.0)
        return False


def test_waits_grow_and_follow_the_server_up_to_a_bound(server: Loopback, tmp_path: Path) -> None:
    in_30_s = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    url = server.serve(
        "/a",
        status(500),
        status(500),
        status(429, Retry_After="20"),
        status(429, Retry_After=in_30_s),
        status(429, Retry_After="9999"),
        status(503, Retry_After="soon"),
    )
    waits = Waits()
    patience = Patience(attempts=7, backoff=1.0, longest_wait=60.0, timeout=2.0)
    failures = download([url], tmp_path / "a", lambda _: "", patience=patience, progress=False, stop=waits)
    assert len(failures) == 1 and "try 7 of 7" in failures[0]
    assert waits.seconds[:3] == [1.0, 2.0, 20.0]
    assert waits.seconds[3] == pytest.approx(30, abs=10)
    assert waits.seconds[4:] == [60.0, 32.0]


def run_python(script: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


FETCH = """
    import signal, sys
    from pathlib import Path
    from lowdose_utils import data
    signal.signal(signal.SIGINT, signal.default_int_handler)
    store = data.Store(data.Registry.load(sys.argv[1]), Path(sys.argv[2]), data.Patience(timeout=20))
    print(data.fetch(sys.argv[3], store=store).read_bytes()[:3])
"""


def test_an_interrupt_leaves_nothing_half_written(
    server: Loopback, make_store: MakeStore, tmp_path: Path
) -> None:
    store = make_store(("scan/a.h5", sha256(CONTENT), server.serve("/a.h5", stalling(CONTENT))))
    child = run_python(FETCH, tmp_path / "registry", store.folder, "scan/a.h5")
    assert server.asked.wait(60)
    child.send_signal(signal.SIGINT)
    output, _ = child.communicate(timeout=60)
    assert child.returncode != 0 and "KeyboardInterrupt" in output
    assert litter(store.folder) == []


@pytest.mark.parametrize("status_", ["pinned", "first-use"])
def test_two_processes_at_once_both_succeed(
    server: Loopback, make_store: MakeStore, tmp_path: Path, status_: str
) -> None:
    url = server.serve("/a.h5", body(CONTENT, delay=0.5))
    if status_ == "pinned":
        store = make_store(("scan/a.h5", sha256(CONTENT), url))
    else:
        store = make_store(files=["scan/a.h5"], urls={"scan/a.h5": [url]}, status="first-use")
    both = [run_python(FETCH, tmp_path / "registry", store.folder, "scan/a.h5") for _ in range(2)]
    outputs = [child.communicate(timeout=60)[0] for child in both]
    assert [child.returncode for child in both] == [0, 0], outputs
    assert all(str(CONTENT[:3]) in output for output in outputs)
    assert (store.folder / "scan" / "a.h5").read_bytes() == CONTENT
    first_use = [] if status_ == "pinned" else ["first_use.txt"]
    assert litter(store.folder) == [*first_use, "scan/a.h5"]


def test_two_threads_at_once_both_succeed(server: Loopback, make_store: MakeStore) -> None:
    url = server.serve("/a.h5", body(CONTENT, delay=0.1))
    store = make_store(files=["scan/a.h5"], urls={"scan/a.h5": [url]}, status="first-use")
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(data.fetch("scan/a.h5", store=store).read_bytes()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [CONTENT] * 4
    assert litter(store.folder) == ["first_use.txt", "scan/a.h5"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk(server: Loopback, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    # The temporary file is opened on the kernel's full device: its writes end in a real ENOSPC.
    store = make_store(("scan/a.h5", sha256(CONTENT), server.serve("/a.h5", body(CONTENT))), bytes=5)
    really = Path.open

    def on_a_full_disk(path: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        really(path, mode, *rest, **more).close()
        return really(Path("/dev/full") if mode == "wb" else path, mode, *rest, **more)

    monkeypatch.setattr(Path, "open", on_a_full_disk)
    with pytest.raises(LowdoseError, match=r"a\.h5: found no room left on the disk.*Make room"):
        data.fetch("scan/a.h5", store=store)
    assert litter(store.folder) == []


def test_a_dataset_larger_than_the_disk_is_refused_before_the_first_byte(
    server: Loopback, make_store: MakeStore
) -> None:
    url = server.serve("/a.h5", body(CONTENT))
    store = make_store(("scan/a.h5", sha256(CONTENT), url), bytes=10**18)
    with pytest.raises(LowdoseError, match="LOWDOSE_DATA_DIR"):
        data.fetch_dataset("scan", store=store)
    assert server.hits.total() == 0 and not store.folder.exists()


def test_a_folder_that_cannot_be_made(server: Loopback, make_store: MakeStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    store = make_store(
        ("scan/a.h5", sha256(CONTENT), server.serve("/a.h5", body(CONTENT))),
        folder=tmp_path / "file" / "data",
    )
    with pytest.raises(LowdoseError, match=r"writing .*a\.h5: .*Not a directory.*LOWDOSE_DATA_DIR"):
        data.fetch("scan/a.h5", store=store)


# An audit hook refuses every write in the folder, as a read-only file system does; it holds for root too,
# whom permissions do not.
READ_ONLY = """
    import errno, os, sys
    from pathlib import Path
    from lowdose_utils import data
    store = data.Store(data.Registry.load(sys.argv[1]), Path(sys.argv[2]))
    CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.utime", "os.link"}
    def refuse(event, arguments):
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if (writes or event in CHANGES) and str(arguments[0]).startswith(sys.argv[2]):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), arguments[0])
    sys.addaudithook(refuse)
    for name in sys.argv[3:]:
        try:
            print(data.fetch(name, store=store).name)
        except Exception as error:
            print(type(error).__name__, error)
"""


def test_a_read_only_folder(server: Loopback, make_store: MakeStore, tmp_path: Path) -> None:
    url = server.serve("/b", body(CONTENT))
    pins = [("scan/right", sha256(CONTENT), url), ("scan/gone", sha256(CONTENT), url)]
    store = make_store(
        *pins, files=["scan/right", "scan/gone", "scan/new"], urls={"scan/new": [url]}, status="first-use"
    )
    (store.folder / "scan").mkdir(parents=True)
    for name in ("right", "new"):
        (store.folder / "scan" / name).write_bytes(CONTENT)
    child = run_python(READ_ONLY, tmp_path / "registry", store.folder, "scan/right", "scan/new", "scan/gone")
    lines = child.communicate(timeout=60)[0].splitlines()
    assert lines[0] == "right"  # there and right: used without a write
    assert "cannot be recorded" in lines[1] or "none can be recorded" in lines[1]
    assert lines[2] == "new"
    assert lines[3].startswith("LowdoseError") and os.strerror(errno.EROFS) in lines[3]
    assert "LOWDOSE_DATA_DIR" in lines[3]
    assert litter(store.folder) == ["scan/new", "scan/right"]


# ---- no published hash


def test_a_first_use_is_recorded_and_checked_ever_after(
    server: Loopback, make_store: MakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    url = server.serve("/a.h5", body(CONTENT), body(b"changed"))
    store = make_store(files=["scan/a.h5"], urls={"scan/a.h5": [url]}, status="first-use")
    assert data.provenance("scan", store=store)["sha256"] is None
    path = data.fetch("scan/a.h5", store=store)
    assert "checked ever after" in caplog.text and sha256(CONTENT) in caplog.text
    assert data.provenance("scan", store=store)["sha256"] == sha256(CONTENT)
    assert [row.state for row in data.verify("scan", store=store)] == ["ok"]
    path.unlink()
    with pytest.raises(LowdoseError) as error:
        data.fetch("scan/a.h5", store=store)
    assert sha256(CONTENT) in str(error.value) and sha256(b"changed") in str(error.value)
    assert litter(store.folder) == ["first_use.txt"]


def test_the_first_record_holds_and_none_is_lost(make_store: MakeStore) -> None:
    store = make_store(files=["scan/a.h5"], status="manual", how="-")
    names = [f"scan/file {i} é" for i in range(24)]
    threads = [threading.Thread(target=store.record, args=(name, sha256(name.encode()))) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.first_use() == {name: sha256(name.encode()) for name in names}
    assert store.record(names[0], sha256(b"later")) == sha256(names[0].encode())
    assert store.first_use()[names[0]] == sha256(names[0].encode())


def test_a_login_page_is_not_taken_for_data(server: Loopback, make_store: MakeStore) -> None:
    url = server.serve("/a.h5", body(b"\n<!DOCTYPE html><title>Log in</title>"))
    store = make_store(
        files=["scan/a.h5"], urls={"scan/a.h5": [url]}, status="first-use", url_status="inferred"
    )
    with pytest.raises(LowdoseError, match=r"a web page.*inferred"):
        data.fetch("scan/a.h5", store=store)
    assert litter(store.folder) == []


def test_a_file_to_fetch_by_hand(make_store: MakeStore) -> None:
    store = make_store(files=["scan/a.h5"], status="manual", how="Log in and press the button.")
    with pytest.raises(LowdoseError) as error:
        data.fetch_dataset("scan", store=store)
    path = store.folder / "scan" / "a.h5"
    for needed in ("https://example.org/scan", "press the button", str(path.parent), "a.h5", "Run again"):
        assert needed in str(error.value)
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert [row.state for row in data.verify("scan", store=store)] == ["unrecorded"]
    assert data.fetch("scan/a.h5", store=store) == path
    path.write_bytes(b"another version")
    with pytest.raises(LowdoseError, match=sha256(CONTENT)):
        data.fetch("scan/a.h5", store=store)


def listing(server: Loopback, **files: tuple[bytes, str]) -> str:
    entries = [
        {"key": key, "checksum": checksum, "links": {"self": server.serve(f"/files/{key}", body(content))}}
        for key, (content, checksum) in files.items()
    ]
    return server.serve("/api/records/1", body(json.dumps({"files": entries}).encode()))


def test_a_repository_record_names_the_files_at_the_first_download(
    server: Loopback, make_store: MakeStore
) -> None:
    md5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
    store = make_store(files=[], status="first-use", listing=listing(server, slices=(CONTENT, md5)))
    assert not data.is_available("scan", store=store)
    data.fetch_dataset("scan", store=store)
    assert (store.folder / "scan" / "slices").read_bytes() == CONTENT
    assert data.is_available("scan", store=store)
    assert data.provenance("scan", store=store)["sha256"] == sha256(CONTENT)
    data.fetch("scan/slices", store=store)
    assert server.hits == {"/api/records/1": 1, "/files/slices": 1}


def test_a_published_md5_is_checked_too(server: Loopback, make_store: MakeStore) -> None:
    md5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
    store = make_store(files=[], status="first-use", listing=listing(server, slices=(b"other", md5)))
    with pytest.raises(LowdoseError, match=md5):
        data.fetch_dataset("scan", store=store)
    assert litter(store.folder) == ["scan/record.json"]


@pytest.mark.parametrize("record", [b"not json", b"{}", b'{"files": []}', b"[1]"])
def test_a_record_that_is_none(server: Loopback, make_store: MakeStore, record: bytes) -> None:
    store = make_store(files=[], status="first-use", listing=server.serve("/record", body(record)))
    with pytest.raises(LowdoseError, match=r"record\.json.*Delete it"):
        data.fetch_dataset("scan", store=store)


def test_a_record_cannot_point_out_of_the_folder(server: Loopback, make_store: MakeStore) -> None:
    evil = {"../../evil": (CONTENT, sha256(CONTENT))}
    store = make_store(files=[], status="first-use", listing=listing(server, **evil))
    with pytest.raises(LowdoseError, match="evil"):
        data.fetch_dataset("scan", store=store)
    assert not (store.folder.parent / "evil").exists()


# ---- names, folders, records


def test_unknown_names_are_answered_with_the_known_ones(make_store: MakeStore) -> None:
    store = make_store(("scan/a.h5", sha256(CONTENT), "https://example.org/a.h5"))
    with pytest.raises(LowdoseError, match="scan"):
        data.fetch_dataset("scam", store=store)
    with pytest.raises(LowdoseError, match=r"scan/a\.h5"):
        data.fetch("scan/b.h5", store=store)


def test_what_is_not_to_be_had_names_its_stand_in(tmp_path: Path) -> None:
    store = Store(REGISTRY, tmp_path)
    with pytest.raises(LowdoseError, match="haadf_needle"):
        data.fetch_dataset("rubber_silica", store=store)
    assert not data.is_available("rubber_silica", store=store)


def test_the_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LOWDOSE_DATA_DIR", str(tmp_path / "kit"))
    assert data.data_dir() == tmp_path / "kit"
    monkeypatch.delenv("LOWDOSE_DATA_DIR")
    assert data.data_dir().name == "lowdose"


def test_a_provenance_is_ready_for_json_and_changes_with_any_hash() -> None:
    store = Store(REGISTRY, Path("nowhere"))
    for name in REGISTRY.datasets:
        assert json.loads(json.dumps(data.provenance(name, store=store)))["name"] == name
    assert data.provenance("tooth", store=store)["sha256"] == REGISTRY.hashes["tooth/tooth.h5"]
    whole = data.provenance("fib25", store=store)
    assert whole["files"] == 251 and re.fullmatch(r"sha256:[0-9a-f]{64}", whole["sha256"])
    hashes = {**REGISTRY.hashes, "fib25/iso.2600.png": sha256(b"other")}
    other = Store(dataclasses.replace(REGISTRY, hashes=hashes), store.folder)
    assert data.provenance("fib25", store=other)["sha256"] != whole["sha256"]


def test_the_list_shows_every_dataset_with_its_status(tmp_path: Path) -> None:
    table = data.format_list(store=Store(REGISTRY, tmp_path))
    lines = {line.split()[0]: line for line in table.splitlines() if line}
    for entry in REGISTRY.datasets.values():
        assert entry.status in lines[entry.name] and entry.title in lines[entry.name]
    assert str(tmp_path) in table


def test_a_wish_for_simulated_data_touches_neither_disk_nor_network(make_store: MakeStore) -> None:
    store = make_store(("scan/scan.h5", sha256(CONTENT), "http://127.0.0.1:9/never"))
    assert data.choose("scan", "simulated", store=store) == "simulated"
    assert not store.folder.exists()


def test_auto_takes_the_real_data_if_they_can_be_had(server: Loopback, make_store: MakeStore) -> None:
    url = server.serve("/scan.h5", body(CONTENT))
    store = make_store(("scan/scan.h5", sha256(CONTENT), url))
    assert data.choose("scan", "auto", store=store) == "real"
    assert data.choose("scan", "real", store=store) == "real"


def test_auto_falls_back_and_says_why_but_real_insists(
    make_store: MakeStore, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_store(("scan/scan.h5", sha256(CONTENT), "http://127.0.0.1:9/nobody-listens"))
    assert data.choose("scan", "auto", store=store) == "simulated"
    assert "scan cannot be had" in capsys.readouterr().out
    with pytest.raises(LowdoseError, match="nobody-listens"):
        data.choose("scan", "real", store=store)
