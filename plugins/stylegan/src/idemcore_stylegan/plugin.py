"""What the stylegan plugin provides. Light: imports no torch."""

from __future__ import annotations

from idemcore.hookspecs import Capabilities, GeneratorSpec, RecipeSpec, hookimpl

OFFERS: Capabilities = frozenset({"latent"})


@hookimpl
def idem_generators() -> list[GeneratorSpec]:
    return [
        GeneratorSpec(
            name="stylegan2-faces64",
            api=1,
            target="idemcore_stylegan.generator:StyleGanGenerator",
            summary="grey faces, 64x64: a small StyleGAN2, bundled",
            config="idemcore_stylegan.config:FacesConfig",
            weights=("stylegan2-faces64",),
            sizes="64x64",
            offers=OFFERS,
        ),
        GeneratorSpec(
            name="stylegan2-ffhq",
            api=1,
            target="idemcore_stylegan.generator:StyleGanGenerator",
            summary="faces, 256x256 or 1024x1024: NVIDIA's StyleGAN2; weights by `idem models`",
            config="idemcore_stylegan.config:FfhqConfig",
            weights=("stylegan2-ffhq-256", "stylegan2-ffhq-1024"),
            sizes="256x256 or 1024x1024, as the weights are",
            offers=OFFERS,
        ),
    ]


@hookimpl
def idem_recipes() -> list[RecipeSpec]:
    return [
        RecipeSpec(
            name="stylegan",
            api=1,
            target="idemcore_stylegan.train:train",
            summary="a small StyleGAN2, from a folder or a zip file of aligned images",
            config="idemcore_stylegan.config:TrainConfig",
        )
    ]
