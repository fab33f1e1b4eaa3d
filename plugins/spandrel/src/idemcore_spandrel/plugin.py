"""What the plugin provides: a denoiser and restorers of published files. Light: imports neither torch nor spandrel."""

from __future__ import annotations

from idemcore.hookspecs import GeneratorSpec, hookimpl


@hookimpl
def idem_generators() -> list[GeneratorSpec]:
    return [
        GeneratorSpec(
            name="drunet",
            api=1,
            target="idemcore_spandrel.denoiser:LevelDenoiser",
            summary="DRUNet, photographs of any size: plug-and-play restoration's denoiser; weights by `idem models`",
            config="idemcore_spandrel.config:DenoiserConfig",
            weights=("drunet",),
            offers=frozenset({"diffusion", "diffusion-gradient"}),
        ),
        GeneratorSpec(
            name="spandrel",
            api=1,
            target="idemcore_spandrel.restorer:SpandrelRestorer",
            summary="restorers by their files alone: FBCNN, SCUNet, SwinIR, NAFNet, Real-ESRGAN, HAT, DAT and more",
            config="idemcore_spandrel.config:RestorerConfig",
            weights=("fbcnn", "drunet", "scunet", "swinir-jpeg", "realesrgan"),
            offers=frozenset({"restorer"}),
        ),
    ]
