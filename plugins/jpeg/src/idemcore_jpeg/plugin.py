"""What this plugin provides; light: the codec itself is imported at first use."""

from __future__ import annotations

from collections.abc import Sequence

from idemcore.hookspecs import EncoderSpec, RecipeSpec, hookimpl


@hookimpl
def idem_encoders() -> Sequence[EncoderSpec]:
    """The JPEG codec."""
    return [
        EncoderSpec(
            name="jpeg",
            api=1,
            target="idemcore_jpeg.encoder:JpegEncoder",
            summary="JPEG by libjpeg-turbo: ordinary .jpg files, cell known in closed form",
            config="idemcore_jpeg.config:JpegConfig",
            weights=("jpeg-estimate",),
            weights_from=("estimate",),
            offers=frozenset({"measure", "gradient", "position", "excess", "project", "estimate", "salvage"}),
            suffix=".jpg",
            magic=b"\xff\xd8\xff",
        )
    ]


@hookimpl
def idem_recipes() -> Sequence[RecipeSpec]:
    """The networks of the estimate: of least error, and natural."""
    return [
        RecipeSpec(
            name="jpeg-estimate",
            target="idemcore_jpeg.train_estimate:train",
            summary="the network of a JPEG's image of least error, from any folder of photographs",
            config="idemcore_jpeg.config:EstimateTrainConfig",
            api=1,
        ),
        RecipeSpec(
            name="jpeg-sharp",
            target="idemcore_jpeg.train_estimate:train",
            summary="the same network for natural pictures in one pass: features and a critic judge it",
            config="idemcore_jpeg.config:SharpTrainConfig",
            api=1,
        ),
    ]
