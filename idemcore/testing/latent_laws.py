"""Laws of a latent generator."""

from __future__ import annotations

import torch

from ..noise import Noise
from .law import equal, image, law, require
from .trials import GeneratorTrial

LATENT = frozenset({"latent"})


@law("generator", needs=LATENT)
def latents(trial: GeneratorTrial) -> None:
    """`sample` gives latents [B, *latent_shape], and image b's depend on its own seed alone."""
    z = trial.latent.sample(Noise([1, 2]))
    wanted = (2, *trial.latent.latent_shape)
    require(tuple(z.shape) == wanted, f"sample gave {list(z.shape)}, not {list(wanted)}")
    equal(trial.latent.sample(Noise([2]))[0], z[1], "the latent of a seed on its own and in a batch")
    require(not z[0].equal(z[1]), "two seeds have one latent")


@law("generator", needs=LATENT)
def synthesis(trial: GeneratorTrial) -> None:
    """`synthesize` gives finite float32 images of the generator's size."""
    with torch.no_grad():
        found = trial.latent.synthesize(trial.latent.sample(Noise([1, 2])))
    size = trial.generator.size or tuple(found.shape[2:])
    image(found, (2, 3, *size), "the image", bounded=False)
