"""Which adapter stands between whom, what both kinds promise, and how pipeline and command line show it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from idemcore.adapters.diffusion_as_latent import OnDiffusion
from idemcore.adapters.latent_as_diffusion import OnLatent
from idemcore.adapters.specs import FlowConfig, PullBackConfig
from idemcore.errors import UnsupportedCombination, UsageError
from idemcore.hookspecs import EncoderSpec, GeneratorSpec, SolverSpec
from idemcore.io.images import read_image
from idemcore.noise import Noise
from idemcore.pipeline.certificate import certificate, picture_facts
from idemcore.pipeline.codec import Codec
from idemcore.pipeline.decoder import Decoder
from idemcore.plugins.catalogue import Catalogue, Plugin, load_catalogue
from idemcore.plugins.selection import Part, check_combination, choose, choose_adapter, combine, select
from idemcore.protocols import Step
from idemcore_dps.cell import ProjectAndRenoise
from idemcore_dps.config import CellConfig, DPSConfig
from idemcore_dps.dps import DPS

CODEC = EncoderSpec("codec", "a:B", "", offers=frozenset({"measure", "gradient", "excess", "project"}))
DIFFUSION = GeneratorSpec("ddpm", "a:B", "", offers=frozenset({"diffusion", "diffusion-gradient"}))
LATENT = GeneratorSpec("gan", "tiny:Linear", "", offers=frozenset({"latent"}))
PULSE = SolverSpec("pulse", "tiny:Descent", "", needs=frozenset({"latent", "excess"}))
GUIDED = SolverSpec("guided", "a:B", "", needs=frozenset({"diffusion", "diffusion-gradient", "measure", "gradient"}))
BACK = SolverSpec("back", "a:B", "", needs=frozenset({"diffusion", "measure", "image"}))


@pytest.fixture(params=["latent on diffusion", "cell on latent", "dps on latent"])
def pair(request: pytest.FixtureRequest, world: SimpleNamespace):
    """A solver in its adapter, of 4 steps, and the generator for it."""
    if request.param == "latent on diffusion":
        return OnDiffusion(world.Descent(steps=4), FlowConfig(4)), world.toy()
    if request.param == "cell on latent":
        return OnLatent(ProjectAndRenoise(CellConfig(steps=4)), PullBackConfig(6)), world.Bent()
    return OnLatent(DPS(DPSConfig(steps=4)), PullBackConfig()), world.Bent()


def test_a_seed_gives_one_image_whatever_stands_beside_it(world: SimpleNamespace, pair) -> None:
    solver, generator = pair
    images = world.toy().source.sample(Noise([0, 1, 2]), *world.SIZE)
    state = torch.get_rng_state()
    together = solver.solve(world.toy_cell(images), generator, Noise([5, 6, 7])).image
    again = solver.solve(world.toy_cell(images), generator, Noise([5, 6, 7])).image
    alone = solver.solve(world.toy_cell(images[1:2]), generator, Noise([6])).image
    other = solver.solve(world.toy_cell(images[1:2]), generator, Noise([8])).image
    assert torch.equal(together, again)
    torch.testing.assert_close(together[1:2], alone, rtol=0, atol=1e-5)
    assert float((alone - other).abs().max()) > 1e-3
    assert torch.equal(torch.get_rng_state(), state)


def test_the_callback_sees_images_and_the_network_s_passes(world: SimpleNamespace, pair) -> None:
    solver, generator = pair
    told: list[Step] = []
    image = world.toy().source.sample(Noise([0]), *world.SIZE)
    solution = solver.solve(world.toy_cell(image), generator, Noise([1]), told.append)
    assert [step.index for step in told] == [0, 1, 2, 3]
    assert all(step.x0.shape == image.shape for step in told)
    passes = [step.nfe for step in told]
    assert passes == sorted(set(passes))
    assert passes[-1] <= solution.nfe
    assert solution.backwards > 0
    assert 0 <= float(solution.image.min()) <= float(solution.image.max()) <= 1


@pytest.mark.parametrize(
    ("generator", "solver", "adapter"),
    [
        (DIFFUSION, GUIDED, None),
        (DIFFUSION, BACK, None),
        (DIFFUSION, PULSE, "diffusion-as-latent"),
        (LATENT, PULSE, None),
        (LATENT, GUIDED, "latent-as-diffusion"),
    ],
)
def test_an_adapter_stands_where_the_families_differ(
    generator: GeneratorSpec, solver: SolverSpec, adapter: str | None
) -> None:
    check_combination(CODEC, generator, solver)
    found = choose_adapter(generator, solver)
    assert (found and found.spec.name) == adapter


def test_what_no_adapter_can_give_is_refused_with_a_reason_and_what_works() -> None:
    specs = (("codec", CODEC), ("generator", DIFFUSION), ("generator", LATENT), ("solver", GUIDED), ("solver", BACK))
    catalogue = Catalogue([Plugin("demo", "1", "ok", "", specs)])
    with pytest.raises(UnsupportedCombination) as error:
        check_combination(CODEC, LATENT, BACK, catalogue)
    assert "'image'" in error.value.message
    assert "latent-as-diffusion" in error.value.message
    assert "--solver guided" in error.value.hint
    assert "--generator ddpm" in error.value.hint
    blind = EncoderSpec("blind", "a:B", "", offers=frozenset({"project"}))
    with pytest.raises(UnsupportedCombination, match="'measure'"):
        check_combination(blind, LATENT, GUIDED)
    rigid = GeneratorSpec("rigid", "a:B", "", offers=frozenset({"diffusion"}))
    with pytest.raises(UnsupportedCombination, match="'latent'"):
        check_combination(CODEC, rigid, PULSE)


def test_settings_of_an_adapter_are_checked_and_never_ignored() -> None:
    part = choose_adapter(DIFFUSION, PULSE, {"steps": 3, "kind": "heun"})
    assert part
    assert part.config == FlowConfig(3, "heun")
    for wrong in ({"steps": 0}, {"kind": "euler"}, {"stepz": 3}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            choose_adapter(DIFFUSION, PULSE, wrong)
    with pytest.raises(UsageError, match="project_steps"):
        choose_adapter(LATENT, GUIDED, {"project_steps": 0})
    with pytest.raises(UsageError, match="adapter.steps has no effect"):
        choose_adapter(DIFFUSION, GUIDED, {"steps": 3})
    with pytest.raises(UsageError, match="adapter.steps has no effect"):
        select(load_catalogue(), "toy", "toy", "cell", {"adapter": {"steps": 3}})


@pytest.fixture
def tiny(world: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The world as the plugin `tiny`."""
    monkeypatch.setitem(sys.modules, "tiny", world)


