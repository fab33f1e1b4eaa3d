"""The toy source: images whose pixels are independent draws of one Gaussian mixture in RGB, all in closed form.

p(x) = sum_k w_k N(x; m_k, diag(s_k^2)), for x in R^3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from idemcore.noise import Noise

from . import truncated


@dataclass(frozen=True)
class MixtureSource:
    """`weights` [K] that sum to 1, `means` [K,3] and `deviations` [K,3] in [0,1] units, float64."""

    weights: Tensor
    means: Tensor
    deviations: Tensor

    @classmethod
    def drawn(cls, components: int = 5, seed: int = 0) -> MixtureSource:
        """A mixture at least six standard deviations inside [0,1]."""
        rng = torch.Generator().manual_seed(seed)
        weights = 0.5 + torch.rand(components, generator=rng, dtype=torch.float64)
        means = 0.3 + 0.4 * torch.rand(components, 3, generator=rng, dtype=torch.float64)
        deviations = 0.02 + 0.03 * torch.rand(components, 3, generator=rng, dtype=torch.float64)
        return cls(weights / weights.sum(), means, deviations)

    def sample(self, noise: Noise, height: int, width: int) -> Tensor:
        """Images [B,3,H,W], one a stream of `noise`."""
        component = self._pick(noise.uniform(height, width), self.weights.cumsum(0))
        means, deviations = self.means[component].movedim(-1, 1), self.deviations[component].movedim(-1, 1)
        return (means + deviations * noise.normal(3, height, width)).float()

    def log_density(self, x: Tensor, sigma: Tensor | float = 0.0) -> Tensor:
        """log p_sigma [B,H,W] of each pixel of x = x0 + sigma n, in nats:

        p_sigma(x) = sum_k w_k N(x; m_k, diag(s_k^2 + sigma^2)).
        """
        return self._log_joint(x, _levels(sigma, x)).logsumexp(dim=1)

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        """E[x0 | x0 + sigma n = x], [B,3,H,W]; sigma is a number or [B]:

        sum_k r_k (m_k + s_k^2 / (s_k^2 + sigma^2) (x - m_k)),
        r_k proportional to w_k N(x; m_k, diag(s_k^2 + sigma^2)).
        """
        level = _levels(sigma, x)
        share = self._log_joint(x, level).softmax(dim=1)
        means, variances = self._planes(x)
        estimate = means + variances / (variances + level**2) * (x[:, None] - means)
        return (share[:, :, None] * estimate).sum(dim=1)

    def restore(self, x: Tensor, sigma: Tensor | float, noise: Noise) -> Tensor:
        """An exact draw [B,3,H,W] of p(x0 | x0 + sigma n = x): choose a component k by r_k (see `denoise`), then draw

        N(m_k + s_k^2 / (s_k^2 + sigma^2) (x - m_k), s_k^2 sigma^2 / (s_k^2 + sigma^2)).
        """
        level = _levels(sigma, x)
        cumulative = self._log_joint(x, level).softmax(dim=1).cumsum(dim=1).movedim(1, -1)
        component = self._pick(noise.uniform(*x.shape[-2:], device=x.device), cumulative)
        means, deviations = (v.to(x)[component].movedim(-1, 1) for v in (self.means, self.deviations))
        keep = deviations**2 / (deviations**2 + level[:, 0] ** 2)
        return means + keep * (x - means) + keep.sqrt() * level[:, 0] * noise.like(x)

    def posterior(self, lower: Tensor, upper: Tensor) -> BoxPosterior:
        """p(x | lower <= x <= upper) of every pixel, for edges [B,3,H,W]; computed on the CPU."""
        return BoxPosterior(self, lower.cpu().double(), upper.cpu().double())

    def _planes(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Means and variances [K,3,1,1] in the type of an image."""
        return self.means[..., None, None].to(like), self.deviations[..., None, None].to(like) ** 2

    def _log_joint(self, x: Tensor, level: Tensor) -> Tensor:
        """log(w_k N(x; m_k, diag(s_k^2 + sigma^2))), [B,K,H,W]."""
        means, variances = self._planes(x)
        total = variances + level**2
        normal = -((x[:, None] - means) ** 2 / total + total.log() + math.log(2 * math.pi)) / 2
        return normal.sum(dim=2) + self.weights.log().to(x)[:, None, None]

    @staticmethod
    def _pick(u: Tensor, cumulative: Tensor) -> Tensor:
        """The component whose share of [0,1) holds u."""
        return (u[..., None] >= cumulative[..., :-1]).sum(dim=-1)


