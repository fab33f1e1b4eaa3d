"""What the plugin provides: models of diffusers, of pixels and of latents. Light: imports no torch, no diffusers."""

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
            sizes="any with a UNet; with a transformer the model's",
            offers=frozenset({"diffusion", "diffusion-gradient"}),
        ),
        GeneratorSpec(
            name="diffusers-latent",
            api=1,
            target="idemcore_diffusers.latent:LatentRestorer",
            summary="latent models of diffusers as restorers: Stable Diffusion, SDXL, SD3, Flux, Sana, LDM; LCM, DMD2",
            config="idemcore_diffusers.config:LatentConfig",
            weights_from=("model", "network", "lora"),
            offers=frozenset({"restorer"}),
        ),
    ]
