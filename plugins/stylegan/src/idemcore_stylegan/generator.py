"""StyleGAN2 as a latent generator."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from idemcore.noise import Noise
from idemcore.protocols import LatentGenerator
from idemcore.runtime import Runtime

from .config import StyleGanSettings
from .network import State
from .weights import load_network


class StyleGanGenerator(LatentGenerator):
    """Layer 0 maps z to styles; each other layer is a block of the synthesis, which doubles the resolution.

        layer 0      (z [B,z],)
        layer 1      (styles [B,L,w],), known as w+; `spread` makes one of w
        layer k > 1  (features [B,C,R,R], RGB [B,3 or 1,R,R], styles [B,L',w]) with R = 2^k and the styles that are left

    With `noise=latent` each has the noise inputs that are left besides, [B,N], and z has them at its end, [B,z+N].
    """  # fmt: skip

    def __init__(self, config: StyleGanSettings, runtime: Runtime) -> None:
        """Raises MissingError if the weights are not there, InputError if they are damaged or not a StyleGAN2's."""
        self.runtime, self.truncation = runtime, config.truncation
        self.network = load_network(config.weights).to(runtime.device)
        synthesis, shape = self.network.synthesis, self.network.config
        self.size = (shape.resolution, shape.resolution)
        self.layers = 1 + len(synthesis.blocks)
        self.constant = synthesis.constant_noise() if config.noise == "constant" else None
        self.latent_shape = (shape.z if self.constant is not None else shape.z + synthesis.noise,)

    @property
    def w_mean(self) -> Tensor:
        """[w]: the mean of w over all z, where an inversion may start."""
        return self.network.mapping.w_avg

    def spread(self, w: Tensor) -> Tensor:
        """w [B,w] as the style of every layer, [B,L,w]."""
        return self.network.spread(w)

    def sample(self, noise: Noise) -> Tensor:
        z = noise.normal(self.network.config.z, device=self.runtime.device)
        if self.constant is not None:
            return z
        return torch.cat([z, noise.normal(self.network.synthesis.noise, device=self.runtime.device)], dim=1)

    def synthesize(self, z: Tensor) -> Tensor:
        return self.synthesize_from((z,), 0)

    def advance(self, activations: State, layer: int, to: int) -> State:
        return image_by_image(lambda state: self._advance(state, layer, to), activations)

    def synthesize_from(self, activations: State, layer: int) -> Tensor:
        (image,) = image_by_image(lambda state: (self._advance(state, layer, self.layers)[1],), activations)
        return (image.expand(-1, 3, -1, -1) + 1) / 2

    def _advance(self, state: State, layer: int, to: int) -> State:
        for index in range(layer, to):
            state = self._block(state, index - 1) if index else self._styles(*state)
        return tuple(tensor.float() for tensor in state)

    def _styles(self, z: Tensor) -> State:
        z, noise = z.split([self.network.config.z, z.shape[1] - self.network.config.z], dim=1)
        w = self.w_mean.lerp(self.network.mapping(z), self.truncation)
        return (self.spread(w), noise) if self.constant is None else (self.spread(w),)

    def _block(self, state: State, index: int) -> State:
        block = self.network.synthesis.blocks[index]
        if self.constant is None:
            return block(state, self.runtime.dtype)
        pixels = sum(conv.side**2 for other in self.network.synthesis.blocks[:index] for conv in other.convolutions)
        state = block((*state, self.constant[:, pixels:]), self.runtime.dtype)
        return state[:-1]


def image_by_image(function: Callable[[State], State], state: State) -> State:
    """function(state) of a batch, on a CPU one image at a time.

    Convolutions there round differently with the batch size, and no result may depend on what stands beside an image.
    """
    if state[0].device.type != "cpu":
        return function(state)
    each = [function(tuple(tensor[None] for tensor in image)) for image in zip(*state, strict=True)]
    return tuple(torch.cat(parts) for parts in zip(*each, strict=True))
