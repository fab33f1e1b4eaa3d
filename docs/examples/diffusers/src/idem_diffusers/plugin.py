"""What this plugin provides, and its settings. Light: imports neither torch nor diffusers."""

from __future__ import annotations

from dataclasses import dataclass

from idemcore.hookspecs import GeneratorSpec, hookimpl


@hookimpl
def idem_generators() -> list[GeneratorSpec]:
    return [
        GeneratorSpec(
            name="diffusers",
            api=1,
            target="idem_diffusers.prior:DiffusersPrior",
            summary="any unconditional UNet2DModel of diffusers, with its scheduler",
            config="idem_diffusers.plugin:DiffusersConfig",
            offers=frozenset({"diffusion", "diffusion-gradient"}),
        )
    ]


@dataclass
class DiffusersConfig:
    """Settings of the prior."""

    model: str = "???"  # a folder with UNet and scheduler, or a repository such as google/ddpm-church-256
    download: bool = False  # whether a repository that is not here yet may be fetched
