"""Every codec with every generator and every solver: it runs, natively or by adapter, or is refused with what would."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from combining import (
    CODECS,
    SIDE,
    SOLVERS,
    WITHOUT_GENERATOR,
    check_runs_or_is_refused,
    few_steps,
    hurry,
    small_bitstreams,
)

from idemcore.networks.residual_unet import ResidualUNet
from idemcore.pipeline.codec import Bitstream
from idemcore.plugins.catalogue import load_catalogue
from idemcore.plugins.selection import choose
from idemcore.weights.checkpoints import write_safetensors
from idemcore_ddpm.adm_unet import AdmUNet, AdmUNetConfig
from idemcore_stylegan.network import StyleGan, StyleGanConfig

GENERATORS = ("ddpm-photo", "ddpm-faces64", "stylegan2-faces64", "toy-restorer")
WITHOUT_STEPS = WITHOUT_GENERATOR | {"once"}
REQUIRED = WITHOUT_STEPS | {"dps", "mcg", "dsg", "diffpir", "mpgd", "backproj", "cell", "pulse", "ilo", "langevin",
                            "latino", "ddnm", "daps", "fast", "dcic"}  # fmt: skip
DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module", autouse=True)
def hurried() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        hurry(patch)
        yield


@pytest.fixture(scope="module")
def bitstreams() -> dict[str, Bitstream]:
    return small_bitstreams()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of small networks of the generators' own layouts, with random values."""
    photo, faces = ResidualUNet((8, 12), 1), AdmUNet(AdmUNetConfig(32, (1, 1), 1, frozenset(), image_channels=1))
    gan = StyleGan(StyleGanConfig(widths=(8,) * 5, z=12, w=12, mapping_layers=2, colours=1))
    networks = {
        "ddpm-photo": (photo, {"channels": json.dumps(photo.channels), "blocks": "1"}),
        "ddpm-faces64": (faces, {"schedule": "linear", "steps": "20", "side": str(SIDE)}),
        "stylegan2-faces64": (gan, {}),
    }
    folder = tmp_path_factory.mktemp("weights")
    for name, (network, told) in networks.items():
        rng = torch.Generator().manual_seed(0)
        state = {key: 0.1 * torch.randn(value.shape, generator=rng) for key, value in network.state_dict().items()}
        write_safetensors(folder / f"{name}.safetensors", state, told)
    return {name: folder / f"{name}.safetensors" for name in networks}


def test_the_field_s_solvers_are_there() -> None:
    assert set(SOLVERS) >= REQUIRED
    for solver in REQUIRED - WITHOUT_STEPS:
        assert few_steps(solver, None)["solver"], f"{solver} has no steps among its settings"


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize("codec", CODECS)
def test_a_combination_runs_or_is_refused(
    codec: str, generator: str, solver: str, bitstreams: dict[str, Bitstream], weights: dict[str, Path]
) -> None:
    small = {"weights": str(weights[generator])} if generator in weights else {}
    check_runs_or_is_refused(bitstreams[codec], generator, solver, small)


def test_the_docs_tell_every_solver_with_its_steps() -> None:
    page = (DOCS / "solvers.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `(\w+)` \|[^|]+\| (\w+) \|", page, re.MULTILINE))
    assert set(told) == REQUIRED
    for name in set(SOLVERS) & REQUIRED - WITHOUT_STEPS:
        config = choose(load_catalogue(), "solver", name).config
        assert told[name].replace("`", "") == str(config.steps), name


def test_a_refusal_comes_before_weights_are_looked_for(idem, photo, tmp_path) -> None:
    options = ("--generator", "stylegan2-ffhq", "--solver", "backproj", "--out", tmp_path / "out")
    result = idem("run", photo, *options)
    assert result.exit_code == 2
    assert "'image'" in result.stderr
    assert "--solver cell" in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_table_in_the_docs_is_that_of_the_plugins() -> None:
    written = (DOCS / "combinations.md").read_text(encoding="utf-8")
    assert written == runpy.run_path(str(DOCS / "combinations.py"))["page"](), "run python docs/combinations.py"
