"""What the elic plugin provides. Light: imports no torch."""

from __future__ import annotations

from idemcore.hookspecs import EncoderSpec, RecipeSpec, hookimpl
from idemcore.learned.config import EXPECTED_FAILURES


@hookimpl
def idem_encoders() -> list[EncoderSpec]:
    return [
        EncoderSpec(
            name="elic",
            api=1,
            target="idemcore_elic.encoder:ElicEncoder",
            summary="ELIC (He et al., CVPR 2022): learned, uneven channel groups on a checkerboard; bundled, 4 rates",
            config="idemcore_elic.config:ElicConfig",
            weights=("elic", "elic-chandelier"),
            offers=frozenset({"measure", "gradient", "position", "excess", "project"}),
            identify="idemcore_elic.library:identify",
            expected_failures=EXPECTED_FAILURES,
        )
    ]


@hookimpl
def idem_recipes() -> list[RecipeSpec]:
    return [
        RecipeSpec(
            name="elic",
            api=1,
            target="idemcore_elic.encoder:train",
            summary="the codec `elic` at four rates, from any folder of images",
            config="idemcore.learned.config:CodecTrainConfig",
        )
    ]
