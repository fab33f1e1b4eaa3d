"""Between idem's images and what a network takes: sides that are multiples, one noise level an image."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """[B,C,H,W] grown at the bottom and right to sides that are multiples, mirrored (or repeated where too small)."""
    bottom, right = -x.shape[-2] % multiple, -x.shape[-1] % multiple
    if not bottom and not right:
        return x
    mirrors = bottom < x.shape[-2] and right < x.shape[-1]
    return F.pad(x, (0, right, 0, bottom), mode="reflect" if mirrors else "replicate")


def noise_levels(sigma: Tensor | float, x: Tensor) -> Tensor:
    """A number or a tensor of one or B numbers -> [B] float32 beside x."""
    return torch.as_tensor(sigma, dtype=torch.float32, device=x.device).expand(x.shape[0])


def image_by_image(network: Callable[[Tensor, Tensor], Tensor], x: Tensor, level: Tensor) -> Tensor:
    """network(x, level) of a batch, on a CPU one image at a time.

    Convolutions there round differently with the batch size, and no result may depend on what stands beside an image.
    """
    if x.device.type != "cpu":
        return network(x, level)
    return torch.cat([network(*image) for image in zip(x[:, None], level[:, None], strict=True)])
