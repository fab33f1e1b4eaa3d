"""What tests of combinations share: quick settings, and what must hold of a combination that runs or is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from idemcore.adapters.specs import adapter_for
from idemcore.errors import UnsupportedCombination
from idemcore.noise import Noise
from idemcore.pipeline.certificate import certificate, picture_facts
from idemcore.pipeline.codec import Bitstream, Codec
from idemcore.pipeline.decoder import Decoder
from idemcore.plugins.catalogue import import_target, load_catalogue
from idemcore.plugins.selection import missing_capabilities, select
from idemcore.plugins.settings import describe
from idemcore.runtime import Runtime

CODECS = ("jpeg", "hyperprior", "elic")
WITHOUT_GENERATOR = {"mse", "mean"}
SOLVERS = [spec.name for _, spec in load_catalogue().specs("solver")]
SIDE = 64
CPU = Runtime(torch.device("cpu"), torch.float32)


def hurry(patch: pytest.MonkeyPatch) -> None:
    """Certification of learned codecs gives up early: what random networks draw is far from any cell."""
    patch.setattr("idemcore.learned.cell.PATIENCE", 1)
    patch.setattr("idemcore.learned.cell.SNAP_MARGINS", (0.02,))


def small_bitstreams() -> dict[str, Bitstream]:
    """Of one small picture, by codec."""
    smooth = torch.linspace(0.2, 0.8, SIDE).expand(1, 3, SIDE, SIDE)
    image = (smooth + 0.05 * Noise([0]).normal(3, SIDE, SIDE)).clamp(0, 1)
    settings: dict[str, dict[str, Any]] = {"jpeg": {"quality": 10}}
    return {
        name: Codec.load(name, CPU, **settings.get(name, {"quality": 1, "project_steps": 1})).encode(image)
        for name in CODECS
    }


def few_steps(solver: str, adapter: str | None) -> dict[str, dict[str, Any]]:
    """Settings by scope."""
    spec = load_catalogue().resolve("solver", solver)
    fields = {field.name for field in describe(import_target(spec.config))} if spec.config else set()
    shortened = {"diffusion-as-latent": {"steps": 2}, "latent-as-diffusion": {"project_steps": 1}}
    short = {"steps": 2, "langevin_steps": 2}
    return {
        "solver": {name: short[name] for name in short if name in fields}, "adapter": shortened.get(adapter or "", {})
    }  # fmt: skip


def check_runs_or_is_refused(bitstream: Bitstream, generator: str, solver: str, settings: dict[str, Any]) -> None:
    """The result is an image with its certificate, told of step by step; a refusal offers what works."""
    catalogue, codec = load_catalogue(), bitstream.codec.part.spec.name
    specs = [catalogue.resolve(*pair) for pair in (("codec", codec), ("generator", generator), ("solver", solver))]
    if missing_capabilities(*specs):  # type: ignore[arg-type]
        _check_refusal(codec, generator, solver, settings)
        return
    adapter = adapter_for(specs[1], specs[2])  # type: ignore[arg-type]
    chosen = {**few_steps(solver, adapter.name if adapter else None), "generator": settings}
    decoder, told = Decoder.load(generator, solver, CPU, chosen), []
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


def _check_refusal(codec: str, generator: str, solver: str, settings: dict[str, Any]) -> None:
    catalogue, wanted = load_catalogue(), {"codec": codec, "generator": generator, "solver": solver}
    with pytest.raises(UnsupportedCombination) as refusal:
        select(catalogue, **wanted, settings={"generator": settings})
    for offer in refusal.value.hint.removeprefix("Use --").removesuffix(".").split(", or --"):
        flag, _, names = offer.partition(" ")
        for name in names.split(" or "):
            given = {} if flag == "generator" else {"generator": settings}
            select(catalogue, **{**wanted, flag: name}, settings=given)
