"""What solvers declare to need is what they ask for: no less, no more."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from idemcore.errors import Unsupported, UnsupportedCombination
from idemcore.hookspecs import EncoderSpec, GeneratorSpec, SolverSpec
from idemcore.noise import Noise
from idemcore.plugins.catalogue import Catalogue, Plugin, import_target, load_catalogue
from idemcore.plugins.selection import choose, select
from idemcore_dps.plugin import BY_CONSTRAINT, idem_solvers

SPECS = {spec.name: spec for spec in idem_solvers()}
CONSTRAINED = [f"constraint={constraint}" for constraint in BY_CONSTRAINT]
SETTINGS = {name: ("", *CONSTRAINED) for name, spec in SPECS.items() if spec.needs_with} | {
    "mcg": ("", "projection=decode")
}
CASES = [(name, setting) for name in SPECS for setting in SETTINGS.get(name, ("",))]
cases = pytest.mark.parametrize(("name", "setting"), CASES, ids=lambda c: c or "default")


def chosen(name: str, setting: str):  # type: ignore[no-untyped-def]
    """The solver with this setting, 3 steps long, and what it then needs."""
    values = dict([setting.split("=")]) if setting else {}
    part = choose(load_catalogue(), "solver", f"idemcore-dps:{name}", {"steps": 3, **values})
    assert isinstance(part.spec, SolverSpec)
    return import_target(part.spec.target)(part.config), part.spec.needs


def limited(world: SimpleNamespace, offers: frozenset[str]):  # type: ignore[no-untyped-def]
    """A cell and a prior that offer this and nothing else."""

    class Cell(world.BoxCell):
        def measure(self, x):  # type: ignore[no-untyped-def]
            if "measure" not in offers:
                raise Unsupported
            return super().measure(x if "gradient" in offers else x.detach())

        def position(self, x):  # type: ignore[no-untyped-def]
            if "position" not in offers:
                raise Unsupported
            return super().position(x)

        def excess(self, x):  # type: ignore[no-untyped-def]
            if "excess" not in offers:
                raise Unsupported
            return (super().position(x).abs() - 0.5).relu()

        def project(self, x, margin=0.0):  # type: ignore[no-untyped-def]
            if "project" not in offers:
                raise Unsupported
            return super().project(x, margin)

    class Prior(world.GaussianPrior):
        def denoise(self, x, sigma):  # type: ignore[no-untyped-def]
            return super().denoise(x if "diffusion-gradient" in offers else x.detach(), sigma)

    return Cell(world.scene()), Prior()


@cases
def test_a_solver_needs_no_more_than_it_declares(world: SimpleNamespace, name: str, setting: str) -> None:
    solver, needs = chosen(name, setting)
    solution = solver.solve(*limited(world, needs), Noise([1, 2]), lambda step: None)
    assert solution.image.isfinite().all()


@cases
def test_a_solver_declares_no_more_than_it_needs(world: SimpleNamespace, name: str, setting: str) -> None:
    solver, needs = chosen(name, setting)
    for capability in needs - {"diffusion", "image"}:
        with pytest.raises((Unsupported, RuntimeError)):
            solver.solve(*limited(world, needs - {capability}), Noise([1, 2]))


def test_solvers_that_add_what_a_codec_gives_to_what_they_move_need_an_image() -> None:
    assert {name for name, spec in SPECS.items() if "image" in spec.needs} == {"backproj", "ddnm"}
    assert "image" in chosen("mcg", "projection=decode")[1]


@pytest.fixture
def catalogue() -> Catalogue:
    """The plugin's solvers, a codec of which only g(f(x)) is known, and one without latents."""
    full = EncoderSpec("full", "a:B", "", offers=frozenset({"measure", "gradient", "position", "excess", "project"}))
    specs = (
        *(("solver", spec) for spec in SPECS.values()),
        ("codec", EncoderSpec("blackbox", "a:B", "", offers=frozenset({"measure"}))),
        ("codec", replace(full, name="pixels", offers=frozenset({"measure", "gradient"}))),
        ("codec", full),
        ("generator", GeneratorSpec("ddpm", "a:B", "", offers=frozenset({"diffusion", "diffusion-gradient"}))),
        ("generator", GeneratorSpec("gan", "a:B", "", offers=frozenset({"latent"}))),
    )
    return Catalogue([Plugin("idemcore-demo", "1", "ok", "", specs)])


def test_of_a_codec_without_a_gradient_back_projections_and_fast_are_what_works(catalogue: Catalogue) -> None:
    working = {"backproj", "ddnm", "fast"}
    for name in working:
        select(catalogue, "blackbox", "ddpm", name)
    for name in set(SPECS) - working:
        with pytest.raises(UnsupportedCombination, match=f"'{name}' cannot work") as error:
            select(catalogue, "blackbox", "ddpm", name)
        assert "--solver backproj" in error.value.hint


@pytest.mark.parametrize("name", ["dps", "dsg", "diffpir", "mpgd"])
def test_the_constraint_decides_what_is_needed(catalogue: Catalogue, name: str) -> None:
    select(catalogue, "pixels", "ddpm", name)
    select(catalogue, "pixels", "ddpm", name, {"solver": {"constraint": "image"}})
    for constraint, lacking in (("latent", "'position'"), ("cell", "'excess'")):
        settings = {"solver": {"constraint": constraint}}
        with pytest.raises(UnsupportedCombination, match=lacking):
            select(catalogue, "pixels", "ddpm", name, settings)
        assert select(catalogue, "full", "ddpm", name, settings).solver.config.constraint == constraint


def test_on_latents_all_work_but_those_that_need_an_image(catalogue: Catalogue) -> None:
    for name, spec in SPECS.items():
        if "image" in spec.needs:
            with pytest.raises(UnsupportedCombination, match="'image'"):
                select(catalogue, "full", "gan", name)
        else:
            select(catalogue, "full", "gan", name)


def test_the_plugin_and_its_settings_import_no_torch() -> None:
    code = "import sys, idemcore_dps.plugin, idemcore_dps.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_solver_changes_the_cell_that_it_is_given(world: SimpleNamespace) -> None:
    for name in SPECS:
        solver, _ = chosen(name, "")
        cell = world.BoxCell(world.scene())
        before = {key: value.clone() for key, value in vars(cell).items()}
        solver.solve(cell, world.GaussianPrior(), Noise([1, 2]))
        assert all(torch.equal(value, before[key]) for key, value in vars(cell).items())
