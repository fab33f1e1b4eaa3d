"""The network is StyleGAN2: by its definition, an image and a kernel at a time, and by properties of its parts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from idemcore_stylegan.network import StyleGan, StyleGanConfig, mean_w
from idemcore_stylegan.ops import downsampled_convolution, upsample, upsampled_convolution

FILTER = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64).outer(torch.tensor([1.0, 3.0, 3.0, 1.0]).double()) / 64


def linear(state: dict[str, Tensor], name: str, x: Tensor, rate: float = 1.0) -> Tensor:
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    return (weight * rate / math.sqrt(weight.shape[1])) @ x + bias * rate


def leaky(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.2 * x) * math.sqrt(2)


def zeros_between(x: Tensor) -> Tensor:
    """[C,H,W] -> [C,2H,2W] with each pixel at the upper left of its four."""
    out = x.new_zeros(x.shape[0], 2 * x.shape[1], 2 * x.shape[2])
    out[:, ::2, ::2] = x
    return out


def filtered(x: Tensor, before: int, after: int) -> Tensor:
    padded = F.pad(x[:, None], (before, after, before, after))
    return F.conv2d(padded, 4 * FILTER[None, None])[:, 0]


def convolution(state: dict[str, Tensor], name: str, x: Tensor, w: Tensor, noise: Tensor, clamp: float) -> Tensor:
    """One image [C,H,W], its own kernel."""
    kernel = state[f"{name}.weight"] * linear(state, f"{name}.affine", w)[:, None, None]
    kernel = kernel / (kernel.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
    if name.endswith("conv0"):
        # A transposed convolution of stride 2 is a convolution, with the kernel turned around, between zeros.
        spread = zeros_between(x)[:, :-1, :-1]
        x = filtered(F.conv2d(F.pad(spread, (2, 2, 2, 2))[None], kernel.flip(2, 3))[0], 1, 1)
    else:
        x = F.conv2d(x[None], kernel, padding=1)[0]
    x = x + noise * state[f"{name}.noise_strength"] + state[f"{name}.bias"][:, None, None]
    return leaky(x).clamp(-clamp, clamp)


def by_definition(network: StyleGan, z: Tensor) -> Tensor:
    """RGB [3,R,R] of one latent [z], in float64, with constant noise."""
    state = {name: value.double() for name, value in network.state_dict().items()}
    clamp, w = network.config.clamp, z.double() / (z.double().square().mean() + 1e-8).sqrt()
    for index in range(network.config.mapping_layers):
        w = leaky(linear(state, f"mapping.fc{index}", w, 0.01))
    x, rgb = state["synthesis.b4.const"], None
    for side in (4, 8, 16):
        block = f"synthesis.b{side}"
        for name in (f"{block}.conv0", f"{block}.conv1")[side == 4 :]:
            x = convolution(state, name, x, w, state[f"{name}.noise_const"], clamp)
        style = linear(state, f"{block}.torgb.affine", w) / math.sqrt(len(x))
        colour = torch.einsum("oc,c,chw->ohw", state[f"{block}.torgb.weight"][:, :, 0, 0], style, x)
        colour = (colour + state[f"{block}.torgb.bias"][:, None, None]).clamp(-clamp, clamp)
        rgb = colour if rgb is None else filtered(zeros_between(rgb), 2, 1) + colour
    return rgb


@pytest.mark.parametrize(("clamp", "colours"), [(math.inf, 3), (1.5, 3), (math.inf, 1)])
def test_images_are_those_of_the_definition(
    clamp: float, colours: int, small: StyleGanConfig, random_network: Callable[[StyleGanConfig], StyleGan]
) -> None:
    network = random_network(replace(small, clamp=clamp, colours=colours))
    z = torch.randn(3, small.z, generator=torch.Generator().manual_seed(1))
    images = network(z, network.synthesis.constant_noise())
    expected = torch.stack([by_definition(network, latent) for latent in z])
    assert images.shape == (3, colours, 16, 16)
    torch.testing.assert_close(images.double(), expected, atol=1e-5 * float(expected.abs().max()), rtol=0)


def test_noise_is_given_coarse_to_fine(network: StyleGan) -> None:
    z, noise = torch.randn(1, network.mapping.z), network.synthesis.constant_noise()
    assert noise.shape == (1, 16 + 2 * 64 + 2 * 256)
    changed = noise.clone()
    changed[0, -256:] = 0
    network.synthesis.b16.conv1.noise_const.zero_()
    assert network(z, changed).equal(network(z, network.synthesis.constant_noise()))
    assert not network(z, changed).equal(network(z, noise))


def test_bfloat16_is_near(network: StyleGan) -> None:
    z, noise = torch.randn(4, network.mapping.z), network.synthesis.constant_noise()
    exact, near = network(z, noise), network(z, noise, torch.bfloat16)
    assert near.dtype == torch.float32
    assert (near - exact).square().mean().sqrt() < 0.02 * exact.square().mean().sqrt()
    assert not near.equal(exact)


def test_resampling_keeps_ramps_in_place() -> None:
    """Pixels lie at the middle of their squares: 2x2 small ones around one large one."""
    ramp = torch.arange(12.0).expand(1, 1, 12, 12)
    small = upsample(ramp)[0, 0, 8, 4:-4]
    torch.testing.assert_close(small, (torch.arange(4, 20) - 0.5) / 2)
    large = downsampled_convolution(ramp, torch.ones(1, 1, 1, 1), None)[0, 0, 3, 1:-1]
    torch.testing.assert_close(large, 2.0 * torch.arange(1, 5) + 0.5)
    identity = torch.zeros(1, 1, 3, 3)
    identity[..., 1, 1] = 1
    torch.testing.assert_close(downsampled_convolution(ramp, identity, None)[0, 0, 3, 1:-1], large)
    torch.testing.assert_close(upsampled_convolution(ramp, identity)[0, 0, 8, 4:-4], small)


def test_the_mean_of_w_is_that_of_many_draws(network: StyleGan) -> None:
    z = torch.randn(20_000, network.mapping.z, generator=torch.Generator().manual_seed(5))
    w = network.mapping(z)
    spread = w.std(dim=0) / math.sqrt(len(z))
    assert ((mean_w(network.mapping) - w.mean(dim=0)).abs() < 6 * spread * math.sqrt(3)).all()
    assert mean_w(network.mapping).equal(mean_w(network.mapping))