def test_decoder_puts_the_adapter_in_and_the_certificate_names_it(world: SimpleNamespace, tiny, photo) -> None:
    bitstream = Codec.load("toy", world.CPU, quality=2).encode(read_image(photo))
    toy, pulse = choose(load_catalogue(), "generator", "toy"), Part(PULSE, "idemcore-toy", FlowConfig())
    decoder = Decoder.build(
        combine(load_catalogue(), bitstream.codec.part, toy, pulse, {"adapter": {"steps": 4}}), world.CPU
    )
    result = decoder.reconstruct(bitstream, seed=1)
    assert result.exact
    assert result.nfe == 12 * 4 * 2 + 4
    adapter = certificate(bitstream, result, picture_facts(result.image, b""), decoder).adapter
    assert adapter.name == "diffusion-as-latent"
    assert adapter.settings == {"steps": 4, "kind": "dpm++"}
    native = Decoder.load("toy", "cell", world.CPU, {"solver": {"steps": 1}})
    assert native.parts.adapter is None


def test_a_diffusion_solver_decodes_with_a_latent_generator_of_the_image_s_size(
    world: SimpleNamespace, tiny, photo
) -> None:
    bitstream = Codec.load("toy", world.CPU, quality=2).encode(read_image(photo))
    cell = choose(load_catalogue(), "solver", "cell", {"steps": 3})
    gan = Part(LATENT, "idemcore-toy", FlowConfig())
    decoder = Decoder.build(combine(load_catalogue(), bitstream.codec.part, gan, cell), world.CPU)
    with pytest.raises(UnsupportedCombination, match="10x12.*40x24"):
        decoder.reconstruct(bitstream)
    fitting = world.Linear(size=(24, 40))
    result = replace(decoder, generator=fitting).reconstruct(bitstream)
    assert result.exact
    assert decoder.parts.adapter.spec.name == "latent-as-diffusion"


def test_generators_info_tells_families_natively_and_by_adapter(idem) -> None:
    text = idem("generators", "info", "toy").stdout
    assert "diffusion natively, latent by adapter, restorer by adapter" in text
    assert "--set adapter." in text
    told = json.loads(idem("generators", "info", "toy", "--json").stdout)
    assert told["families"] == ["diffusion natively", "latent by adapter", "restorer by adapter"]
    assert told["adapters"][0]["name"] == "diffusion-as-latent"
    assert all(setting["help"] for adapter in told["adapters"] for setting in adapter["settings"])


def test_an_adapter_s_setting_where_none_is_used_is_refused_before_anything_is_loaded(idem, photo) -> None:
    result = idem("run", photo, "--codec", "toy", "--generator", "toy", "--set", "adapter.steps=3")
    assert result.exit_code == 2
    assert "adapter.steps has no effect" in result.stderr
