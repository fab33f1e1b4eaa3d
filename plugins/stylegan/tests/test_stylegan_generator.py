"""The latent generator: its latents, its layers, and that an image depends on nothing that stands beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from idemcore.errors import MissingError
from idemcore.noise import Noise
from idemcore.plugins.catalogue import load_catalogue
from idemcore.plugins.selection import configure
from idemcore.runtime import Runtime
from idemcore_stylegan import weights
from idemcore_stylegan.config import FacesConfig, StyleGanSettings
from idemcore_stylegan.generator import StyleGanGenerator
from idemcore_stylegan.network import StyleGan, StyleGanConfig

Build = Callable[..., StyleGanGenerator]


@pytest.fixture
def build(network: StyleGan, tmp_path: Path, runtime: Runtime) -> Build:
    """`build(noise="latent", ...)`: the small network as a generator with these settings."""
    save_file(network.state_dict(), tmp_path / "small.safetensors")

    def make(dtype: torch.dtype = torch.float32, **settings: object) -> StyleGanGenerator:
        return StyleGanGenerator(
            StyleGanSettings(str(tmp_path / "small.safetensors"), **settings), replace(runtime, dtype=dtype)
        )

    return make


def test_images_are_those_of_the_network(build: Build, network: StyleGan) -> None:
    generator = build()
    z = generator.sample(Noise([1, 2]))
    assert z.shape == (2, *generator.latent_shape)
    assert generator.size == (16, 16)
    expected = (network(z, network.synthesis.constant_noise()) + 1) / 2
    torch.testing.assert_close(generator.synthesize(z), expected)


@pytest.mark.parametrize("noise", ["constant", "latent"])
def test_an_image_does_not_depend_on_the_batch_or_the_threads(build: Build, noise: str) -> None:
    generator = build(noise=noise)
    seeds, threads = list(range(16)), torch.get_num_threads()
    together = generator.synthesize(generator.sample(Noise(seeds)))
    for batch in (1, 4):
        parts = [generator.synthesize(generator.sample(Noise(seeds[k : k + batch]))) for k in range(0, 16, batch)]
        assert torch.cat(parts).equal(together)
    try:
        torch.set_num_threads(threads % 2 + 1)
        torch.testing.assert_close(generator.synthesize(generator.sample(Noise(seeds))), together, atol=1e-5, rtol=0)
    finally:
        torch.set_num_threads(threads)


def test_noise_is_a_part_of_the_latent_on_demand(build: Build, network: StyleGan) -> None:
    constant, latent = build(), build(noise="latent")
    z = latent.sample(Noise([7, 8]))
    assert latent.latent_shape == (20 + network.synthesis.noise,)
    assert z[:, :20].equal(constant.sample(Noise([7, 8]))), "the same seed has the same z"
    expected = (network(z[:, :20], z[:, 20:]) + 1) / 2
    torch.testing.assert_close(latent.synthesize(z), expected)
    torch.testing.assert_close(z[:, 20:].std(), torch.tensor(1.0), atol=0.1, rtol=0)


@pytest.mark.parametrize("noise", ["constant", "latent"])
def test_every_layer_makes_the_same_image_of_its_activations(build: Build, noise: str) -> None:
    generator = build(noise=noise)
    z = generator.sample(Noise([3, 4]))
    image = generator.synthesize(z)
    activations: tuple[torch.Tensor, ...] = (z,)
    assert generator.layers == 4
    for layer in range(generator.layers):
        activations = generator.advance(activations, max(0, layer - 1), layer)
        assert all(one.equal(other) for one, other in zip(activations, generator.advance((z,), 0, layer), strict=True))
        assert generator.synthesize_from(activations, layer).equal(image)
        variables = tuple(value.clone().requires_grad_() for value in activations)
        slopes = torch.autograd.grad(generator.synthesize_from(variables, layer).square().sum(), variables)
        assert all(slope.flatten(1).any(dim=1).all() for slope in slopes), "each can be searched in"


def test_the_shapes_of_activations_are_as_told(build: Build) -> None:
    generator = build(noise="latent")
    z = generator.sample(Noise([3, 4, 5]))
    shapes = [[tuple(t.shape) for t in generator.advance((z,), 0, layer)] for layer in range(1, 4)]
    assert shapes[0] == [(3, 6, 16), (3, 656)]
    assert shapes[1] == [(3, 12, 4, 4), (3, 3, 4, 4), (3, 5, 16), (3, 640)]
    assert shapes[2] == [(3, 10, 8, 8), (3, 3, 8, 8), (3, 3, 16), (3, 512)]


def test_images_are_made_from_w_too(build: Build, network: StyleGan) -> None:
    generator = build()
    z = generator.sample(Noise([5]))
    w = network.mapping(z)
    assert generator.synthesize_from((generator.spread(w),), 1).equal(generator.synthesize(z))


def test_truncation_moves_w_towards_its_mean(build: Build, network: StyleGan) -> None:
    z = build().sample(Noise([5, 6]))
    (whole,), (half,), (none,) = (build(truncation=psi).advance((z,), 0, 1) for psi in (1.0, 0.5, 0.0))
    mean = network.mapping.w_avg.expand_as(whole)
    torch.testing.assert_close(half, (whole + mean) / 2)
    torch.testing.assert_close(none, mean)
    assert build().w_mean.equal(network.mapping.w_avg)


def test_grey_networks_make_rgb(
    random_network: Callable[[StyleGanConfig], StyleGan], small: StyleGanConfig, tmp_path: Path, runtime: Runtime
) -> None:
    save_file(random_network(replace(small, colours=1)).state_dict(), tmp_path / "grey.safetensors")
    generator = StyleGanGenerator(FacesConfig(str(tmp_path / "grey.safetensors")), runtime)
    image = generator.synthesize(generator.sample(Noise([0])))
    assert image.shape == (1, 3, 16, 16)
    assert (image == image[:, :1]).all()
    assert image.std() > 0


def test_half_precision_is_near(build: Build) -> None:
    z = build().sample(Noise([1, 2]))
    exact, near = build().synthesize(z), build(torch.bfloat16).synthesize(z)
    assert near.dtype == torch.float32
    assert (near - exact).square().mean().sqrt() < 0.02 * exact.std()


def test_without_weights_the_bundled_one_says_how_to_train_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, runtime: Runtime
) -> None:
    monkeypatch.setattr(weights, "BUNDLED", tmp_path / "stylegan2-faces64.safetensors")
    with pytest.raises(MissingError, match=r"stylegan2-faces64\.safetensors.*idem train stylegan") as caught:
        StyleGanGenerator(FacesConfig(), runtime)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("setting", "value"), [("noise", "random"), ("truncation", -0.5), ("truncation", float("nan"))]
)
def test_settings_that_cannot_be_right_are_refused(setting: str, value: object) -> None:
    with pytest.raises(ValueError, match=setting):
        StyleGanSettings(**{setting: value})


@pytest.mark.parametrize("name", ["stylegan2-faces64", "stylegan2-ffhq"])
def test_the_generators_are_found_with_their_settings(name: str) -> None:
    config = configure(load_catalogue().resolve("generator", name), {"truncation": 0.7, "noise": "latent"}, "generator")
    assert isinstance(config, StyleGanSettings)
    assert (config.truncation, config.noise) == (0.7, "latent")
