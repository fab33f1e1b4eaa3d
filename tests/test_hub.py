"""`idem models pull hf:...` from a small Hub on this machine: what comes, what does not, and what is said."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from idemcore.errors import UsageError
from idemcore.weights.hub import pull_repository, wanted

pytest.importorskip("huggingface_hub")

COMMIT = "a" * 40
FILES = {
    "unet/config.json": b"{}",
    "unet/diffusion_pytorch_model.safetensors": b"tensors",
    "unet/diffusion_pytorch_model.bin": b"pickle",
    "run.py": b"print('never')",
}
REPOSITORIES = {"owner/whole": FILES, "owner/pickled": {"config.json": b"{}", "model.bin": b"pickle"}}


class Hub(BaseHTTPRequestHandler):
    """What the client asks of the Hub for a snapshot."""

    asked: list[str]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        type(self).asked.append(self.path)
        path = self.path.partition("?")[0]
        for name, files in REPOSITORIES.items():
            if path.startswith(f"/api/models/{name}/tree/"):
                entries = [
                    {"type": "file", "path": file, "size": len(data), "oid": "b" * 40} for file, data in files.items()
                ]
                return self._send(json.dumps(entries).encode())
            if path.startswith(f"/api/models/{name}"):
                about = {"id": name, "sha": COMMIT, "siblings": [{"rfilename": file} for file in files]}
                return self._send(json.dumps(about).encode())
            if path.startswith(f"/{name}/resolve/"):
                return self._send(files[path.split("/", 5)[5]])
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def _send(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    Hub.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def pull(hub: str, home: Path, name: str) -> subprocess.CompletedProcess[str]:
    """In another process: the library reads its environment once."""
    environment = {**os.environ, "HF_ENDPOINT": hub, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    words = [sys.executable, "-m", "idemcore.cli", "models", "pull", name, "--json"]
    return subprocess.run(words, capture_output=True, text=True, check=False, env=environment, timeout=120)


def test_settings_and_safetensors_come_and_nothing_that_runs(hub: str, tmp_path: Path) -> None:
    ran = pull(hub, tmp_path, "hf:owner/whole")
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert (told["repository"], told["commit"]) == ("owner/whole", COMMIT)
    came = {str(p.relative_to(told["path"])): p.read_bytes() for p in Path(told["path"]).rglob("*") if p.is_file()}
    assert came == {name: FILES[name] for name in list(FILES)[:2]}
    assert not [path for path in Hub.asked if path.endswith((".bin", ".py"))]


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("hf:owner/pickled", 1, "holds no .safetensors"),
        ("hf:owner/none", 4, "There is no owner/none at http://127.0.0.1"),
    ],
)
def test_what_cannot_come_is_refused(hub: str, tmp_path: Path, name: str, code: int, message: str) -> None:
    ran = pull(hub, tmp_path, name)
    assert (ran.returncode, ran.stdout) == (code, "")
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not list(tmp_path.rglob("*.bin"))


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    ran = pull("http://127.0.0.1:9", tmp_path, "hf:owner/whole")
    assert ran.returncode == 1
    assert "Cannot bring owner/whole from http://127.0.0.1:9" in ran.stderr


@pytest.mark.parametrize("name", ["", "owner", "owner/name/more", "../x", "owner/na me", "owner/name@"])
def test_other_forms_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is not a repository"):
        pull_repository(name)


def test_of_a_pipeline_comes_each_part_once_and_in_half_precision_where_it_is_there() -> None:
    names = ["model_index.json", "README.md", "sd_xl_base_1.0.safetensors", "unet/config.json",
             "unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.fp16.safetensors",
             "vae/config.json", "vae/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.bin",
             "tokenizer/merges.txt"]  # fmt: skip
    unet = ["unet/config.json", "unet/diffusion_pytorch_model.fp16.safetensors"]
    vae = ["vae/config.json", "vae/diffusion_pytorch_model.safetensors"]
    assert wanted(names) == ["model_index.json", *unet, *vae, "tokenizer/merges.txt"]
    assert wanted(["pytorch_lora_weights.safetensors", "run.py"]) == ["pytorch_lora_weights.safetensors"]
