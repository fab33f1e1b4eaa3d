"""What the ddpm plugin provides. Light: imports no torch."""

from __future__ import annotations

from idemcore.hookspecs import Capabilities, GeneratorSpec, RecipeSpec, hookimpl

OFFERS: Capabilities = frozenset({"diffusion", "diffusion-gradient"})


@hookimpl
def idem_generators() -> list[GeneratorSpec]:
    return [
        GeneratorSpec(
            name="ddpm-photo",
            api=1,
            target="idemcore_ddpm.photo:PhotoGenerator",
            summary="natural photographs of any size; small, fully convolutional, bundled",
            config="idemcore_ddpm.config:PhotoConfig",
            weights=("ddpm-photo",),
            offers=OFFERS,
        ),
        GeneratorSpec(
            name="ddpm-faces64",
            api=1,
            target="idemcore_ddpm.adm:AdmGenerator",
            summary="grey faces, 64x64: a small ADM UNet, bundled",
            config="idemcore_ddpm.config:FacesConfig",
            weights=("ddpm-faces64",),
            sizes="64x64",
            offers=OFFERS,
        ),
        GeneratorSpec(
            name="ddpm-ffhq",
            api=1,
            target="idemcore_ddpm.adm:AdmGenerator",
            summary="faces, 256x256: the ADM UNet released with DPS; weights by `idem models`",
            config="idemcore_ddpm.config:FfhqConfig",
            weights=("ddpm-ffhq",),
            sizes="256x256",
            offers=OFFERS,
        ),
        GeneratorSpec(
            name="ddpm-imagenet",
            api=1,
            target="idemcore_ddpm.adm:AdmGenerator",
            summary="ImageNet, 256x256: the unconditional ADM UNet of guided-diffusion; weights by `idem models`",
            config="idemcore_ddpm.config:ImagenetConfig",
            weights=("ddpm-imagenet",),
            sizes="256x256",
            offers=OFFERS,
        ),
    ]


@hookimpl
def idem_recipes() -> list[RecipeSpec]:
    return [
        RecipeSpec(
            name="ddpm",
            api=1,
            target="idemcore_ddpm.train_photo:train",
            summary="the photograph prior `ddpm-photo`, from any folder of images",
            config="idemcore_ddpm.config:TrainConfig",
        ),
        RecipeSpec(
            name="adm",
            api=1,
            target="idemcore_ddpm.train_adm:train",
            summary="a discrete DDPM with ADM's UNet, such as `ddpm-faces64`, from aligned images",
            config="idemcore_ddpm.config:AdmTrainConfig",
        ),
    ]
