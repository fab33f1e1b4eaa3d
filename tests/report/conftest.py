"""A small store: two codecs, two solvers, two seeds, a hostile name and a failed run; and a browser to look at it."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import shutil
import subprocess
import time

import numpy as np
import pytest
from PIL import Image
from sweeping import sweep_row

from idemcore.sweeps.store import Store

HOSTILE = "<img src=x onerror=alert(1)> & \"q\" '$title' </script><b>.png"
SIZE = (48, 32)


def picture(seed):
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    noise = np.random.default_rng(seed).integers(-20, 20, (SIZE[1], SIZE[0], 3))
    return (np.stack([5 * x, 7 * y, 3 * (x + y)], -1) + noise).clip(0, 255).astype(np.uint8)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_picture(store, name, pixels):
    """The picture as a row names it."""
    relative = f"images/{name}.png"
    store.path("images").mkdir(exist_ok=True)
    store.path(relative).write_bytes(png(pixels))
    return relative


def make_row(codec, solver, seed, image, level, files, **changes):
    """A row as a sweep writes it; `level` moves its numbers."""
    name, sha = image
    rate = 0.1 * codec["quality"] * (1 if codec["name"] == "jpeg" else 0.8)
    sharp = solver["name"] == "cell"
    row = {
        "id": hashlib.sha256(json.dumps([codec, solver, seed, sha]).encode()).hexdigest()[:16],
        "status": "ok",
        "error": None,
        "codec": codec,
        "generator": {"name": "toy", "components": 5},
        "solver": solver,
        "adapter": None,
        "precision": "auto",
        "seed": seed,
        "image": {"name": name, "sha256": sha, "width": SIZE[0], "height": SIZE[1]},
        "metrics": {
            "bpp": rate + 0.01 * level,
            "psnr": 20 + 12 * rate + level - 2 * sharp,
            "lpips": 0.4 - 0.3 * rate - 0.1 * sharp + 0.02 * level,
            "exact": 1.0 if sharp else 0.0,
            "nfe": 12.0 if sharp else 100.0,
            "seconds": 0.5 + seed,
        },
        "decoded_metrics": {"psnr": 21 + 12 * rate + level, "lpips": 0.5 - 0.3 * rate, "bpp": rate + 0.01 * level},
        "exact": sharp,
        "differing_symbols": 0 if sharp else 3,
        "nfe": 12,
        "backwards": 0,
        "seconds": {"encode": 0.1, "solve": 0.4, "certify": 0.1},
        "files": files,
        "command": f"idem run '{name}' --codec {codec['name']}",
        "versions": {"idemcore": "0.1.0"},
        "weights": {"codec": "abc"},
        "positions": {"counts": [1, 4, 9, 4, 2], "low": -0.5, "high": 0.5},
    }
    return sweep_row(**(row | changes))


@pytest.fixture
def store(tmp_path):
    """The folder: 3 images, jpeg and elic at two qualities, solvers cell (2 seeds) and dps (1), one run failed."""
    folder = tmp_path / "my store"
    store = Store(folder)
    images = [("a.png", "a" * 64), (HOSTILE, "b" * 64), ("c.png", "c" * 64)]
    with store.writing({"test": 1}):
        for level, image in enumerate(images):
            original = write_picture(store, f"{image[1][:8]}-orig", picture(level))
            for codec, quality in itertools.product(("jpeg", "elic"), (1, 2)):
                tag = f"{image[1][:4]}-{codec}-{quality}"
                decoded = write_picture(store, f"{tag}-decoded", picture(level) // 16 * 16)
                for solver, seed in (("cell", 0), ("cell", 1), ("dps", 0)):
                    pixels = picture(level + 10 * seed + (100 if solver == "dps" else 0))
                    files = {"original": original, "decoded": decoded}
                    files["reconstruction"] = write_picture(store, f"{tag}-{solver}-{seed}", pixels)
                    parts = {"name": codec, "quality": quality, "chroma": "4:2:0"}, {"name": solver, "steps": 12}
                    store.append(make_row(*parts, seed, image, level, files))
        failed = {"status": "failed", "error": "RuntimeError: <no> luck", "metrics": {}, "decoded_metrics": {}}
        parts = {"name": "jpeg", "quality": 3, "chroma": "4:2:0"}, {"name": "cell", "steps": 12}
        store.append(make_row(*parts, 0, images[0], 0, {}, **failed))
    return folder


class Browser:
    """Headless Chromium, spoken to in the DevTools protocol over a pipe."""

    def __init__(self, program, profile):
        to_read, self.out = os.pipe()
        self.into, to_write = os.pipe()

        def descriptors():
            for number in (to_read, to_write):
                os.set_inheritable(number, True)
            high = os.dup2(to_read, 10), os.dup2(to_write, 11)
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"]
        self.process = subprocess.Popen(
            [program, *flags, "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=descriptors, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_read)
        os.close(to_write)
        self.count, self.buffer, self.session, self.errors = 0, b"", None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Runtime.enable")
        self.call("Page.enable")

    def call(self, method, **parameters):
        self.count += 1
        message = {"id": self.count, "method": method, "params": parameters}
        message |= {"sessionId": self.session} if self.session else {}
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self.count:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def _receive(self):
        while b"\0" not in self.buffer:
            chunk = os.read(self.into, 1 << 16)
            assert chunk, "Chromium ended"
            self.buffer += chunk
        message, _, self.buffer = self.buffer.partition(b"\0")
        answer = json.loads(message)
        if answer.get("method") == "Runtime.exceptionThrown":
            self.errors.append(answer["params"]["exceptionDetails"])
        return answer

    def open(self, path, width=1280, height=900, dark=False):
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 700
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        self.call("Page.navigate", url=path.resolve().as_uri())
        for _ in range(200):
            if self.run("document.readyState === 'complete' && location.protocol === 'file:'"):
                return
            time.sleep(0.05)
        raise AssertionError("the page does not load")

    def run(self, script):
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def text(self, selector):
        return self.run(f"document.querySelector({json.dumps(selector)}).textContent")

    def click(self, selector):
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def key(self, key):
        text = "\r" if key == "Enter" else key if len(key) == 1 else ""
        more = {"text": text} if text else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **more)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def mouse(self, kind, x, y, **more):
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1, **more)

    def close(self):
        self.process.terminate()
        self.process.wait(10)
        os.close(self.out)
        os.close(self.into)


@pytest.fixture
def browser(tmp_path):
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not program:
        pytest.skip("there is no Chromium here")
    browser = Browser(program, tmp_path / "profile")
    yield browser
    assert not browser.errors
    browser.close()
