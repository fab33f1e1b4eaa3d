"""Normalisation and convolutions that hold little for the backward pass where the network is frozen.

A gradient with respect to the image alone needs of a convolution its weights and not its input, and of a normalisation
its input, from which what follows up to the next convolution is cheap to compute again.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _frozen(x: Tensor, *parameters: Tensor | None) -> bool:
    """A gradient of x is wanted and none of the parameters."""
    fixed = not any(p is not None and p.requires_grad for p in parameters)
    return fixed and x.requires_grad and torch.is_grad_enabled()


class Normalisation(nn.GroupNorm):
    """Statistics in float32, whatever the activations are.

    Features are contiguous, not channels_last: on a CPU the backward pass of this layer takes several times as long
    there, which is more than convolutions gain.
    """

    def forward(self, x: Tensor) -> Tensor:
        return _normalised(x, self.weight, self.bias, self.num_groups, self.eps)


def _normalised(x: Tensor, gain: Tensor, offset: Tensor, groups: int, eps: float) -> Tensor:
    # Kernels of CPUs compute in float32 by themselves.
    wide = x if x.device.type == "cpu" else x.float()
    return F.group_norm(wide, groups, gain, offset, eps).to(x.dtype)


class NormSilu(Normalisation):
    """SiLU of the normalised features, scaled and shifted between the two if so asked."""

    def forward(self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        """silu(norm(x) * (1 + scale) + shift), x [B,C,H,W] contiguous, scale and shift both [B,C] or both None."""
        if scale is None or shift is None:
            return self._activated(x, self.weight, self.bias, self.num_groups)
        batch, channels = scale.shape
        gain = self.weight * (1 + scale)
        offset = self.bias * (1 + scale) + shift
        # One pass over x: every image's channels become channels of one image, which have gains of their own.
        flat = x.reshape(1, batch * channels, *x.shape[2:])
        return self._activated(flat, gain.flatten(), offset.flatten(), batch * self.num_groups).view(x.shape)

    def _activated(self, x: Tensor, gain: Tensor, offset: Tensor, groups: int) -> Tensor:
        if not _frozen(x, gain, offset):
            return F.silu(_normalised(x, gain, offset, groups, self.eps))
        out: Tensor = _Activated.apply(x, gain, offset, groups, self.eps)
        return out


class _Activated(torch.autograd.Function):
    """Holds x alone, and normalises it again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, offset: Tensor, groups: int, eps: float) -> Tensor:
        ctx.save_for_backward(x, gain, offset)
        ctx.groups, ctx.eps = groups, eps
        return F.silu(_normalised(x, gain, offset, groups, eps), inplace=True)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (x, gain, offset), (gradient,) = ctx.saved_tensors, gradients
        dtype = x.dtype
        if x.device.type != "cpu":
            x, gradient = x.float(), gradient.float()
        shape = (*x.shape[:2], x[0, 0].numel(), ctx.groups)
        normal, mean, rstd = torch.ops.aten.native_group_norm(x, gain, offset, *shape, ctx.eps)
        slope = torch.ops.aten.silu_backward.grad_input(gradient, normal, grad_input=normal)
        wanted = [True, False, False]
        image = torch.ops.aten.native_group_norm_backward(slope, x, mean, rstd, gain, *shape, wanted)[0]
        return image.to(dtype), None, None, None, None


class Convolution(nn.Conv2d):
    """As its parent, with stride 1 and without groups."""

    def forward(self, x: Tensor) -> Tensor:
        if self.kernel_size == (1, 1) and self.bias is not None:
            # A product of matrices takes features as they lie; convolutions of a CPU put them in another order first.
            weight = self.weight.flatten(1).expand(len(x), -1, -1)
            return torch.baddbmm(self.bias[:, None], weight, x.flatten(2)).unflatten(2, x.shape[2:])
        if not _frozen(x, self.weight, self.bias):
            return super().forward(x)
        out: Tensor = _Convolved.apply(x, self.weight, self.bias, self.padding)
        return out


class _Convolved(torch.autograd.Function):
    """Holds the weights alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shape, ctx.padding = x.shape, padding
        return F.conv2d(x, weight, bias, padding=padding)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (weight,), (gradient,) = ctx.saved_tensors, gradients
        unread = gradient.new_empty(ctx.shape)
        # Under autocast the gradient is narrower than weights may be.
        image = torch.ops.aten.convolution_backward(
            gradient, unread, weight.to(gradient.dtype), None, (1, 1), ctx.padding, (1, 1), False, (0, 0), 1,
            (True, False, False),
        )[0]  # fmt: skip
        return image, None, None, None
