"""What the toy plugin provides. Light: imports no torch."""

from __future__ import annotations

from idemcore.hookspecs import EncoderSpec, GeneratorSpec, hookimpl


@hookimpl
def idem_encoders() -> list[EncoderSpec]:
    return [
        EncoderSpec(
            name="toy",
            api=1,
            target="idemcore_toy.encoder:ToyEncoder",
            summary="uniform scalar quantiser of each channel, with a closed-form cell; for tests and for learning",
            config="idemcore_toy.config:ToyCodecConfig",
            offers=frozenset({"measure", "gradient", "position", "excess", "project"}),
            identify="idemcore_toy.config:identify",
        )
    ]


@hookimpl
def idem_generators() -> list[GeneratorSpec]:
    return [
        GeneratorSpec(
            name="toy",
            api=1,
            target="idemcore_toy.generator:ToyGenerator",
            summary="pixels drawn from a Gaussian mixture, with the exact denoiser; for tests and for learning",
            config="idemcore_toy.config:ToyPriorConfig",
            offers=frozenset({"diffusion", "diffusion-gradient"}),
        ),
        GeneratorSpec(
            name="toy-restorer",
            api=1,
            target="idemcore_toy.generator:ToyRestorer",
            summary="pixels of the same mixture, drawn exactly from images with noise; for tests and for learning",
            config="idemcore_toy.config:ToyPriorConfig",
            offers=frozenset({"restorer"}),
        ),
    ]
