"""`idem generators info`: what a generator is, what it costs here, and the one command that brings it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from idemcore.cli.generators import generator_facts
from idemcore.hookspecs import GeneratorSpec
from idemcore.plugins.catalogue import load_catalogue
from idemcore.plugins.selection import choose
from idemcore.runtime import Runtime

CPU = Runtime(torch.device("cpu"), torch.float32)


def told(idem: Any, name: str, *options: str) -> dict[str, Any]:
    return json.loads(idem("generators", "info", name, "--json", *options).stdout)


@pytest.mark.parametrize(
    ("name", "licence", "sizes", "passes", "brings"),
    [
        ("ddpm-photo", "Apache-2.0", "any", "one a step", "nothing: it is here"),
        ("ddpm-imagenet", "MIT", "256x256", "one a step", "idem models pull ddpm-imagenet"),
        ("ddpm-ffhq", "none found", "256x256", "one a step", "idem models import ddpm-ffhq FILE, from https://"),
        ("drunet", "MIT (KAIR)", "any", "one a step", "idem models pull drunet-color"),
        ("stylegan2-faces64", "Apache-2.0", "64x64", "one an image", "nothing: it is here"),
        ("diffusers-latent", "that of the model", "any", "one a restoration", "idem models pull hf:OWNER/NAME"),
    ],
)
def test_info_says_licence_sizes_passes_and_what_brings_it(
    idem: Any, monkeypatch: Any, tmp_path: Path, name: str, licence: str, sizes: str, passes: str, brings: str
) -> None:
    monkeypatch.setenv("IDEM_CACHE", str(tmp_path))
    facts = told(idem, name)
    assert facts["licence"].startswith(licence)
    assert facts["sizes"].startswith(sizes)
    assert facts["passes"].startswith(passes)
    assert facts["to bring it"].startswith(brings)
    assert facts["cost on this device"] == f"idem generators info {name} --measure"
    assert facts["families"]


@pytest.mark.parametrize("offers", [{"diffusion"}, {"diffusion", "diffusion-gradient"}])
def test_passes_go_backwards_where_a_gradient_is_offered(offers: Any) -> None:
    spec = GeneratorSpec("demo", "m:C", "s", offers=frozenset(offers))
    passes = generator_facts(spec, False, 256, (), "cpu")["passes"]
    assert passes.startswith("one a step of a solver")
    assert ("backwards" in passes) == ("diffusion-gradient" in offers)


@pytest.mark.parametrize(
    ("name", "size"), [("toy", "16x16"), ("toy-restorer", "16x16"), ("stylegan2-faces64", "64x64")]
)
def test_measured_it_says_seconds_and_memory_of_a_pass(idem: Any, name: str, size: str) -> None:
    cost = told(idem, name, "--measure", "--size", "16", "--device", "cpu")["cost on this device"]
    seconds, rest = cost.split(" s and ")
    assert float(seconds) > 0
    assert f"MB a pass of {size} on cpu" in rest


def test_settings_are_for_measuring(idem: Any) -> None:
    assert told(idem, "toy", "--measure", "--size", "8", "--set", "generator.components=2")
    result = idem("generators", "info", "toy", "--set", "generator.components=2")
    assert result.exit_code == 2
    assert "--set has no effect without --measure" in result.stderr


@pytest.mark.parametrize("name", ["ddpm-photo", "ddpm-faces64", "stylegan2-faces64", "toy"])
def test_the_sizes_that_a_spec_says_are_those_that_the_generator_makes(name: str) -> None:
    part = choose(load_catalogue(), "generator", name)
    size = part.build(CPU).size
    assert part.spec.sizes == ("any" if size is None else f"{size[1]}x{size[0]}")


def test_without_measuring_no_torch_is_imported() -> None:
    code = "import sys; from idemcore.cli import main; main(['generators', 'info', 'drunet'], standalone_mode=False); "
    found = subprocess.run(
        [sys.executable, "-c", f"{code} sys.exit(3 if 'torch' in sys.modules else 0)"], capture_output=True, check=False
    )
    assert found.returncode == 0, found.stderr
