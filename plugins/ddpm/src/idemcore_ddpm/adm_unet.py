"""The UNet of ADM (Dhariwal & Nichol, "Diffusion Models Beat GANs on Image Synthesis", NeurIPS 2021).

Module names give the state-dict layout of the published checkpoints, so those load as they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import Convolution, Normalisation, NormSilu

Resample = Literal["down", "up"]
AttentionOrder = Literal["legacy", "new"]


@dataclass(frozen=True)
class AdmUNetConfig:
    """What sets an ADM UNet's parameters. The published 256x256 networks differ only in these numbers."""

    channels: int
    multipliers: tuple[int, ...]
    """Width of each level in units of `channels`; resolution halves from level to level."""
    blocks: int
    """Residual blocks a level on the way down; one more on the way up."""
    attention: frozenset[int] = frozenset()
    """Downsampling factors (1, 2, 4...) whose blocks are followed by attention."""
    middle_attention: bool = True
    learn_sigma: bool = True
    """Twice the image's channels come out: the noise, and where the posterior log-variance lies in its range."""
    heads: int = 0
    """Heads of every attention layer; 0: as many as `head_channels` makes of its width."""
    head_channels: int = 64
    """Channels of an attention head; a narrower layer has one head."""
    attention_order: AttentionOrder = "legacy"
    """How queries, keys and values lie: `legacy` head by head, `new` all queries, all keys, all values."""
    image_channels: int = 3
    """3, or 1 of grey images."""
    groups: int = 32
    """Of every normalisation. A narrow network wants fewer: a group of one channel forgets how bright the image is."""


