"""What this plugin provides. Light: the prior itself is imported at first use."""

from __future__ import annotations

from idemcore.hookspecs import GeneratorSpec, hookimpl


@hookimpl
def idem_generators() -> list[GeneratorSpec]:
    return [
        GeneratorSpec(
            name="my-plugin",
            api=1,
            target="myplugin.prior:GaussianPrior",
            summary="a Gaussian with the power spectrum of natural images; its denoiser is Wiener's filter",
            config="myplugin.config:PriorConfig",
            # What it can do decides which solvers work with it: `idem solvers info NAME` tells what each needs.
            offers=frozenset({"diffusion", "diffusion-gradient"}),
        )
    ]
