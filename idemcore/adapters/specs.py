"""Families of generators, and the adapters by which a solver of one runs on the other. Light: imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import UsageError
from ..hookspecs import Capabilities, GeneratorSpec, SolverSpec, Spec

FAMILIES = ("diffusion", "latent", "restorer")
"""Each is a capability of the same name."""

FLOWS = ("ddim", "heun", "dpm++")


@dataclass
class FlowConfig:
    """Settings of `diffusion-as-latent`: how noise flows to an image."""

    steps: int = 10  # steps from the largest noise level to the least; each is a denoiser pass, with heun two
    kind: str = "dpm++"  # ddim (first order), heun (second order) or dpm++ (second order, from the last two passes)

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, not {self.steps}")
        if self.kind not in FLOWS:
            raise ValueError(f"kind must be one of {', '.join(FLOWS)}, not {self.kind!r}")


@dataclass
class PullBackConfig:
    """Settings of `latent-as-diffusion`: how latents are moved to where their image is in the cell."""

    project_steps: int = 8  # most steps of one projection, each a pass of the generator forwards and backwards

    def __post_init__(self) -> None:
        if self.project_steps < 1:
            raise ValueError(f"project_steps must be at least 1, not {self.project_steps}")


@dataclass
class NoisingConfig:
    """Settings of `diffusion-as-restorer`: what happens to an image before it is denoised."""

    noise: float = 1.0  # noise added before denoising, as a share of the level: 0 denoises the image as it is

    def __post_init__(self) -> None:
        if not 0 <= self.noise <= 1:
            raise ValueError(f"noise must be between 0 and 1, not {self.noise}")


@dataclass(frozen=True)
class AdapterSpec(Spec):
    """`target` wraps a solver: `Class(solver, config)` is a solver for generators of the other family."""

    takes: Capabilities = frozenset()
    """What the generator must offer."""
    gives: Capabilities = frozenset()
    """What the solver sees offered in its place."""
    withdraws: Capabilities = frozenset()
    """What of the codec is lost on the way."""


ADAPTERS = (
    AdapterSpec(
        name="diffusion-as-latent",
        target="idemcore.adapters.diffusion_as_latent:OnDiffusion",
        summary="latents are the noise at the largest level, flowing deterministically to an image",
        config="idemcore.adapters.specs:FlowConfig",
        takes=frozenset({"diffusion", "diffusion-gradient"}),
        gives=frozenset({"latent"}),
    ),
    AdapterSpec(
        name="latent-as-diffusion",
        target="idemcore.adapters.latent_as_diffusion:OnLatent",
        summary="the prior of the latents, denoised in closed form, with the cell pulled back to them",
        config="idemcore.adapters.specs:PullBackConfig",
        takes=frozenset({"latent"}),
        gives=frozenset({"diffusion", "diffusion-gradient"}),
        withdraws=frozenset({"image"}),
    ),
    AdapterSpec(
        name="diffusion-as-restorer",
        target="idemcore.adapters.diffusion_as_restorer:RestoringOnDiffusion",
        summary="an image is restored by adding noise of a level and denoising once",
        config="idemcore.adapters.specs:NoisingConfig",
        takes=frozenset({"diffusion"}),
        gives=frozenset({"restorer"}),
    ),
)


def adapter_for(generator: GeneratorSpec, solver: SolverSpec) -> AdapterSpec | None:
    """The adapter that gives the solver something it needs and the generator lacks; None if there is none."""
    lacking = solver.needs - generator.offers
    fits = (a for a in ADAPTERS if a.takes <= generator.offers and a.gives & lacking)
    return next(fits, None)


def families(generator: GeneratorSpec) -> dict[str, AdapterSpec | None]:
    """The families whose solvers can run on the generator: first its own (None), then those by an adapter."""
    found: dict[str, AdapterSpec | None] = {family: None for family in FAMILIES if family in generator.offers}
    for adapter in ADAPTERS:
        if adapter.takes <= generator.offers:
            found |= {family: adapter for family in FAMILIES if family in adapter.gives and family not in found}
    return found


def check_sampling(generator: GeneratorSpec, asked: Mapping[str, float | None]) -> None:
    """Raises UsageError for a generator that makes nothing without an image, and for steps or eta without a diffusion.

    `asked` has these two by the name that the user gave them; None if not given.
    """
    if not {"diffusion", "latent"} & generator.offers:
        message = f"Generator '{generator.name}' restores images; without one it draws nothing."
        raise UsageError(message, f"Type `idem decode FILE.jpg --generator {generator.name}`, or sample another.")
    given = [option for option, value in asked.items() if value is not None]
    if given and "diffusion" not in generator.offers:
        message = f"{given[0]} has no effect: generator '{generator.name}' makes an image of a latent in one pass."
        raise UsageError(message, "Leave it out.")
