"""What the plugin provides: a restorer of any file in ncnn's format. Light: imports neither torch nor ncnn."""

from __future__ import annotations

from idemcore.hookspecs import GeneratorSpec, hookimpl


@hookimpl
def idem_generators() -> list[GeneratorSpec]:
    return [
        GeneratorSpec(
            name="ncnn",
            api=1,
            target="idemcore_ncnn.restorer:NcnnRestorer",
            summary="restorers in ncnn format: Real-ESRGAN (the default), waifu2x, or any FILE.param with its .bin",
            config="idemcore_ncnn.config:NcnnConfig",
            weights=("realesrgan-ncnn", "waifu2x-ncnn"),
            offers=frozenset({"restorer"}),
        )
    ]
