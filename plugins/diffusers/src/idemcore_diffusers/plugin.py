"""What the plugin provides: any pixel-space model of diffusers. Light: imports neither torch nor diffusers."""

from __future__ import annotations

from idemcore.hookspecs import GeneratorSpec, hookimpl


@hookimpl
def idem_generators() -> list[GeneratorSpec]:
    return [
        GeneratorSpec(
            name="diffusers",
            api=1,
            target="idemcore_diffusers.pixel:prior",
            summary="pixel-space diffusion and flow models of diffusers: UNets and DiTs, as their schedulers say",
            config="idemcore_diffusers.config:DiffusersConfig",
            offers=frozenset({"diffusion", "diffusion-gradient"}),
        )
    ]
