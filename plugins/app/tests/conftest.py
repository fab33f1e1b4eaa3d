"""The app as a process of its own, a browser, and small photographs."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pytest
from PIL import Image
from stand_in import Client

START = 120
"""Seconds that the app gets to come up, on a busy machine."""


class App:
    """`idem app` in a folder; `address` ends with the token and a slash."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.process = folder, None

    def start(self, *options: str) -> App:
        program = "from idemcore.cli import main; main()"
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        (self.folder / "ready").unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, "app", "--no-browser", "--folder", str(self.folder), *options],
            env=environment, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.address = self.process.stderr.readline().strip()
        assert self.address.startswith("http://"), self.address + self.process.stderr.read()
        end = time.monotonic() + START
        while time.monotonic() < end:
            try:
                self.get("state")
                return self
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the app does not come up")

    def get(self, path: str) -> dict:
        with urlopen(self.address + path, timeout=START) as answer:
            return json.load(answer)

    def post(self, path: str, body: bytes = b"") -> dict:
        with urlopen(Request(self.address + path, body, method="POST"), timeout=START) as answer:
            return json.load(answer)

    def stop(self, how: int = signal.SIGINT) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(30)
        self.process = None


@pytest.fixture(scope="session")
def running_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    app = App(tmp_path_factory.mktemp("app") / "kept").start()
    yield app
    app.stop()


@pytest.fixture
def app(running_app: App) -> Iterator[App]:
    """Without photographs; one process serves all tests."""
    yield running_app
    for photo in running_app.get("state")["photos"]:
        running_app.post(f"photos/{photo['id']}/remove")


@pytest.fixture(scope="session")
def chromium() -> Iterator[object]:
    """A browser of Playwright's; skips where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not program:
        pytest.skip("there is no Chromium here")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def make_picture(seed: int = 0, width: int = 96, height: int = 64) -> Image.Image:
    """Smooth on the left, textured on the right."""
    y, x = np.mgrid[0:height, 0:width]
    texture = np.random.default_rng(seed).integers(-40, 40, (height, width, 3)) * (x > width // 2)[..., None]
    pixels = np.stack([200 * x / width, 250 * y / height, 128 + 60 * np.sin(x / 9 + seed)], axis=-1) + texture
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Three JPEGs."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    paths = [folder / f"{name}.jpg" for name in ("one", "two", "three")]
    for seed, path in enumerate(paths):
        make_picture(seed).save(path, quality=10 + seed)
    return paths


@pytest.fixture
def picture() -> Callable[..., Image.Image]:
    """`picture(seed, width, height)`."""
    return make_picture


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(tmp_path / "app")


@pytest.fixture
def jpeg(picture) -> bytes:
    buffer = io.BytesIO()
    picture(0, 60, 40).save(buffer, "JPEG", quality=10)
    return buffer.getvalue()
