"""What the hyperprior plugin provides. Light: imports no torch."""

from __future__ import annotations

from idemcore.hookspecs import EncoderSpec, RecipeSpec, hookimpl
from idemcore.learned.config import EXPECTED_FAILURES

from .config import PUBLISHED


@hookimpl
def idem_encoders() -> list[EncoderSpec]:
    return [
        EncoderSpec(
            name="hyperprior",
            api=1,
            target="idemcore_hyperprior.encoder:HyperpriorEncoder",
            summary="scale hyperprior (Balle et al., ICLR 2018): learned; bundled, or a model of CompressAI's zoo",
            config="idemcore_hyperprior.config:HyperpriorConfig",
            weights=("hyperprior", *PUBLISHED),
            offers=frozenset({"measure", "gradient", "position", "excess", "project"}),
            identify="idemcore_hyperprior.library:identify",
            expected_failures=EXPECTED_FAILURES,
        )
    ]


@hookimpl
def idem_recipes() -> list[RecipeSpec]:
    return [
        RecipeSpec(
            name="hyperprior",
            api=1,
            target="idemcore_hyperprior.encoder:train",
            summary="the codec `hyperprior` at four rates, from any folder of images",
            config="idemcore.learned.config:CodecTrainConfig",
        )
    ]
