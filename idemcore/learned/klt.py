"""Where training starts: g_a as a hierarchical Karhunen-Loeve transform of photographs, g_s as its inverse.

Each layer of stride 2 takes 2x2 neighbours of the layer before, 4 C numbers, to their principal components. After four
layers that is a transform of 16x16 blocks, as JPEG's DCT is of 8x8 ones. With the spread of each latent known
too, the codec is one from its first step on; from random weights a small network is not there after an hour.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..runtime import finest
from .model import LatentModel

TAPS = slice(2, 4)
"""Of the 5 taps of a layer's kernel, those that lie on its own 2x2 neighbours."""


@torch.no_grad()
def start_from_klt(model: LatentModel, crops: Tensor, trade_off: float) -> None:
    """Sets the layers of stride 2 of a `model` whose others are identities, and the spread of its latents.

    `crops` [B,3,H,W] in [0,1], sides multiples of 16. `trade_off` is lambda of bpp + lambda * 255^2 * MSE: rounding
    steps of size d are best where the slopes of both terms are equal, 3 / (d ln 2) = lambda * 255^2 * d / 6.
    """
    step = (18 / (torch.log(torch.tensor(2.0)) * trade_off * 255**2)).sqrt()
    down = [layer for layer in model.g_a.children() if isinstance(layer, nn.Conv2d)]
    up = [layer for layer in model.g_s.children() if isinstance(layer, nn.ConvTranspose2d)][::-1]
    mean = crops.mean(dim=(0, 2, 3))
    x, known = crops - mean.view(1, -1, 1, 1), crops.shape[1]
    for index, (analysis, synthesis) in enumerate(zip(down, up, strict=True)):
        basis = principal_components(x, analysis.out_channels)
        gain = 1 / step if index + 1 == len(down) else torch.tensor(1.0)
        _set(analysis, basis * gain, known)
        _set(synthesis, basis / gain, known)
        x, known = _coefficients(x, basis) * gain, len(basis)
    for layer, bias in ((down[0], -(down[0].weight.sum(dim=(2, 3)) @ mean)), (up[0], mean)):
        if layer.bias is not None:
            layer.bias.copy_(bias)
    model.set_spread(x.std(dim=(0, 2, 3)).clamp(min=0.2))


def principal_components(x: Tensor, most: int) -> Tensor:
    """[K,C,2,2] orthonormal, largest variance first, K = min(most, 4 C), of the 2x2 blocks of x [B,C,H,W]."""
    blocks = nn.functional.unfold(x, 2, stride=2).transpose(1, 2).flatten(0, 1)
    blocks = blocks.to(finest(blocks.device))
    _, vectors = torch.linalg.eigh(blocks.T @ blocks / len(blocks))
    return vectors.flip(1).T[:most].reshape(-1, x.shape[1], 2, 2).float()


def _coefficients(x: Tensor, basis: Tensor) -> Tensor:
    return nn.functional.conv2d(x, basis, stride=2)


def _set(layer: nn.Conv2d | nn.ConvTranspose2d, basis: Tensor, known: int) -> None:
    """Writes the basis [K,known,2,2]; channels that the transform does not use keep a tenth of their random weights."""
    layer.weight.mul_(0.1)
    layer.weight[: len(basis)] = 0
    layer.weight[: len(basis), :known, TAPS, TAPS] = basis.to(layer.weight)
    if layer.bias is not None:
        layer.bias.zero_()
