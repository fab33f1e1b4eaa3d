"""Every codec with every generator and every solver: it runs, natively or by adapter, or is refused with what would."""

from __future__ import annotations

import json
import math
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

from idemcore.adapters.specs import adapter_for
from idemcore.errors import UnsupportedCombination
from idemcore.networks.residual_unet import ResidualUNet
from idemcore.noise import Noise
from idemcore.pipeline.certificate import certificate, picture_facts
from idemcore.pipeline.codec import Bitstream, Codec
from idemcore.pipeline.decoder import Decoder
from idemcore.plugins.catalogue import import_target, load_catalogue
from idemcore.plugins.selection import choose, missing_capabilities, select
from idemcore.plugins.settings import describe
from idemcore.runtime import Runtime
from idemcore.weights.checkpoints import write_safetensors
from idemcore_ddpm.adm_unet import AdmUNet, AdmUNetConfig
from idemcore_stylegan.network import StyleGan, StyleGanConfig

CODECS = ("jpeg", "hyperprior", "elic")
GENERATORS = ("ddpm-photo", "ddpm-faces64", "stylegan2-faces64", "toy-restorer")
WITHOUT_GENERATOR = {"mse", "mean"}
WITHOUT_STEPS = WITHOUT_GENERATOR | {"once"}
REQUIRED = WITHOUT_STEPS | {"dps", "mcg", "dsg", "diffpir", "mpgd", "backproj", "cell", "pulse", "ilo", "langevin",
                            "latino", "ddnm", "daps", "fast", "dcic"}  # fmt: skip
SOLVERS = [spec.name for _, spec in load_catalogue().specs("solver")]
SIDE = 64
CPU = Runtime(torch.device("cpu"), torch.float32)
DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module", autouse=True)
def hurried() -> Any:
    """Certification of learned codecs gives up early: what these networks draw is far from any cell."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("idemcore.learned.cell.PATIENCE", 1)
        patch.setattr("idemcore.learned.cell.SNAP_MARGINS", (0.02,))
        yield


@pytest.fixture(scope="module")
def bitstreams() -> dict[str, Bitstream]:
    """Of one small picture."""
    smooth = torch.linspace(0.2, 0.8, SIDE).expand(1, 3, SIDE, SIDE)
    image = (smooth + 0.05 * Noise([0]).normal(3, SIDE, SIDE)).clamp(0, 1)
    settings: dict[str, dict[str, Any]] = {"jpeg": {"quality": 10}}
    return {
        name: Codec.load(name, CPU, **settings.get(name, {"quality": 1, "project_steps": 1})).encode(image)
        for name in CODECS
    }


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


def few_steps(solver: str, adapter: str | None) -> dict[str, dict[str, Any]]:
    """Settings by scope."""
    spec = load_catalogue().resolve("solver", solver)
    fields = {field.name for field in describe(import_target(spec.config))} if spec.config else set()
    shortened = {"diffusion-as-latent": {"steps": 2}, "latent-as-diffusion": {"project_steps": 1}}
    short = {"steps": 2, "langevin_steps": 2}
    return {
        "solver": {name: short[name] for name in short if name in fields},
        "adapter": shortened.get(adapter or "", {}),
    }


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
    catalogue = load_catalogue()
    specs = [catalogue.resolve(*pair) for pair in (("codec", codec), ("generator", generator), ("solver", solver))]
    if missing_capabilities(*specs):  # type: ignore[arg-type]
        with pytest.raises(UnsupportedCombination) as refusal:
            select(catalogue, codec, generator, solver)
        wanted = {"codec": codec, "generator": generator, "solver": solver}
        for offer in refusal.value.hint.removeprefix("Use --").removesuffix(".").split(", or --"):
            flag, _, names = offer.partition(" ")
            for name in names.split(" or "):
                select(catalogue, **{**wanted, flag: name})
        return
    adapter = adapter_for(specs[1], specs[2])  # type: ignore[arg-type]
    settings = few_steps(solver, adapter.name if adapter else None)
    small = {"weights": str(weights[generator])} if generator in weights else {}
    decoder = Decoder.load(generator, solver, CPU, {**settings, "generator": small})
    bitstream, told = bitstreams[codec], []
    result = decoder.reconstruct(bitstream, callback=told.append)
    assert result.image.shape == (1, 3, SIDE, SIDE)
    assert all(step.x0.shape == (1, 3, SIDE, SIDE) and bool(step.x0.isfinite().all()) for step in told)
    assert [step.nfe for step in told] == sorted(step.nfe for step in told)
    assert all(math.isfinite(step.residual) and math.isfinite(step.sigma) for step in told)
    assert len(told) > 0
    assert told[-1].nfe <= result.nfe
    written = certificate(bitstream, result, picture_facts(result.image, b""), decoder)
    assert written.solver.name == solver
    assert (written.adapter and written.adapter.name) == (adapter and adapter.name)
    assert (written.generator is None) == (solver in WITHOUT_GENERATOR)
    assert written.exact == (written.differing_symbols == 0)


def test_the_docs_tell_every_solver_with_its_steps() -> None:
    page = (DOCS / "solvers.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `(\w+)` \|[^|]+\| (\w+) \|", page, re.MULTILINE))
    assert set(told) == REQUIRED
    for name in set(SOLVERS) & REQUIRED - WITHOUT_STEPS:
        config = choose(load_catalogue(), "solver", name).config
        assert told[name] == str(config.steps), name


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