@dataclass(frozen=True)
class BoxPosterior:
    """The law of each pixel given that it lies in a box: a mixture of truncated normals, in float64.

    With Z_kc = Phi((upper_c - m_kc) / s_kc) - Phi((lower_c - m_kc) / s_kc), component k has the weight
    w_k prod_c Z_kc / sum_j w_j prod_c Z_jc, and within it the channels are independent truncated normals.
    """

    source: MixtureSource
    lower: Tensor
    upper: Tensor

    @cached_property
    def log_probability(self) -> Tensor:
        """log P(pixel in box), [B,H,W], nats: log sum_k w_k prod_c Z_kc."""
        return self._log_masses.logsumexp(dim=1)

    @cached_property
    def shares(self) -> Tensor:
        """Posterior weight of each component, [B,K,H,W]."""
        return self._log_masses.softmax(dim=1)

    @cached_property
    def mean(self) -> Tensor:
        """E[x | box], [B,3,H,W]: the decoder of least mean squared error."""
        return (self.shares[:, :, None] * self._moments[0]).sum(dim=1)

    @cached_property
    def covariance(self) -> Tensor:
        """Cov[x | box], [B,3,3,H,W]: sum_k share_k (diag(v_k) + mu_k mu_k^T) - mean mean^T."""
        means, variances = self._moments
        deviation = means - self.mean[:, None]
        between = torch.einsum("bkhw,bkchw,bkdhw->bcdhw", self.shares, deviation, deviation)
        within = torch.einsum("bkhw,bkchw->bchw", self.shares, variances)
        return between + torch.diag_embed(within.movedim(1, -1)).movedim((-2, -1), (1, 2))

    def sample(self, noise: Noise) -> Tensor:
        """Exact draws [B,3,H,W], one a stream of `noise`: choose a component, then invert its distribution."""
        height, width = self.lower.shape[-2:]
        cumulative = self.shares.cumsum(dim=1).movedim(1, -1)
        component = MixtureSource._pick(noise.uniform(height, width).double(), cumulative)
        means = self.source.means[component].movedim(-1, 1)
        deviations = self.source.deviations[component].movedim(-1, 1)
        a, b = (self.lower - means) / deviations, (self.upper - means) / deviations
        draw = truncated.quantile(noise.uniform(3, height, width).double(), a, b)
        return (means + deviations * draw).clamp(self.lower, self.upper)

    def occupancy(self, positions: Tensor) -> Tensor:
        """P(x_c <= lower_c + (t + 1/2) (upper_c - lower_c) | box), [T,B,3,H,W], for positions t [T] of -1/2..1/2:

        sum_k share_k (Phi(t_kc) - Phi(a_kc)) / Z_kc, where a_kc is the lower edge and t_kc the place of t, both in
        standard deviations s_kc from m_kc.
        """
        low, high = self._edges
        total = truncated.log_mass(low, high)
        places = (torch.maximum(low + (t + 0.5) * (high - low), low) for t in positions.cpu().double())
        parts = [(truncated.log_mass(low, place) - total).exp() for place in places]
        return torch.stack([(self.shares[:, :, None] * part).sum(dim=1) for part in parts])

    @cached_property
    def _edges(self) -> tuple[Tensor, Tensor]:
        """Edges in standard deviations of each component, [B,K,3,H,W]."""
        means, variances = self.source._planes(self.lower)
        return (self.lower[:, None] - means) / variances.sqrt(), (self.upper[:, None] - means) / variances.sqrt()

    @cached_property
    def _log_masses(self) -> Tensor:
        """log(w_k prod_c Z_kc), [B,K,H,W]."""
        return truncated.log_mass(*self._edges).sum(dim=2) + self.source.weights.log()[:, None, None]

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor]:
        """Mean and variance of each truncated component in [0,1] units, [B,K,3,H,W]."""
        means, variances = self.source._planes(self.lower)
        mean, variance = truncated.moments(*self._edges)
        return means + variances.sqrt() * mean, variances * variance


def _levels(sigma: Tensor | float, x: Tensor) -> Tensor:
    """sigma as [B,1,1,1,1] (or one element) of the type of x."""
    return torch.as_tensor(sigma, dtype=x.dtype, device=x.device).reshape(-1, 1, 1, 1, 1)
