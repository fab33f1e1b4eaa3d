"""`idem models`: what each command prints, stores and returns; and that listings stay light."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from idemcore.weights import store as models

State = dict[str, torch.Tensor]
InCache = Callable[[], list[str]]
WriteCard = Callable[..., None]


@pytest.mark.parametrize(
    "arguments",
    [["models"], ["models", "list", "--json"], ["models", "info", "ddpm-photo"], ["models", "path", "ddpm-photo"],
     ["models", "--help"], ["models", "pull", "--help"]],
)  # fmt: skip
def test_list_info_path_and_help_import_no_torch(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom idemcore.cli import main\n"
        f"try: main({arguments!r}, prog_name='idem')\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "heavy = {'torch', 'numpy', 'PIL', 'omegaconf', 'safetensors'} & set(sys.modules)\nassert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_models_list_tells_every_state(idem, demo: models.ModelFile, published: Path, write_card: WriteCard) -> None:
    assert json.loads(idem("models", "list", "--json").stdout)[0]["state"] == "missing"
    models.import_file(demo, published)
    (listed,) = json.loads(idem("models", "list", "--json").stdout)
    assert (listed["id"], listed["state"], listed["kind"]) == ("demo", "here", "codec")
    assert listed["path"] == str(models.stored("demo"))
    models.stored("demo").write_bytes(b"damage")
    assert re.search(r"^demo +codec +damaged ", idem("models").stdout, re.MULTILINE)
    write_card(adapter=None, file="weights/demo.safetensors", sha256="0" * 64, bytes=3, plugin="idemcore-absent")
    assert re.search(r"^demo +codec +missing ", idem("models").stdout, re.MULTILINE)


def test_models_info_shows_the_card(idem, write_card: WriteCard) -> None:
    write_card(
        licence="CC0", training={"data": "photos", "steps": {1: 2}},
        files=[{"id": f"demo-{q}", "quality": q} for q in (1, 2)],
    )  # fmt: skip
    told = idem("models", "info", "demo").stdout
    assert "training data: photos" in told
    assert "training steps: 1: 2" in told
    assert "demo-2" in told
    facts = json.loads(idem("models", "info", "demo-2", "--json").stdout)
    assert facts["licence"] == "CC0"
    assert [file["quality"] for file in facts["files"]] == [2]


def test_models_pull_of_a_card_brings_all_its_files(
    idem, demo: models.ModelFile, write_card: WriteCard, in_cache: InCache
) -> None:
    write_card(files=[{"id": f"demo-{q}", "url": demo.url, "sha256": demo.sha256} for q in (1, 2)])
    result = idem("models", "pull", "demo", "--json")
    assert result.exit_code == 0, result.stderr
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == ["demo-1", "demo-2"]
    assert demo.url in result.stderr
    assert in_cache() == ["demo-1.safetensors", "demo-2.safetensors"]
    assert idem("models", "verify", "demo").exit_code == 0


def test_models_import_and_path(idem, demo: models.ModelFile, published: Path, demo_state: State) -> None:
    result = idem("models", "import", "demo", published, "--json")
    assert json.loads(result.stdout) == {"id": "demo", "path": str(models.stored("demo")), "published": True}
    assert idem("models", "path", "demo").stdout.strip() == str(models.stored("demo"))
    torch.save(demo_state, published)
    assert "not the published file" in idem("models", "import", "demo", published).stderr


def test_models_verify_exits_0_3_and_4(idem, demo: models.ModelFile, published: Path) -> None:
    assert idem("models", "verify", "demo").exit_code == 4
    assert idem("models", "verify").exit_code == 0
    models.import_file(demo, published)
    assert json.loads(idem("models", "verify", "--json").stdout) == [{"id": "demo", "state": "here"}]
    path = models.stored("demo")
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    result = idem("models", "verify", "demo")
    assert result.exit_code == 3
    assert "idem models pull demo" in result.stderr


def test_doctor_notes_missing_weights_and_fails_on_damaged_ones(idem, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("IDEM_CACHE", str(tmp_path))

    def found(name: str) -> tuple[str, str]:
        checks = {check["check"]: check for check in json.loads(idem("doctor", "--json").stdout)}
        return checks[f"weights of {name}"]["state"], checks[f"weights of {name}"]["found"]

    state, told = found("ddpm-imagenet")
    assert (state, "idem models pull ddpm-imagenet" in told) == ("note", True)
    models.cache_folder().mkdir()
    (models.cache_folder() / "ddpm-imagenet.safetensors").write_bytes(b"damage")
    state, told = found("ddpm-imagenet")
    assert (state, "damaged" in told) == ("bad", True)


def test_models_verify_compares_bundled_weights_with_their_card(idem) -> None:
    assert json.loads(idem("models", "verify", "ddpm-photo", "--json").stdout)[0]["state"] == "bundled"


@pytest.mark.parametrize(
    ("code", "words", "arguments"),
    [
        (2, ("demmo", "Did you mean 'demo'"), ("pull", "demmo")),
        (2, ("absent.pt", "no file"), ("import", "demo", "absent.pt")),
        (4, ("not here", "idem models pull demo", "idem models import demo FILE"), ("path", "demo")),
    ],
)
def test_errors_of_models_have_their_exit_code(
    idem, demo: models.ModelFile, code: int, words: tuple[str, ...], arguments: tuple[str, ...]
) -> None:
    result = idem("models", *arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert all(word in result.stderr for word in words), result.stderr


def test_errors_of_bringing_weights_have_their_exit_code(
    idem,
    demo: models.ModelFile,
    server: Any,
    published: Path,
    write_card: WriteCard,
    in_cache: InCache,
    demo_state: State,
) -> None:
    torch.save({**demo_state, "extra": torch.zeros(1)}, published)
    result = idem("models", "import", "demo", published)
    assert (result.exit_code, "unexpected extra" in result.stderr) == (1, True)
    server.files["demo.pth.tar"] = b"something else"
    assert idem("models", "pull", "demo").exit_code == 3
    write_card(url=server.url("absent"))
    assert idem("models", "pull", "demo").exit_code == 1
    write_card()
    assert idem("models", "pull", "demo").exit_code == 4
    assert in_cache() == []
