"""What can change a picture is in its certificate, in what a folder calls done, and in the name of a sweep's run."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from idemcore.pipeline import identity as module
from idemcore.pipeline.identity import (
    CPU_FP32,
    Computed,
    codec_facts,
    identity,
    is_installed,
    part_facts,
    source_sha256,
)
from idemcore.plugins.catalogue import load_catalogue
from idemcore.plugins.selection import Part, choose, select
from idemcore.results.certificate import CodecFacts
from idemcore.runtime import Runtime
from idemcore.sweeps.combinations import resolve
from idemcore.sweeps.identity import Configuration
from idemcore.weights.digest import weights_sha256
from idemcore.weights.store import find

TOY = {"codec": "toy", "generator": "toy"}
SHA = "0" * 64


@pytest.fixture
def editable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A copy of the toy plugin that stands for an editable one, to change."""
    import idemcore_toy

    copy = tmp_path / "idemcore_toy"
    shutil.copytree(Path(idemcore_toy.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    real = module._sources

    def sources(name: str):  # type: ignore[no-untyped-def]
        for where, path in real(name):
            yield where, tmp_path / where if name == "idemcore-toy" else path

    monkeypatch.setattr(module, "_is_editable", lambda name: name == "idemcore-toy")
    monkeypatch.setattr(module, "_sources", sources)
    return copy


def change(copy: Path) -> None:
    with (copy / "generator.py").open("a") as file:
        file.write("\n# another\n")


def run_id(point: dict[str, object] | None = None, computed: Computed = CPU_FP32) -> str:
    return resolve(load_catalogue(), {**TOY, **(point or {})}, computed)[0].run_id(SHA, 0)


def test_a_run_is_named_by_device_and_precision_not_by_auto() -> None:
    assert len({run_id(computed=Computed(d, p)) for d in ("cpu", "cuda") for p in ("fp32", "bf16")}) == 4
    assert Computed.by("cpu", "auto") == Computed.of(Runtime.choose("cpu", "auto"))
    assert Computed.by("cpu", "fp32") == CPU_FP32
    facts = resolve(load_catalogue(), TOY, Computed("cuda", "bf16"))[0].facts
    assert (facts.device, facts.precision) == ("cuda", "bf16")


def test_a_device_that_only_workers_have_is_taken_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Computed.by("cuda:1", "fp32") == Computed("cuda", "fp32")
    assert Computed.by("auto", "fp32").device != "auto"


def test_source_that_is_edited_in_place_names_another_run(editable: Path) -> None:
    before = run_id()
    assert run_id() == before
    assert set(resolve(load_catalogue(), TOY)[0].facts.sources) == {"idemcore-toy"}
    change(editable)
    assert run_id() != before


def test_source_of_installed_plugins_is_named_by_their_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_is_editable", lambda name: False)
    assert source_sha256("idemcore-toy") == ""
    assert resolve(load_catalogue(), TOY)[0].facts.sources == {}


def test_the_core_is_named_by_what_draws() -> None:
    names = {where for where, _ in module._sources("idemcore")}
    assert {"idemcore/pipeline/decoder.py", "idemcore/noise.py", "idemcore/learned/cell.py"} <= names
    assert not [name for name in names if "/cli/" in name or "/report/" in name]


def test_where_a_prior_starts_is_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from idemcore_toy.generator import ToyGenerator

    before = run_id()
    monkeypatch.setattr(ToyGenerator, "warm_start", 3.25)
    parts = select(load_catalogue(), "toy", "toy", "cell").used
    assert identity(parts, CPU_FP32)["generator"]["warm_start"] == 3.25
    assert run_id() != before


def test_an_identity_is_json() -> None:
    found = identity(select(load_catalogue(), "toy", "toy", "cell").used, CPU_FP32)
    assert json.loads(json.dumps(found)) == found
    assert found["computed"]["torch"].startswith("2")


def test_planning_imports_no_heavy_library_of_a_part_that_is_not_used() -> None:
    code = "import sys, idemcore.pipeline.identity; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_was_installed_then_is_compared_with_what_is_now(editable: Path) -> None:
    part = part_facts(select(load_catalogue(), "toy", "toy", "cell").codec)
    part = CodecFacts(part.name, part.plugin, part.version, part.source_sha256, {}, None, {})
    assert is_installed(part, load_catalogue())
    assert not is_installed(replace(part, version="0.0.1"), load_catalogue())
    assert not is_installed(replace(part, plugin="no-such-plugin"), load_catalogue())
    change(editable)
    assert not is_installed(part, load_catalogue())


def chosen(kind: str, name: str, **settings: object) -> Part[Any]:
    return choose(load_catalogue(), kind, name, settings)


def test_weights_are_named_by_the_setting_that_the_plugin_says(tmp_path: Path) -> None:
    trained = tmp_path / "estimate.safetensors"
    trained.write_bytes(b"once")
    once, bundled, without = (weights_sha256(chosen("codec", "jpeg", estimate=str(name)))
                              for name in (trained, "bundled", "none"))  # fmt: skip
    assert once == hashlib.sha256(b"once").hexdigest()[:16], "as sha256sum has it"
    assert without == ""
    assert len({once, bundled, without}) == 3
    (card,) = find("jpeg-estimate")
    assert card.sha256.startswith(bundled)
    facts = codec_facts(chosen("codec", "jpeg", estimate=str(trained)), b"")
    runs = {run_id({"codec": "jpeg", "codec.estimate": str(name)}) for name in (trained, "bundled")}
    assert (len(runs), is_installed(facts, load_catalogue())) == (2, True)
    trained.write_bytes(b"twice!")
    assert not is_installed(facts, load_catalogue())
    runs.add(run_id({"codec": "jpeg", "codec.estimate": str(trained)}))
    assert len(runs) == 3


def test_a_repository_of_the_hub_is_named_by_what_was_pulled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    model = tmp_path / "models--owner--cats"
    part = chosen("generator", "diffusers", model="owner/cats")
    assert weights_sha256(part) == "", "the plugin says what is missing"
    assert weights_sha256(chosen("generator", "diffusers", model="runs/my--net")) == ""
    found = []
    for commit in ("a" * 40, "b" * 40):
        unet = model / "snapshots" / commit / "unet"
        unet.mkdir(parents=True)
        (unet / "diffusion_pytorch_model.safetensors").write_bytes(commit.encode())
        (unet / "config.json").write_text("{}")
        (model / "refs").mkdir(exist_ok=True)
        (model / "refs" / "main").write_text(commit)
        found.append(weights_sha256(part))
    (unet / "config.json").write_text('{"sample_size": 32}')
    assert len({*found, weights_sha256(part)}) == 3


@pytest.fixture
def folder(photo: Path, tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    Image.open(photo).convert("RGB").save(tmp_path / "in" / "a.jpg", quality=50)
    return tmp_path / "in"


def done_before(idem, folder: Path, *arguments: object) -> bool:  # type: ignore[no-untyped-def]
    fixed = ("--generator", "toy", "--set", "solver.steps=2", "--device", "cpu", "--json")
    result = idem("decode", folder, "-o", folder.parent / "out", *fixed, *arguments)
    assert result.exit_code == 0, result.stderr
    return bool(json.loads(result.stdout.splitlines()[-1])["done_before"])


def test_a_folder_is_done_only_with_the_same_codec_settings_and_precision(idem, folder: Path) -> None:
    fp32, other = ("--precision", "fp32"), ("--set", "codec.quality=20")
    assert not done_before(idem, folder, *fp32)
    assert done_before(idem, folder, *fp32)
    assert not done_before(idem, folder, "--precision", "bf16")
    assert not done_before(idem, folder, *fp32)
    assert not done_before(idem, folder, *fp32, *other)
    assert done_before(idem, folder, *fp32, *other)


def test_a_folder_is_not_done_after_a_change_of_source(idem, folder: Path, editable: Path) -> None:
    assert not done_before(idem, folder)
    assert done_before(idem, folder)
    change(editable)
    assert not done_before(idem, folder)


def test_a_certificate_says_all_of_it(idem, folder: Path, editable: Path) -> None:
    done_before(idem, folder, "--precision", "bf16", "--set", "codec.quality=20")
    content = json.loads((folder.parent / "out" / "a.certificate.json").read_text())
    assert (content["computed"]["device"], content["computed"]["precision"]) == ("cpu", "bf16")
    assert content["codec_settings"] == {"quality": 20}
    assert content["codec"]["settings"]["quality"] == 20
    assert content["generator"]["source_sha256"] == source_sha256("idemcore-toy")
    assert content["generator"]["warm_start"] > 0
    assert content["computed"]["torch"].startswith("2")


def test_images_of_equal_pixels_are_said(idem, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    shutil.copy(photo, tmp_path / "set" / "a.png")
    Image.open(photo).save(tmp_path / "set" / "b.png", compress_level=1)
    result = idem("sweep", "codec=toy", "generator=toy", tmp_path / "set", "--store", tmp_path / "s", "--metrics",
                  "psnr", "--set", "solver.steps=2", "--json")  # fmt: skip
    assert json.loads(result.stdout)["runs"] == 1
    assert "b.png has the pixels of" in result.stderr


def test_the_command_of_a_row_says_device_and_precision() -> None:
    configuration: Configuration = resolve(load_catalogue(), TOY, CPU_FP32)[0]
    assert "--device cpu --precision fp32" in configuration.command("a.png", 0)
    other = replace(configuration, computed=Computed("cuda", "bf16"))
    assert "--device cuda --precision bf16" in other.command("a.png", 0)
