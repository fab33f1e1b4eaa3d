"""The other models of CompressAI's zoo, and which of all of them a file of weights is for.

Balle et al., ICLR 2018, without a hyperprior (bmshj2018-factorized); Minnen et al., NeurIPS 2018 (mbt2018); Cheng et
al., "Learned Image Compression with Discretized Gaussian Mixture Likelihoods and Attention Modules", CVPR 2020, with
one Gaussian (cheng2020-anchor, cheng2020-attn).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from idemcore.learned.factorized import FactorizedDensity
from idemcore.learned.model import Front, Group, LatentModel

from .network import Hyperprior, MeanHyperprior
from .upstream import Cheng2020Anchor, Cheng2020Attention, FactorizedPrior, JointAutoregressiveHierarchicalPriors

KERNEL = 5
"""Side of the context, of which the positions before the middle in raster order are seen."""


class Factorized(LatentModel):
    """Latents that are coded by a density of their channel each; nothing predicts them, so that y is z."""

    hyper, halo = 1, 2
    groups = ()

    def __init__(self, channels: int, latents: int) -> None:
        super().__init__()
        network = FactorizedPrior(channels, latents)
        self.g_a, self.g_s = network.g_a, network.g_s
        self.h_a = self.h_s = nn.Identity()
        self.entropy_bottleneck, self.latents = FactorizedDensity(latents), latents

    def gaussian(self, channels: slice, hyper: Tensor, y_hat: Tensor) -> tuple[Tensor, Tensor]:
        raise ValueError("a factorized prior has no Gaussians")

    def set_spread(self, spread: Tensor) -> None:
        """Nothing but the density of the latents, which learns it, depends on their spread."""

    def widen(self, gains: Tensor) -> None:
        """There are no scales."""


class CausalConv(nn.Conv2d):
    """5x5, from the positions before the middle in raster order only."""

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__(inner, outer, KERNEL, padding=KERNEL // 2)

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self._causal(), self.bias)

    def at(self, x: Tensor, mask: Tensor) -> Tensor:
        """The result [B,outer,K] at the K positions of mask [h,w]."""
        padded = F.pad(x, [KERNEL // 2] * 4)
        rows, columns = mask.nonzero(as_tuple=True)
        taps = torch.arange(KERNEL)
        patches = padded[:, :, rows[:, None, None] + taps[:, None], columns[:, None, None] + taps]  # [B,inner,K,5,5]
        found = torch.einsum("bikuv,oiuv->bok", patches, self._causal())
        return found if self.bias is None else found + self.bias[:, None]

    def _causal(self) -> Tensor:
        before = torch.arange(KERNEL**2) < KERNEL**2 // 2
        return self.weight * before.view(KERNEL, KERNEL).to(self.weight)


class Autoregressive(LatentModel):
    """mbt2018: Gaussians that z and the latents before, in raster order, predict. Slow to decode: hundreds of steps."""

    halo = 2
    kind: Any = JointAutoregressiveHierarchicalPriors

    def __init__(self, *widths: int) -> None:
        super().__init__()
        network = self.kind(*widths)
        self.g_a, self.g_s, self.h_a, self.h_s = network.g_a, network.g_s, network.h_a, network.h_s
        self.entropy_parameters, self.latents = network.entropy_parameters, network.M
        self.context_prediction = CausalConv(network.M, 2 * network.M)
        self.entropy_bottleneck = FactorizedDensity(network.N)
        self.groups = (Group(slice(0, self.latents)),)

    def order(self, size: Sequence[int]) -> Sequence[Group]:
        """A step for each front: 3 (h - 1) + w of them."""
        return [Front(slice(0, self.latents), step=step) for step in range(3 * (size[0] - 1) + size[1])]

    def gaussian(self, channels: slice, hyper: Tensor, y_hat: Tensor) -> tuple[Tensor, Tensor]:
        return self._means_and_scales(hyper, self.context_prediction(y_hat.to(hyper.dtype)))

    def gaussian_at(self, group: Group, mask: Tensor, hyper: Tensor, y_hat: Tensor) -> tuple[Tensor, Tensor]:
        context = self.context_prediction.at(y_hat.to(hyper.dtype), mask)
        means, scales = self._means_and_scales(hyper[..., mask][..., None], context[..., None])
        return means[..., 0], scales[..., 0]

    def _means_and_scales(self, hyper: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        scales, means = self.entropy_parameters(torch.cat([hyper, context], dim=1)).chunk(2, 1)
        return means, scales

    @torch.no_grad()
    def set_spread(self, spread: Tensor) -> None:
        """What sees y gets it normalised; scales begin at `spread`, means at 0."""
        for name in ("h_a.0.weight", "context_prediction.weight"):
            self.get_parameter(name).div_(spread.view(1, -1, 1, 1))
        self.get_parameter("entropy_parameters.4.weight").mul_(torch.cat([spread, spread]).view(-1, 1, 1, 1))
        self.get_parameter("entropy_parameters.4.bias").copy_(torch.cat([spread, torch.zeros_like(spread)]))

    @torch.no_grad()
    def widen(self, gains: Tensor) -> None:
        self.get_parameter("entropy_parameters.4.weight")[: self.latents].mul_(gains.view(-1, 1, 1, 1))
        self.get_parameter("entropy_parameters.4.bias")[: self.latents].mul_(gains)


class ChengAnchor(Autoregressive):
    """cheng2020-anchor: residual blocks of small convolutions; each latent sees 57 pixels, a pixel 104 around."""

    kind, halo = Cheng2020Anchor, 7


class ChengAttention(Autoregressive):
    """cheng2020-attn: the same with attention; each latent sees 117 pixels, a pixel 164 around."""

    kind, halo = Cheng2020Attention, 11


def network_for(state: Mapping[str, Tensor]) -> LatentModel:
    """An untrained network of the kind and widths that these weights have. Raises KeyError if they are of none.

    Not on the meta device, where CompressAI's GDN cannot be built; the global random state stays as it was.
    """
    build = _constructor(state)
    with torch.random.fork_rng(devices=[]):
        return build()


def _constructor(state: Mapping[str, Tensor]) -> Callable[[], LatentModel]:
    if "g_a.0.conv1.weight" in state:
        kind = ChengAttention if "g_a.3.conv_a.0.conv.0.weight" in state else ChengAnchor
        return partial(kind, state["g_a.0.conv1.weight"].shape[0])
    channels, latents = state["g_a.0.weight"].shape[0], state["g_a.6.weight"].shape[0]
    if not any(name.startswith("h_a.") for name in state):
        return partial(Factorized, channels, latents)
    if "context_prediction.weight" in state:
        return partial(Autoregressive, channels, latents)
    means = state["h_s.4.weight"].shape[0] == 2 * latents
    return partial(MeanHyperprior if means else Hyperprior, channels, latents)
