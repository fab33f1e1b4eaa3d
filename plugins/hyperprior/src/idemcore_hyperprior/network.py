"""CompressAI's hyperprior models as idem knows learned codecs.

Balle et al., "Variational image compression with a scale hyperprior", ICLR 2018 (bmshj2018-hyperprior); Minnen et al.,
"Joint Autoregressive and Hierarchical Priors", NeurIPS 2018, without the autoregression (mbt2018-mean).
"""

from __future__ import annotations

import torch
from torch import Tensor

from idemcore.learned.factorized import FactorizedDensity
from idemcore.learned.model import Group, LatentModel

from .upstream import GDN, MeanScaleHyperprior, ScaleHyperprior


class Hyperprior(LatentModel):
    """Zero-mean Gaussians whose scales z tells."""

    kind = ScaleHyperprior
    halo = 2

    def __init__(self, channels: int = 48, latents: int = 128) -> None:
        super().__init__()
        network = self.kind(channels, latents)
        self.g_a, self.g_s, self.h_a, self.h_s = network.g_a, network.g_s, network.h_a, network.h_s
        for layer in (*self.g_a.children(), *self.g_s.children()):
            if isinstance(layer, GDN):  # training starts near the identity
                layer.gamma.data = layer.gamma_reparam.init(1e-3 * torch.eye(channels))
        self.entropy_bottleneck = FactorizedDensity(channels)
        self.latents, self.groups = latents, (Group(slice(0, latents)),)

    def hyper_analysis(self, y: Tensor) -> Tensor:
        return self.h_a(y.abs())

    def gaussian(self, channels: slice, hyper: Tensor, y_hat: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(hyper), hyper

    @torch.no_grad()
    def set_spread(self, spread: Tensor) -> None:
        """h_a gets y normalised; scales begin at `spread`, and means, where there are any, at 0."""
        self.get_parameter("h_a.0.weight").div_(spread.view(1, -1, 1, 1))
        weight, bias = self.get_parameter("h_s.4.weight"), self.get_parameter("h_s.4.bias")
        means = len(bias) // self.latents - 1  # times that means follow the scales: once or never
        weight.mul_(torch.cat([spread] * (1 + means)).view(-1, 1, 1, 1))
        bias.copy_(torch.cat([spread, *[torch.zeros_like(spread)] * means]))

    @torch.no_grad()
    def widen(self, gains: Tensor) -> None:
        self.get_parameter("h_s.4.weight")[: self.latents].mul_(gains.view(-1, 1, 1, 1))
        self.get_parameter("h_s.4.bias")[: self.latents].mul_(gains)


class MeanHyperprior(Hyperprior):
    """Gaussians whose means and scales z tells."""

    kind = MeanScaleHyperprior

    def hyper_analysis(self, y: Tensor) -> Tensor:
        return self.h_a(y)

    def gaussian(self, channels: slice, hyper: Tensor, y_hat: Tensor) -> tuple[Tensor, Tensor]:
        scales, means = hyper.chunk(2, 1)
        return means, scales
