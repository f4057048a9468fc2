"""The panel for scribbles as a person uses it: drawn, trained, seen and corrected in a JupyterLab.

Needs a Chromium. The server listens on the loopback interface and is started here.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT
from playwright.sync_api import Browser, Page, expect

pytestmark = pytest.mark.browser
CELLS = [
    """import numpy as np
from lowdose_utils import classify
y, x = np.mgrid[:96, :120]
truth = 1 + (np.hypot(y - 48, x - 60) < 28)
image = 100.0 * truth + np.random.default_rng(0).normal(0, 10, truth.shape)
features = classify.FeatureSet(("gaussian", "sobel"), maximum_sigma=2)
session = classify.Session(image, ["around", "disc"], features=features, trees=20, device="cpu")
classify.Panel(session)""",
    """print("strokes", [s.label for s in session.strokes])
print("right", np.mean(session.classify() == truth) > 0.97)""",
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a JupyterLab that holds a notebook with the panel."""
    folder = tmp_path_factory.mktemp("lab")
    cells = [
        {
            "cell_type": "code",
            "id": f"c{k}",
            "source": text,
            "metadata": {},
            "outputs": [],
            "execution_count": None,
        }
        for k, text in enumerate(CELLS)
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    (folder / "panel.ipynb").write_text(
        json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})
    )
    quiet = folder / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    quiet.parent.mkdir(parents=True)
    quiet.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    own = {
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
    }
    env = {**os.environ, "PYTHONPATH": str(ROOT), **{key: str(folder / name) for key, name in own.items()}}
    options = ["--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0", "--IdentityProvider.token="]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options], cwd=folder, env=env, stdout=log, stderr=log
        )
        try:
            yield _address(folder / "log", server)
        finally:
            server.terminate()
            server.wait(20)


def _address(log: Path, server: subprocess.Popen[bytes]) -> str:
    """Where the server says that it listens, once it answers."""
    for _ in range(120):
        found = re.search(r"http://127\.0\.0\.1:\d+/", log.read_text())
        if server.poll() is not None:
            break
        if found:
            with urllib.request.urlopen(found.group() + "api", timeout=10):
                return found.group()
        time.sleep(0.5)
    raise AssertionError("JupyterLab did not start:\n" + log.read_text())


@pytest.fixture
def page(lab: str, browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1100, "height": 1000})
    page.goto(f"{lab}lab/tree/panel.ipynb?reset")
    yield page
    page.close()


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw a line on the panel's picture, in shares of its width and height."""
    picture = page.locator(".jupyter-matplotlib canvas").first
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + start[0] * box["width"], box["y"] + start[1] * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + end[0] * box["width"], box["y"] + end[1] * box["height"], steps=6)
    page.mouse.up()


def test_one_draws_trains_sees_and_corrects(page: Page) -> None:
    page.get_by_role("button", name="Train").wait_for(state="hidden", timeout=60_000)
    page.locator(".jp-Cell .cm-content").first.click()
    page.keyboard.press("Shift+Enter")
    train = page.get_by_role("button", name="Train")
    train.wait_for(timeout=120_000)
    expect(page.get_by_text("draw with the mouse")).to_be_visible()

    train.click()  # nothing drawn: told so, and nothing breaks
    expect(page.get_by_text("Draw into each class")).to_be_visible()
    drag(page, (0.05, 0.1), (0.6, 0.1))
    expect(page.get_by_text("Strokes drawn: 1.")).to_be_visible()
    page.get_by_role("button", name="disc").click()
    drag(page, (0.45, 0.45), (0.55, 0.6))
    expect(page.get_by_text("Strokes drawn: 2.")).to_be_visible()
    train.click()
    expect(page.get_by_text("Learned from")).to_be_visible(timeout=60_000)

    drag(page, (0.5, 0.3), (0.5, 0.7))  # a third, taken back, and a correction instead of it
    page.get_by_role("button", name="Undo stroke").click()
    expect(page.get_by_text("Strokes drawn: 2.")).to_be_visible()
    page.get_by_role("button", name="around").click()
    drag(page, (0.05, 0.9), (0.9, 0.95))
    train.click()
    expect(page.get_by_text("Learned from")).to_be_visible(timeout=60_000)
    if shot := os.environ.get("LOWDOSE_PANEL_PICTURE"):
        page.locator(".jp-OutputArea-output").first.screenshot(path=shot)

    page.locator(".jp-Cell .cm-content").nth(1).click()
    page.keyboard.press("Shift+Enter")
    expect(page.get_by_text("strokes [1, 2, 1]")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("right True")).to_be_visible()
