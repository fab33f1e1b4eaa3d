"""Laws of a latent generator, which maps Gaussian latents to images, layer by layer."""

from __future__ import annotations

import torch

from ..noise import Noise
from .box_laws import differences
from .law import close, equal, image, law, require
from .trials import GeneratorTrial

LATENT = frozenset({"latent"})


@law("generator", needs=LATENT)
def family(trial: GeneratorTrial) -> None:
    """The class says the family that the spec offers; `size` is None or (H, W), `layers` a whole number."""
    generator = trial.latent
    require(generator.family == "latent", f"family is {generator.family!r}, the spec offers latent")
    sides = (*(generator.size or ()), generator.layers)
    require(all(isinstance(side, int) and side > 0 for side in sides), f"size and layers are {sides}")


@law("generator", needs=LATENT)
def latents(trial: GeneratorTrial) -> None:
    """`sample` gives float32 latents [B, *latent_shape], and image b's depend on its own seed alone."""
    z = trial.latent.sample(Noise([1, 2]))
    wanted = (2, *trial.latent.latent_shape)
    require(
        tuple(z.shape) == wanted and z.dtype == torch.float32, f"sample gave {z.dtype} {list(z.shape)}, not {wanted}"
    )
    equal(trial.latent.sample(Noise([2]))[0], z[1], "the latent of a seed on its own and in a batch")
    require(not z[0].equal(z[1]), "two seeds have one latent")


@law("generator", needs=LATENT)
def latents_are_gaussian(trial: GeneratorTrial) -> None:
    """Latents are standard normal: mean 0 and variance 1, up to chance."""
    z = trial.latent.sample(Noise(range(100, 164))).double().flatten()
    mean, variance = float(z.mean()), float(z.var())
    chance = 6 / len(z) ** 0.5
    require(abs(mean) <= chance, f"their mean is {mean:.3g}, chance explains {chance:.3g}")
    require(abs(variance - 1) <= 1.5 * chance, f"their variance is {variance:.3g}")


@law("generator", needs=LATENT)
def synthesis(trial: GeneratorTrial) -> None:
    """`synthesize` gives finite float32 images of the generator's size, that lie in about [0,1] and are not flat."""
    with torch.no_grad():
        found = trial.latent.synthesize(trial.latent.sample(Noise([1, 2])))
    size = trial.generator.size or tuple(found.shape[2:])
    image(found, (2, 3, *size), "the image", bounded=False)
    outside = float(((found < -0.25) | (found > 1.25)).float().mean())
    require(outside <= 0.05, f"{outside:.1%} of it is outside -0.25..1.25")
    require(float(found.std()) > 0.005, "it is one flat colour")
    require(not found[0].equal(found[1]), "two latents have one image")


@law("generator", needs=LATENT)
def batch_independent(trial: GeneratorTrial) -> None:
    """An image does not depend on the latents beside its own."""
    z = trial.latent.sample(Noise([1, 2]))
    with torch.no_grad():
        together = trial.latent.synthesize(z)
        for b in range(2):
            close(trial.latent.synthesize(z[b : b + 1])[0], together[b], 1e-5, "an image on its own and in a batch")


@law("generator", needs=LATENT)
def inputs_untouched(trial: GeneratorTrial) -> None:
    """`synthesize` does not change its latents."""
    z = trial.latent.sample(Noise([1, 2]))
    trial.latent.synthesize(z)
    equal(z, trial.latent.sample(Noise([1, 2])), "latents before and after synthesize")


@law("generator", needs=LATENT)
def no_graph(trial: GeneratorTrial) -> None:
    """Where z requires no gradient, nothing is recorded: the network's weights are frozen."""
    found = trial.latent.synthesize(trial.latent.sample(Noise([1, 2])))
    require(not found.requires_grad, "the image has a graph although z has none: freeze the weights")


@law("generator", needs=LATENT)
def synthesis_gradient(trial: GeneratorTrial) -> None:
    """The gradient of `synthesize` agrees with finite differences of it, within 5 %."""
    z = trial.latent.sample(Noise([1, 2]))
    differences(lambda x: trial.latent.synthesize(x).flatten(1), z, 0.05, 1e-2)


@law("generator", needs=LATENT)
def layers(trial: GeneratorTrial) -> None:
    """G is the same through every layer: synthesize_from(advance((z,), 0, k), k) = G(z), step by step or at once."""
    generator, z = trial.latent, trial.latent.sample(Noise([1, 2]))
    with torch.no_grad():
        wanted, state = generator.synthesize(z), generator.advance((z,), 0, 0)
        for k in range(generator.layers):
            state = generator.advance(state, k - 1, k) if k else state
            require(all(len(part) == 2 for part in state), f"activations of layer {k} are not [B,...]")
            close(generator.synthesize_from(state, k), wanted, 1e-4, f"the image from layer {k} and G(z)")
            for at_once, by_steps in zip(generator.advance((z,), 0, k), state, strict=True):
                close(at_once, by_steps, 1e-4, f"activations of layer {k} at once and step by step")
