"""The offline kit of a tiny book: packed from an index on the loopback, installed without any network."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml
from loopback import Loopback, body, status

from lowdose_utils import data
from lowdose_utils.__main__ import main
from lowdose_utils.errors import LowdoseError
from lowdose_utils.kit import Packed, install, pack, wheels

BACKEND = """
import pathlib, zipfile

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    name = "tiny_book-1.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(wheel_directory, name), "w") as wheel:
        wheel.writestr("tiny_book.pth", str(pathlib.Path.cwd()))
        head = "tiny_book-1.0.dist-info/"
        wheel.writestr(head + "METADATA", "Metadata-Version: 2.1\\nName: tiny_book\\nVersion: 1.0\\n")
        wheel.writestr(head + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(head + "RECORD", "")
    return name
"""
FILES = {
    "requirements.lock": "# as in the book\ntorch==2.13.0\nfirst_part==1.0\nsecond.part==1.0\n",
    "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
    "backend.py": BACKEND,
    "in_the_book.py": "import first_part, second_part, torch\n",
    "notebooks/00_tiny.md": "---\nkernelspec: {name: python3, display_name: Python 3}\n---\n\n# A section\n",
}
SCAN = b"counts of a detector"


def wheel(name: str, version: str, *needs: str) -> tuple[str, bytes]:
    """File name and bytes of a wheel with one module."""
    requires = "".join(f"Requires-Dist: {need}\n" for need in needs)
    head = f"{name}-{version}.dist-info/"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr(f"{name}.py", "")
        file.writestr(
            head + "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}"
        )
        file.writestr(head + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(head + "RECORD", "")
    return f"{name}-{version}-py3-none-any.whl", content.getvalue()


def git(root: Path, *arguments: str) -> None:
    own = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *own, *arguments], cwd=root, check=True, capture_output=True)


@dataclass
class Tiny:
    """A book of a few lines, an index with its wheels and data, and where its kit goes."""

    root: Path
    kit: Path
    server: Loopback
    store: data.Store

    def pack(self, **options: bool) -> Packed:
        return pack(self.root, self.kit, store=self.store, **options)

    def wheels(self) -> list[str]:
        return sorted(path.name for path in self.kit.glob("wheels/*"))

    def downloads(self) -> dict[str, int]:
        return {path.rpartition("/")[2]: n for path, n in self.server.hits.items() if path.startswith("/f/")}

    def install(self, target: Path, *before: str) -> subprocess.CompletedProcess[str]:
        return install_from(self.kit, target, *before)


def install_from(kit: Path, target: Path, *before: str) -> subprocess.CompletedProcess[str]:
    command = [*before, "sh", str(kit / "install.sh"), str(target)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tiny]:
    root = tmp_path / "tiny book"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "tiny")
    with Loopback() as server:
        # torch needs a library that the lock does not name, as its builds for a GPU do.
        served = [wheel("torch", "2.13.0+cpu", "gpu_library>=7")]
        served += [wheel("gpu_library", "7.1", 'absent; extra == "slow"')]
        served += [wheel("first_part", "1.0"), wheel("second_part", "1.0"), wheel("second_part", "1.1")]
        for name in {file.partition("-")[0] for file, _ in served}:
            links = [
                f'<a href="{server.serve(f"/f/{quote(file)}", body(content))}">{file}</a>'
                for file, content in served
                if file.startswith(f"{name}-")
            ]
            server.serve(
                f"/simple/{name.replace('_', '-')}/",
                body("\n".join(links).encode(), Content_Type="text/html"),
            )
        monkeypatch.setenv("PYTHON", sys.executable)
        monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
        monkeypatch.setenv("PIP_INDEX_URL", server.serve("/simple", status(200)))
        monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
        for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PYTHONDONTWRITEBYTECODE"):
            monkeypatch.delenv(name, raising=False)
        registry = tmp_path / "registry"
        registry.mkdir()
        digest = hashlib.sha256(SCAN).hexdigest()
        url = server.serve("/f/scan.bin", status(404))
        (registry / "registry.txt").write_text(f"scan/scan.bin sha256:{digest} {url}\n")
        text = dict.fromkeys(["title", "description", "origin", "licence", "citation", "shape"], "-")
        entry = {**text, "doi": None, "kind": "measured", "status": "pinned", "bytes": len(SCAN)}
        entry |= {"files": ["*"], "used_by": [], "read": {}}
        (registry / "datasets.yml").write_text(yaml.safe_dump({"scan": entry}))
        patience = data.Patience(attempts=1)
        store = data.Store(data.Registry.load(registry), tmp_path / "cache", patience)
        yield Tiny(root, tmp_path / "a kit", server, store)


def flip_a_bit(kit: Path) -> None:
    path = next(kit.glob("wheels/first_part*"))
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)


def lose_a_file(kit: Path) -> None:
    next(kit.glob("*.tar.gz")).unlink()


def make_it_another_machines(kit: Path) -> None:
    manifest = json.loads((kit / "manifest.json").read_text())
    manifest["for"]["machine"] = "riscv128"
    (kit / "manifest.json").write_text(json.dumps(manifest))


DAMAGES: list[tuple[Callable[[Path], None], str]] = [
    (flip_a_bit, "first_part-1.0-py3-none-any.whl is not the file"),
    (lose_a_file, "tar.gz is missing"),
    (make_it_another_machines, "riscv128"),
]


def test_a_kit_holds_the_locks_wheels_what_torch_needs_and_the_data_and_installs_without_a_network(
    tiny: Tiny, tmp_path: Path
) -> None:
    tiny.server.serve("/f/scan.bin", body(SCAN))
    packed = tiny.pack()
    assert packed.complete and not packed.missing
    expected = ["first_part-1.0", "gpu_library-7.1", "second_part-1.0", "torch-2.13.0+cpu"]
    assert tiny.wheels() == [f"{name}-py3-none-any.whl" for name in expected]
    assert len((tiny.kit / "README.txt").read_text().splitlines()) == 3
    shutil.rmtree(tmp_path / "tiny book")  # the kit alone must do
    for damage, said in DAMAGES:
        damaged, never = tmp_path / damage.__name__, tmp_path / "never"
        shutil.copytree(tiny.kit, damaged)
        damage(damaged)
        refused = install_from(damaged, never)
        assert refused.returncode == 1
        assert said in refused.stderr
        assert not never.exists()
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system allows no network namespace: unshare -rn fails")
    target = tmp_path / "in class"
    done = tiny.install(target, "unshare", "-rn")
    assert done.returncode == 0, done.stdout + done.stderr
    python = target / ".venv" / "bin" / "python"
    asked = "import in_the_book, gpu_library, os; print(os.environ['LOWDOSE_DATA_DIR'])"
    environment = {"PATH": "/usr/bin:/bin"}
    shown = subprocess.run([python, "-c", asked], capture_output=True, text=True, env=environment, check=True)
    assert (Path(shown.stdout.strip()) / "scan" / "scan.bin").read_bytes() == SCAN
    assert (target / "_build" / "notebooks" / "00_tiny.ipynb").exists()
    assert (target / ".venv" / ".done").stat().st_mtime >= (target / "requirements.lock").stat().st_mtime
    again = tiny.install(target)
    assert again.returncode == 1
    assert "has an installed book" in again.stderr


def test_packing_goes_on_where_it_was_and_downloads_nothing_twice(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheels, "PIECE", 1)
    lock = tiny.root / "requirements.lock"
    lock.write_text("first_part==1.0\nsecond.part==1.0\n")
    git(tiny.root, "commit", "-q", "-a", "-m", "a lock without torch")
    page = "/simple/second-part/"
    whole = tiny.server._answers[page]
    tiny.server.serve(page, status(404))
    with pytest.raises(LowdoseError, match=r"second.part==1.0"):
        tiny.pack()
    refused = tiny.install(tiny.kit.parent / "too early")
    assert refused.returncode != 0
    tiny.server.serve(page, *whole)
    lacking = tiny.pack()
    assert lacking.complete
    assert "404" in lacking.missing["scan/scan.bin"]
    assert "but 1 files" in (tiny.kit / "README.txt").read_text()
    assert set(tiny.downloads().values()) == {1}
    (tiny.store.folder / "scan").mkdir(parents=True)
    (tiny.store.folder / "scan" / "scan.bin").write_bytes(SCAN)  # at hand: copied, not downloaded
    (tiny.kit / "wheels" / "first_part-1.0-py3-none-any.whl").write_bytes(b"half of it")
    packed = tiny.pack()
    assert not packed.missing
    assert tiny.downloads() == {**dict.fromkeys(tiny.downloads(), 1), "first_part-1.0-py3-none-any.whl": 2}
    assert install.problems(tiny.kit, json.loads((tiny.kit / "manifest.json").read_text())) == []
    lock.write_text(lock.read_text().replace("second.part==1.0", "second.part==1.1"))
    git(tiny.root, "commit", "-q", "-a", "-m", "another version")
    assert tiny.pack().commit != packed.commit
    assert [name for name in tiny.wheels() if "second" in name] == ["second_part-1.1-py3-none-any.whl"]
    assert len(list(tiny.kit.glob("*.tar.gz"))) == 1


def test_what_is_no_clean_checkout_or_no_kit_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    tiny.kit.mkdir()
    (tiny.kit / "thesis.txt").write_text("mine")
    with pytest.raises(LowdoseError, match="files that are no kit"):
        tiny.pack()
    (tiny.kit / "thesis.txt").unlink()
    (tiny.root / "backend.py").write_text("changed")
    with pytest.raises(LowdoseError, match=r"changed files, such as backend\.py"):
        tiny.pack()


def test_the_command_names_what_is_missing_once_for_each_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = {"fib25/1.png": "no answer", "fib25/2.png": "no answer", "tooth/tooth.h5": "404"}
    monkeypatch.setattr("lowdose_utils.kit.pack", lambda *_, **__: Packed(tmp_path, missing=missing))
    assert main(["kit", str(tmp_path)]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "kit: not in it: fib25/1.png and 1 more: no answer",
        "kit: not in it: tooth/tooth.h5: 404",
    ]