class ResBlock(nn.Module):
    """Residual block whose second normalisation is scaled and shifted by the timestep.

        x -> norm, SiLU -> (resample) -> conv -> norm * (1 + scale) + shift -> SiLU, conv -> + -> out
        '----------------- (resample) -> (1x1 conv if the width changes) ------------------'
    """  # fmt: skip

    def __init__(
        self, width: int, out: int, embedding: int, resample: Resample | None = None, groups: int = 32
    ) -> None:
        super().__init__()
        self.resample = resample
        # By the published names: the numbers left out stand for what has no parameters.
        self.in_layers = nn.ModuleDict({"0": NormSilu(groups, width), "2": Convolution(width, out, 3, padding=1)})
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, 2 * out))
        self.out_layers = nn.ModuleDict({"0": NormSilu(groups, out), "3": Convolution(out, out, 3, padding=1)})
        self.skip_connection = nn.Identity() if width == out else Convolution(width, out, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        (norm1, conv1), (norm2, conv2) = self.in_layers.values(), self.out_layers.values()
        scale, shift = self.emb_layers(embedding).chunk(2, dim=1)
        h: Tensor = conv2(norm2(conv1(self._resampled(norm1(x))), scale, shift))
        return h.add_(self.skip_connection(self._resampled(x)))

    def _resampled(self, x: Tensor) -> Tensor:
        if self.resample == "down":
            return F.avg_pool2d(x, 2)
        if self.resample == "up":
            with torch.autocast(x.device.type, enabled=False):  # which would go on in float32
                return F.interpolate(x, scale_factor=2.0, mode="nearest")
        return x


class AttentionBlock(nn.Module):
    """Self-attention over all positions, added to its input; guided-diffusion has it in two orders of channels.

    legacy   channels are split into heads, then each head's into q, k and v
    new      channels are split into q, k and v, then each into heads
    """

    def __init__(self, width: int, heads: int, order: AttentionOrder = "legacy", groups: int = 32) -> None:
        """Raises ValueError if `width` is not a multiple of `heads`."""
        super().__init__()
        if width % heads:
            raise ValueError(f"its attention layers of {width} channels cannot be divided into {heads} heads")
        self.heads, self.order = heads, order
        self.norm = Normalisation(groups, width)
        self.qkv = nn.Conv1d(width, 3 * width, 1)
        self.proj_out = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        mixed = self.qkv(self.norm(flat))
        if self.order == "legacy":
            parts = mixed.unflatten(1, (self.heads, 3, -1))
        else:
            parts = mixed.unflatten(1, (3, self.heads, -1)).transpose(1, 2)
        # Contiguous, so that the kernel is taken that never holds the weights of all pairs of positions.
        qkv = parts.transpose(-1, -2).contiguous()
        attended = F.scaled_dot_product_attention(*qkv.unbind(2)).transpose(-1, -2).flatten(1, 2)
        out: Tensor = flat + self.proj_out(attended)
        return out.view_as(x)


class Stage(nn.ModuleList):
    """Layers between two skip connections; only residual blocks see the timestep."""

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        for layer in self:
            x = layer(x, embedding) if isinstance(layer, ResBlock) else layer(x)
        return x


def timestep_embedding(t: Tensor, dim: int, max_period: float = 10000.0) -> Tensor:
    """Timesteps [B], fractional ones too -> [B, dim]: cosines, then sines, of falling frequencies from 1."""
    half = dim // 2
    exponent = torch.arange(half, dtype=torch.float32, device=t.device) / half
    phase = t.float()[:, None] * torch.exp(-math.log(max_period) * exponent)
    return torch.cat([phase.cos(), phase.sin()], dim=1)


class AdmUNet(nn.Module):
    """Predicts the noise (and, with `learn_sigma`, the variance) of a variance-preserving image at timestep t.

    input_blocks   conv, then every level's residual blocks, halving the resolution between levels
    middle_block   residual, attention, residual
    output_blocks  the same levels backwards, each block reading one saved output of input_blocks
    """

    def __init__(self, config: AdmUNetConfig) -> None:
        super().__init__()
        self.config = config
        self.multiple: int = 2 ** (len(config.multipliers) - 1)
        self.time_embed = nn.Sequential(
            nn.Linear(config.channels, 4 * config.channels),
            nn.SiLU(),
            nn.Linear(4 * config.channels, 4 * config.channels),
        )
        self.input_blocks = nn.ModuleList([Stage([Convolution(config.image_channels, config.channels, 3, padding=1)])])
        saved = self._build_input()
        width = saved[-1]
        attention = [self._attend(width)] if config.middle_attention else []
        self.middle_block = Stage([self._block(width, width), *attention, self._block(width, width)])
        self.output_blocks = nn.ModuleList()
        width = self._build_output(width, saved)
        channels_out = config.image_channels * (2 if config.learn_sigma else 1)
        last = Convolution(width, channels_out, 3, padding=1)
        self.out = nn.ModuleDict({"0": NormSilu(config.groups, width), "2": last})

    def _block(self, width: int, out: int, resample: Resample | None = None) -> ResBlock:
        return ResBlock(width, out, 4 * self.config.channels, resample, self.config.groups)

    def _attend(self, width: int) -> AttentionBlock:
        heads = self.config.heads or max(1, width // self.config.head_channels)
        return AttentionBlock(width, heads, self.config.attention_order, self.config.groups)

    def _attention(self, level: int, width: int) -> list[nn.Module]:
        return [self._attend(width)] if 2**level in self.config.attention else []

    def _build_input(self) -> list[int]:
        """Fills `input_blocks`; the widths of their outputs."""
        saved = [self.config.channels]
        for level, multiplier in enumerate(self.config.multipliers):
            width = multiplier * self.config.channels
            for _ in range(self.config.blocks):
                self.input_blocks.append(Stage([self._block(saved[-1], width), *self._attention(level, width)]))
                saved.append(width)
            if level < len(self.config.multipliers) - 1:
                self.input_blocks.append(Stage([self._block(width, width, "down")]))
                saved.append(width)
        return saved

    def _build_output(self, width: int, saved: list[int]) -> int:
        """Fills `output_blocks`, which read the saved outputs last to first; the width of the last one."""
        skips = iter(reversed(saved))
        for level, multiplier in reversed(list(enumerate(self.config.multipliers))):
            out = multiplier * self.config.channels
            for index in range(self.config.blocks + 1):
                stage = Stage([self._block(width + next(skips), out), *self._attention(level, out)])
                if level and index == self.config.blocks:
                    stage.append(self._block(out, out, "up"))
                self.output_blocks.append(stage)
                width = out
        return width

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """x [B,C,H,W] with sides that are multiples of `multiple`, t [B] in 0..T-1 -> float32 [B,C or 2C,H,W]."""
        kind = x.device.type
        inner = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        # In float32, as bfloat16 makes neighbouring timesteps the same and rounds away noise below 1/256.
        with torch.autocast(kind, enabled=False):
            embedding = self.time_embed(timestep_embedding(t, self.config.channels))
            h = self.input_blocks[0](x, embedding).to(inner)
        saved = [h]
        for stage in self.input_blocks[1:]:
            h = stage(h, embedding)
            saved.append(h)
        h = self.middle_block(h, embedding)
        for stage in self.output_blocks:
            h = stage(torch.cat([h, saved.pop()], dim=1), embedding)
        norm, conv = self.out.values()
        with torch.autocast(kind, enabled=False):
            output: Tensor = conv(norm(h.float()))
        return output


def infer_config(shapes: Mapping[str, Sequence[int]]) -> AdmUNetConfig:
    """The configuration of the network that a state dict's shapes belong to.

    Shapes say nothing of `groups`, `heads`, `head_channels` and `attention_order`, which are the defaults here.

    Raises KeyError with the name that every ADM UNet has and this one lacks, ValueError if its images are neither grey
    nor of three colours.
    """
    channels, image_channels = shapes["input_blocks.0.0.weight"][:2]
    if image_channels not in (1, 3):
        raise ValueError(f"its images have {image_channels} channels, not 1 or 3")
    inputs = {match[1] for key in shapes if (match := re.match(r"input_blocks\.(\d+)\.", key))}
    # A second residual block in an output block enlarges the image; every level but the finest has one.
    enlarging = [key for key in shapes if re.fullmatch(r"output_blocks\.\d+\.[12]\.in_layers\.2\.weight", key)]
    levels = 1 + len(enlarging)
    per_level = len(inputs) // levels
    firsts = [1 + level * per_level for level in range(levels)]
    return AdmUNetConfig(
        channels=channels,
        multipliers=tuple(shapes[f"input_blocks.{i}.0.in_layers.2.weight"][0] // channels for i in firsts),
        blocks=per_level - 1,
        attention=frozenset(2**level for level, i in enumerate(firsts) if f"input_blocks.{i}.1.qkv.weight" in shapes),
        middle_attention="middle_block.1.qkv.weight" in shapes,
        learn_sigma=shapes["out.2.weight"][0] == 2 * image_channels,
        image_channels=image_channels,
    )
