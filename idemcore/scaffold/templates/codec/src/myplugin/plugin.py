"""What this plugin provides. Light: the codec itself is imported at first use."""

from __future__ import annotations

from idemcore.hookspecs import EncoderSpec, hookimpl


@hookimpl
def idem_encoders() -> list[EncoderSpec]:
    return [
        EncoderSpec(
            name="my-plugin",
            api=1,
            target="myplugin.codec:BlockCodec",
            summary="Hadamard transform of 8x8 blocks, uniform quantiser, LZMA",
            config="myplugin.config:CodecConfig",
            # What the cell can do decides which solvers work with it: `idem solvers info NAME` tells what each needs.
            offers=frozenset({"measure", "gradient", "position", "excess", "project"}),
            identify="myplugin.config:identify",
        )
    ]
