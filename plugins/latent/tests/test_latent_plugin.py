"""What the plugin offers, and with which codecs and generators it combines."""

from __future__ import annotations

import subprocess
import sys
from itertools import product

import pytest

from idemcore.errors import UsageError
from idemcore.hookspecs import EncoderSpec, GeneratorSpec
from idemcore.plugins.catalogue import import_target, load_catalogue
from idemcore.plugins.selection import choose, choose_adapter, missing_capabilities, select

NAMES = ("pulse", "ilo", "langevin")


@pytest.mark.parametrize("name", NAMES)
def test_each_solver_is_found_by_name_and_can_be_built(name: str) -> None:
    spec = load_catalogue().resolve("solver", name)
    solver = import_target(spec.target)(import_target(spec.config)())
    assert solver.config.steps >= 100


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("codec", ["jpeg", "elic", "hyperprior", "toy"])
@pytest.mark.parametrize(
    ("generator", "adapter"),
    [("stylegan2-faces64", None), ("ddpm-photo", "diffusion-as-latent"), ("toy", "diffusion-as-latent")],
)
def test_each_solver_combines_with_each_codec_and_generator(
    name: str, codec: str, generator: str, adapter: str | None
) -> None:
    chosen = select(load_catalogue(), codec, generator, name, {"solver": {"steps": 2}})
    found = choose_adapter(chosen.generator.spec, chosen.solver.spec)
    assert (found.spec.name if found else None) == adapter


def test_what_a_codec_must_offer_depends_on_the_constraint() -> None:
    """`cell` asks for no gradient of g(f(x)), and the other way round."""
    catalogue, generator = load_catalogue(), GeneratorSpec("g", "m:G", "", offers=frozenset({"latent"}))
    offered = {"image": {"measure", "gradient"}, "cell": {"excess"}}
    for name, constraint in product(("pulse", "ilo"), offered):
        part = choose(catalogue, "solver", name, {"constraint": constraint})
        for kind, offers in offered.items():
            codec = EncoderSpec("c", "m:C", "", offers=frozenset(offers))
            assert bool(missing_capabilities(codec, generator, part.spec)) == (kind != constraint)


def test_lists_are_settings_of_the_command_line() -> None:
    chosen = select(load_catalogue(), solver="ilo", settings={"solver": {"shares": [1, 3], "radii": [0.2]}})
    assert (chosen.solver.config.shares, chosen.solver.config.radii) == ([1.0, 3.0], [0.2])
    with pytest.raises(UsageError, match="shares"):
        select(load_catalogue(), solver="ilo", settings={"solver": {"shares": []}})


def test_describing_imports_no_torch() -> None:
    code = "import sys, idemcore_latent.plugin, idemcore_latent.config; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
