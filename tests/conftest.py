"""Small images, the command line in process, and a model card `demo` with a server for its file."""

from __future__ import annotations

import hashlib
import re
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import EntryPoints, distributions
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner, Result
from PIL import Image

from idemcore.cli import main
from idemcore.hookspecs import ENTRY_POINT_GROUP
from idemcore.plugins import entry_points as entries
from idemcore.weights import cards
from idemcore.weights import store as models

Idem = Callable[..., Result]
WriteCard = Callable[..., None]
Install = Callable[..., None]

ADAPTER = """
from idemcore.weights.checkpoints import check_layout, modern_names

def adapt(state):
    state = modern_names(state)
    check_layout(state, {"g_a.weight": (30, 100), "entropy_bottleneck.biases.0": (4,)}, "the demo codec")
    return state, {"N": "30"}
"""


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A 40x24 PNG with a smooth part and a textured one."""
    y, x = np.mgrid[0:24, 0:40]
    texture = np.random.default_rng(0).integers(-40, 40, (24, 40, 3)) * (x > 20)[..., None]
    pixels = np.stack([6 * x, 10 * y, 128 + 3 * (x - y)], axis=-1) + texture
    path = tmp_path / "photo.png"
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def idem() -> Idem:
    """`idem("run", path, ...)`: the command line with these arguments; `.stdout`, `.stderr`, `.exit_code`."""

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="idem")

    return call


class Server(ThreadingHTTPServer):
    """Serves `files` by path; `cut` is the number of bytes after which it hangs up, `ranges` whether it resumes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.cut: int | None = None
        self.ranges = True
        self.asked: list[str | None] = []

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        data = self.server.files.get(self.path[1:])
        if data is None:
            self.send_error(404)
            return
        begin = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and self.server.ranges else 0
        if begin and begin >= len(data):
            self.send_error(416)
            return
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        self.wfile.write(data[begin : self.server.cut])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def demo_state() -> dict[str, torch.Tensor]:
    """Weights of `demo`, with a name of old versions of CompressAI."""
    return {"g_a.weight": torch.arange(3000.0).reshape(30, 100), "entropy_bottleneck._bias0": torch.ones(4)}


@pytest.fixture
def demo_card() -> dict[str, object]:
    """The keys of the card `demo`, but its name."""
    return {
        "kind": "codec", "plugin": "idemcore-demo", "summary": "a demonstration", "adapter": "demo_plugin:adapt",
        "source": "demo.pth.tar, released with Demo (Doe, 2020)", "page": "https://example.org/demo",
    }  # fmt: skip


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def published(tmp_path: Path, demo_state: dict[str, torch.Tensor]) -> Path:
    """The published file, as training leaves it, with old names."""
    path = tmp_path / "demo.pth.tar"
    torch.save({"epoch": 7, "state_dict": demo_state}, path)
    return path


@pytest.fixture
def write_card(tmp_path: Path, demo_card: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> Iterator[WriteCard]:
    """`write_card(key=value, ...)`: a card `demo` with these keys and the usual ones, its adapter, an empty cache."""
    folder = tmp_path / "registry" / "models"
    folder.mkdir(parents=True)
    (tmp_path / "demo_plugin.py").write_text(ADAPTER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("IDEM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cards, "registry_folder", lambda: tmp_path / "registry")

    def one(name: str = "demo", **keys: object) -> None:
        cards._read_cards.cache_clear()
        content = {"name": name, **demo_card, **keys}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({k: v for k, v in content.items() if v is not None}))

    yield one
    cards._read_cards.cache_clear()
    sys.modules.pop("demo_plugin", None)


@pytest.fixture
def demo(write_card: WriteCard, server: Server, published: Path) -> models.ModelFile:
    """The card's file, whose url the server has and whose sha256 is published."""
    data = published.read_bytes()
    server.files["demo.pth.tar"] = data
    write_card(url=server.url("demo.pth.tar"), sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
    return models.find_one("demo")


@pytest.fixture
def in_cache() -> Callable[[], list[str]]:
    """`in_cache()`: the names of all files in the cache, but for locks."""
    return lambda: sorted(path.name for path in models.cache_folder().rglob("*") if path.suffix != ".lock")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """`install("demo-a", source)`: a distribution whose entry point names a module of that source. No other is seen."""
    names: list[str] = []

    def add(distribution: str, source: str) -> None:
        module = f"plugin_{len(names)}_{distribution.replace('-', '_')}"
        names.append(module)
        (tmp_path / f"{module}.py").write_text(source.replace("{module}", module))
        info = tmp_path / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[{ENTRY_POINT_GROUP}]\n{distribution} = {module}\n")

    def found(group: str) -> EntryPoints:
        return EntryPoints(e for d in distributions(path=[str(tmp_path)]) for e in d.entry_points if e.group == group)

    monkeypatch.setattr(entries, "entry_points", found)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("IDEM_PLUGINS", raising=False)
    monkeypatch.delenv("IDEM_DISABLE_PLUGINS", raising=False)
    yield add
    for module in names:
        sys.modules.pop(module, None)
