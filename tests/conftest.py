"""Fixtures that every test file may use."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from book_pages import Watched, toc_pages
from filelock import FileLock
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
BROWSER_FLAGS = [
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
]


# A shell that starts tests in the background has them ignore Ctrl-C, which some of them are about.
signal.signal(signal.SIGINT, signal.default_int_handler)
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # the workers share the cores


def data_folder() -> Path | None:
    """The folder with the real files: `LOWDOSE_DATA_DIR`, or `shared/data` beside the checkout."""
    named = os.environ.get("LOWDOSE_DATA_DIR")
    for folder in ([Path(named)] if named else []) + [ROOT.parent / "shared" / "data"]:
        if folder.is_dir():
            return folder.resolve()
    return None


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For images so small that two threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium."""
    path = shutil.which("chromium")
    if path is None:
        # On a machine of continuous integration, which installs it, its absence is a failure.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "no chromium on the path: install Debian's package chromium"
        )
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=BROWSER_FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Give the path of a real measured file, or skip the test and say what is missing."""

    def find(name: str) -> Path:
        folder = data_folder()
        if folder is None or not (folder / name).exists():
            pytest.skip(f"real data {name} is not at hand: set LOWDOSE_DATA_DIR to a folder that has it")
        return folder / name

    return find


def copy_of_the_book(folder: Path) -> Path:
    """The files that a commit of the working tree would hold, in a folder with a space in its name."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    root = folder / "a book"
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    return root


def snakemake(root: Path, *arguments: str) -> list[str]:
    """The command that `make book` runs, at the preset `smoke`."""
    options = ["--cores", "all", "--config", "preset=smoke", "--quiet", "host", "progress", "rules", "reason"]
    options += ["--rerun-incomplete", "--nolock", "--keep-going"]
    return [sys.executable, "-m", "snakemake", "--directory", str(root), *options, *arguments]


def book_environment() -> dict[str, str]:
    """The environment of a build: the real files if they are at hand, a locale that is not English."""
    folder = data_folder()
    data = {"LOWDOSE_DATA_DIR": str(folder)} if folder else {}
    return {**os.environ, **data, "LANG": "de_DE.UTF-8", "LC_ALL": "de_DE.UTF-8"}


@pytest.fixture(scope="session")
def built_book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the book, built at the preset `smoke`; gives its folder. The html is under `_build/html`.

    Processes that test side by side share it: who comes first builds, the others wait.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with FileLock(folder / "built.lock"):
        return built_in(folder / "built")


def built_in(folder: Path) -> Path:
    """The book that is built there, or is built now."""
    if (folder / "done").exists():
        return folder / "a book"
    root = copy_of_the_book(folder)
    done = subprocess.run(
        snakemake(root),
        cwd=root,
        capture_output=True,
        text=True,
        env=book_environment(),
        check=False,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "done").touch()
    return root


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def html(request: pytest.FixtureRequest) -> Path:
    """Folder of the built book."""
    named = os.environ.get("LOWDOSE_BOOK_HTML")
    return Path(named) if named else request.getfixturevalue("built_book") / "_build" / "html"


@pytest.fixture(scope="module")
def site(html: Path) -> Iterator[str]:
    """Address of the built book on the loopback interface."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=html))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def watched(request: pytest.FixtureRequest, browser: Browser, site: str) -> Iterator[Watched]:
    """A page in the theme of the test's module: a file for each, so that two workers share them."""
    theme = request.module.THEME
    context = browser.new_context(viewport={"width": 1300, "height": 900}, color_scheme=theme)
    yield Watched(context.new_page(), site)
    context.close()


@pytest.fixture(scope="module", params=toc_pages())
def opened(request: pytest.FixtureRequest, watched: Watched) -> Watched:
    """A page that has been loaded once for all that is asked of it."""
    watched.wrong.clear()
    watched.page.emulate_media(reduced_motion="no-preference")
    watched.open(request.param)
    return watched
