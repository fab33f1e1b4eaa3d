"""What the objective of `search.py` gains by a step of a pixel: a sample moves its block along a column of the DCT."""

from __future__ import annotations

import torch
from torch import Tensor

from .layout import SampleMap, TileMap, dct_matrix
from .model import divide

SIGNS = torch.tensor([-1, 0, 1], dtype=torch.int32)
REACH = 0.26
"""A sample's step of 1 moves a coefficient by less: those further inside their interval need no look."""


class Gains:
    """What F gains if a pixel's value of a component of one group changes by -1, 0 or +1."""

    def __init__(self, samples: SampleMap, where: TileMap) -> None:
        device, pixels = where.real.device, where.real.numel()
        self.samples, self.once = samples, samples.index.numel() == pixels
        """`once`: no pixel is repeated."""
        self.count = samples.index.shape[1]
        self.basis = dct_matrix().float().to(device)
        self.signs = SIGNS.to(device)[:, None]
        every = torch.arange(len(samples.index), device=device)
        each = every[:, None].expand(samples.index.shape)
        first = torch.full((pixels,), len(every) - 1, device=device)
        self.sample = first.scatter_reduce(0, samples.index.flatten(), each.flatten(), "amin")
        """Int64 [P]: the first sample made of each pixel."""
        self.block = self.sample // 64
        """Int64 [P]: the block that it is in; those after it are outside the image."""
        self.weights = torch.zeros(pixels, 64, dtype=torch.int32, device=device)
        """Int32 [P,64]: times that a pixel counts in each sample of its block."""
        for pixel in samples.index.T:
            own = self.block[pixel] == every // 64
            self.weights[pixel[own], every[own] % 64] += 1

    def __call__(self, planes: Tensor, below: Tensor, above: Tensor, weight: Tensor) -> list[Tensor]:
        """[T,3,P] for each component of the group. Planes [C,T,P]; distances and weights [T,K,64]."""
        group = self.samples.group
        parts = (t[:, group.blocks].unflatten(1, (group.count, -1)).unbind(1) for t in (below, above, weight))
        return [self._component(*found) for found in zip(planes[group.components], *parts, strict=True)]

    def _component(self, plane: Tensor, below: Tensor, above: Tensor, weight: Tensor) -> Tensor:
        """The gains of a plane [T,P] and what belongs to its n blocks, [T,n,64]."""
        if not self.once:
            return self._at_edge(plane, below, above, weight)
        gains = self._sample_gains(below, above, weight).transpose(1, 2).flatten(2)
        if self.count > 1:
            gains = gains.gather(1, self._changes(self._sums(plane)).long() + 1)
        return gains[..., self.sample]

    def _sums(self, plane: Tensor) -> Tensor:
        """[T,P] -> [T,n*64]: what libjpeg divides by `count`."""
        return plane[:, self.samples.index].sum(-1, dtype=torch.int32) + self.samples.bias

    def _changes(self, sums: Tensor) -> Tensor:
        """[T,N] -> [T,3,N]: how a sample changes if one of its pixels changes by -1, 0, +1."""
        rest = sums - divide(sums, self.count) * self.count
        return divide(rest[:, None] + self.signs, self.count)

    def _at_edge(self, plane: Tensor, below: Tensor, above: Tensor, weight: Tensor) -> Tensor:
        """Where a pixel counts in several samples, of its own block: encodes that for every change."""
        weights = self.weights
        if self.count > 1:
            sums = self._own(self._sums(plane).unflatten(1, (-1, 64)))
            now = divide(sums, self.count)
            changes = [divide(sums + sign * weights, self.count) - now for sign in (-1, 1)]
        else:
            changes = [-weights, weights]
        patterns = [change.float() @ self.basis.T for change in changes]
        return self._pattern_gains(*(self._own(t) for t in (below, above, weight)), *patterns)

    def _own(self, values: Tensor) -> Tensor:
        """[T,n,64] -> [T,P,64], those of each pixel's block; left as they are if there is only one."""
        return values if values.shape[1] == 1 else values[:, self.block]

    def _sample_gains(self, below: Tensor, above: Tensor, weight: Tensor) -> Tensor:
        """[T,K,64] -> [T,K,3,64]: change of F if a sample changes by -1, 0, +1."""
        near = torch.maximum(below, above)
        count = max(1, int((near > -REACH).sum(-1).max()))
        near, index = near.topk(count, -1)
        below, above = below.gather(-1, index)[..., None], above.gather(-1, index)[..., None]
        weight = weight.gather(-1, index)[..., None]
        pattern = self.basis[index]
        minus = torch.maximum(below + pattern, above - pattern).clamp_(min=0).square_().mul_(weight).sum(-2)
        plus = torch.maximum(below - pattern, above + pattern).clamp_(min=0).square_().mul_(weight).sum(-2)
        now = (near.clamp(min=0).square() * weight[..., 0]).sum(-1, keepdim=True)
        return torch.stack([minus - now, torch.zeros_like(plus), plus - now], -2) / 2

    @staticmethod
    def _pattern_gains(below: Tensor, above: Tensor, weight: Tensor, minus: Tensor, plus: Tensor) -> Tensor:
        """[T,3,P], given the changes of coefficients [..,P,64] of each pixel's -1 and +1; bounds [T,P or 1,64]."""
        now = (torch.maximum(below, above).clamp(min=0).square() * weight).sum(-1)
        moved = [torch.maximum(below - p, above + p).clamp(min=0).square().mul(weight).sum(-1) for p in (minus, plus)]
        return torch.stack([moved[0] - now, torch.zeros_like(moved[0]), moved[1] - now], 1) / 2
