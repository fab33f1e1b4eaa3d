"""The ADM UNet against a second one, written from the paper's description in float64, and frozen against not."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from idemcore_ddpm.adm_unet import AdmUNet, AdmUNetConfig
from idemcore_ddpm.layers import Convolution, NormSilu

CONFIGS = {
    "two heads": AdmUNetConfig(32, (1, 4), 1, frozenset({2})),
    "two blocks": AdmUNetConfig(32, (1, 1, 2), 2, frozenset({1, 4})),
    "grey": AdmUNetConfig(64, (1, 2), 1, image_channels=1),
}


class Described:
    """Features as float64 [B,C,H,W], parameters by the published names."""

    def __init__(self, network: AdmUNet) -> None:
        self.weights = {name: value.double() for name, value in network.state_dict().items()}
        self.blocks, self.channels = network.config.blocks, network.config.channels

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        frequencies = torch.exp(-math.log(10000) * torch.arange(self.channels // 2) / (self.channels // 2)).double()
        phase = t.double()[:, None] * frequencies
        embedding = self.dense("time_embed.0", torch.cat([phase.cos(), phase.sin()], dim=1))
        embedding = self.dense("time_embed.2", F.silu(embedding))
        h, saved = x.double(), []
        for i in itertools.count():
            if not self.has(f"input_blocks.{i}"):
                break
            halves = i > 0 and i % (self.blocks + 1) == 0
            h = self.stage(f"input_blocks.{i}", h, embedding, "half" if halves else "")
            saved.append(h)
        h = self.stage("middle_block", h, embedding)
        for i in range(len(saved)):
            h = self.stage(f"output_blocks.{i}", torch.cat([h, saved.pop()], dim=1), embedding)
        return self.convolved("out.2", F.silu(self.normal("out.0", h)))

    def has(self, name: str) -> bool:
        return any(key.startswith(f"{name}.") for key in self.weights)

    def stage(self, name: str, h: Tensor, embedding: Tensor, resized: str = "") -> Tensor:
        for j in range(3):
            part = f"{name}.{j}"
            if self.has(f"{part}.qkv"):
                h = self.attention(part, h)
            elif self.has(f"{part}.in_layers"):
                doubles = j > 0 and name.startswith("output")
                h = self.residual(part, h, embedding, "double" if doubles else resized)
            elif self.has(part):
                h = self.convolved(part, h)
        return h

    def residual(self, name: str, x: Tensor, embedding: Tensor, resized: str) -> Tensor:
        def resize(h: Tensor) -> Tensor:
            if resized == "half":
                return h.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).mean(dim=(3, 5))
            return h.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3) if resized else h

        h = self.convolved(f"{name}.in_layers.2", resize(F.silu(self.normal(f"{name}.in_layers.0", x))))
        both = self.dense(f"{name}.emb_layers.1", F.silu(embedding))[:, :, None, None]
        scale, shift = both[:, : h.shape[1]], both[:, h.shape[1] :]
        h = F.silu(self.normal(f"{name}.out_layers.0", h) * (1 + scale) + shift)
        h = self.convolved(f"{name}.out_layers.3", h)
        skip = f"{name}.skip_connection"
        return h + (self.convolved(skip, resize(x)) if self.has(skip) else resize(x))

    def attention(self, name: str, x: Tensor) -> Tensor:
        qkv = self.pointwise(f"{name}.qkv", self.normal(f"{name}.norm", x).flatten(2))
        width = x.shape[1] // max(1, x.shape[1] // 64)
        heads = []
        for head in qkv.split(3 * width, dim=1):
            q, k, v = head.split(width, dim=1)
            weight = torch.softmax(q.transpose(1, 2) @ k / math.sqrt(width), dim=2)
            heads.append(v @ weight.transpose(1, 2))
        return x + self.pointwise(f"{name}.proj_out", torch.cat(heads, dim=1)).view_as(x)

    def dense(self, name: str, h: Tensor) -> Tensor:
        return h @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def pointwise(self, name: str, h: Tensor) -> Tensor:
        return self.weights[f"{name}.weight"][:, :, 0] @ h + self.weights[f"{name}.bias"][:, None]

    def convolved(self, name: str, h: Tensor) -> Tensor:
        weight = self.weights[f"{name}.weight"]
        return F.conv2d(h, weight, self.weights[f"{name}.bias"], padding=weight.shape[-1] // 2)

    def normal(self, name: str, h: Tensor) -> Tensor:
        groups = h.unflatten(1, (32, -1)).flatten(2)
        spread = groups.var(dim=2, correction=0, keepdim=True)
        groups = (groups - groups.mean(dim=2, keepdim=True)) / (spread + 1e-5).sqrt()
        gain, offset = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return groups.view_as(h) * gain[:, None, None] + offset[:, None, None]


def random_network(name: str) -> AdmUNet:
    """Gains that keep features of about unit variance, so that nothing hides in small numbers."""
    network, rng = AdmUNet(CONFIGS[name]), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            spread = 0.1 if parameter.ndim == 1 else parameter[0].numel() ** -0.5
            parameter.copy_(spread * torch.randn(parameter.shape, generator=rng) + (parameter.ndim == 1))
    return network.eval()


def an_input(network: AdmUNet) -> tuple[Tensor, Tensor]:
    x = torch.randn(2, network.config.image_channels, 8, 12, generator=torch.Generator().manual_seed(1))
    return x, torch.tensor([3.0, 741.0])


@pytest.mark.parametrize("name", CONFIGS)
def test_the_network_is_the_published_one(name: str) -> None:
    network = random_network(name)
    x, t = an_input(network)
    expected = Described(network)(x, t)
    assert float(expected.std()) > 0.1
    torch.testing.assert_close(network(x, t).double(), expected, atol=1e-5, rtol=1e-5)


def gradient_and_held(network: AdmUNet, autocast: bool = False) -> tuple[Tensor, int]:
    """Of the sum of squares with respect to the image; bytes held for it beside parameters and the image."""
    x, t = an_input(network)
    x.requires_grad_()
    own = {value.untyped_storage().data_ptr() for value in (x, *network.parameters())}
    held = {}

    def hold(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in own:
            held[storage.data_ptr()] = storage
        return value

    holding = torch.autograd.graph.saved_tensors_hooks(hold, lambda value: value)
    with holding, torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        out = network(x, t).square().sum()
    return torch.autograd.grad(out, x)[0], sum(storage.nbytes() for storage in held.values())


@pytest.mark.parametrize("name", CONFIGS)
def test_frozen_networks_have_the_same_gradients_and_hold_less(name: str) -> None:
    network = random_network(name)
    expected, held = gradient_and_held(network)
    found, held_frozen = gradient_and_held(network.requires_grad_(False))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert held_frozen < 0.7 * held


def test_gradients_under_autocast_are_close_to_those_in_float32() -> None:
    network = random_network("two heads").requires_grad_(False)
    (wide, _), (narrow, _) = gradient_and_held(network), gradient_and_held(network, autocast=True)
    assert narrow.dtype == torch.float32
    assert float((narrow - wide).norm()) < 0.05 * float(wide.norm())


@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_of_the_layers_are_those_of_their_formulae(frozen: bool) -> None:
    rng = torch.Generator().manual_seed(0)
    x, scale, shift = (torch.randn(shape, generator=rng).double() for shape in ((2, 32, 4, 4), (2, 32), (2, 32)))
    norm, conv = NormSilu(32, 32).double(), Convolution(32, 8, 3, padding=1).double()
    for layer in (norm, conv):
        layer.requires_grad_(not frozen)
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: conv(norm(x, scale, shift)), x, fast_mode=True)
    wide = F.group_norm(x, 32, norm.weight, norm.bias) * (1 + scale[:, :, None, None]) + shift[:, :, None, None]
    torch.testing.assert_close(conv(norm(x, scale, shift)), F.conv2d(F.silu(wide), conv.weight, conv.bias, padding=1))


def test_training_reaches_every_parameter() -> None:
    network = random_network("two blocks")
    network(*an_input(network)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())
