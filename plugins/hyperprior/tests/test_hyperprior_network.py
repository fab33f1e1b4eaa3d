"""The networks and their entropy models against CompressAI's own with the same parameters."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from compressai.entropy_models import EntropyBottleneck, GaussianConditional
from compressai.models import CompressionModel, MeanScaleHyperprior, ScaleHyperprior

from idemcore.learned.factorized import FactorizedDensity
from idemcore.learned.model import gaussian_likelihood
from idemcore.learned.published import DERIVED
from idemcore.plugins.registry import registry_folder
from idemcore.runtime import Runtime
from idemcore_hyperprior.config import HyperpriorConfig
from idemcore_hyperprior.encoder import HyperpriorEncoder
from idemcore_hyperprior.network import Hyperprior, MeanHyperprior
from idemcore_hyperprior.zoo import network_for

CPU = Runtime(torch.device("cpu"), torch.float32)
DATA = Path(__file__).parent / "data"
THEIRS: dict[str, type[CompressionModel]] = {"scale": ScaleHyperprior, "mean": MeanScaleHyperprior}


def theirs(kind: str, own: Hyperprior) -> CompressionModel:
    """CompressAI's model with the weights of ours."""
    with torch.random.fork_rng(devices=[]):
        model = THEIRS[kind](own.entropy_bottleneck.quantiles.shape[0], own.latents)
    state = model.state_dict()
    assert all(DERIVED.fullmatch(name) for name in state.keys() - own.state_dict().keys())
    model.load_state_dict({**state, **own.state_dict()})
    model.update(force=True)
    return model.eval()


def densities() -> tuple[FactorizedDensity, EntropyBottleneck]:
    """Ours and CompressAI's, of the same skewed parameters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        own, their = FactorizedDensity(5), EntropyBottleneck(5)
        for parameter in [*own.biases, *own.factors]:
            torch.nn.init.normal_(parameter, std=1.5)
    own.fit_quantiles()
    missing, unexpected = their.load_state_dict(own.state_dict(), strict=False)
    assert not unexpected
    assert not any("matri" in name or "bias" in name or "factor" in name or "quantiles" in name for name in missing)
    return own, their.eval()


def test_the_density_of_z_is_that_of_compressai() -> None:
    own, their = densities()
    z = 8 * torch.randn(2, 5, 6, 7, generator=torch.Generator().manual_seed(1))
    flat = z.transpose(0, 1).flatten(1)[:, None]
    torch.testing.assert_close(own.logits(flat), their._logits_cumulative(flat, stop_gradient=False))
    quantised, likelihood = their(z, training=False)
    torch.testing.assert_close(own.likelihood(quantised).clamp(min=1e-9), likelihood, rtol=1e-4, atol=3e-7)
    assert torch.equal((z - own.medians).round() + own.medians, quantised)


def test_fitted_quantiles_are_what_compressai_trains_them_for() -> None:
    own, their = densities()
    before = their.loss()
    with torch.no_grad():
        their.quantiles.add_(0.5)
    assert before < 1e-3 * their.loss()


def test_the_gaussian_likelihood_is_that_of_compressai() -> None:
    rng = torch.Generator().manual_seed(0)
    y, means = 5 * torch.randn(2, 3, 4, 5, generator=rng), torch.randn(2, 3, 4, 5, generator=rng)
    scales = 4 * torch.rand(2, 3, 4, 5, generator=rng)
    _, their = GaussianConditional(None)(y, scales, means, training=False)
    quantised = (y - means).round() + means
    own = gaussian_likelihood(quantised, means, scales.clamp(min=0.11)).clamp(min=1e-9)
    torch.testing.assert_close(own, their, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("size", [(64, 64), (128, 192)])
def test_multiples_of_64_have_the_symbols_of_compressai(size: tuple[int, int], make: SimpleNamespace) -> None:
    """With the bundled weights; decoded from our stream, and as CompressAI writes and reads them itself."""
    codec, image = HyperpriorEncoder(HyperpriorConfig(quality=2), CPU), make.real(make.picture(1, *size))
    model = theirs("scale", codec.model)
    found = codec.latents(codec.encode(image), size)
    with torch.no_grad():
        written = model.compress(image)
        z_hat = model.entropy_bottleneck.decompress(written["strings"][1], written["shape"])
        indexes = model.gaussian_conditional.build_indexes(model.h_s(z_hat))
        y_hat = model.gaussian_conditional.decompress(written["strings"][0], indexes, z_hat.dtype)
    assert torch.equal(found.y_hat.float(), y_hat)
    torch.testing.assert_close(found.z_hat.float(), z_hat, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", THEIRS)
def test_the_networks_give_what_those_of_compressai_give(kind: str, make: SimpleNamespace) -> None:
    codec, image = make.codec(kind), make.real(make.picture(2))
    model = theirs(kind, codec.model)
    streams = codec.encode(image)
    found = codec.latents(streams, (64, 64))
    with torch.no_grad():
        y = model.g_a(image)
        z_hat, _ = model.entropy_bottleneck(model.h_a(y if kind == "mean" else y.abs()))
        hyper = model.h_s(z_hat)
        drawn = model.g_s(found.y_hat.float()).clamp(0, 1)
        expected = model(image)["x_hat"].clamp(0, 1)
    scales, means = hyper.chunk(2, 1) if kind == "mean" else (hyper, torch.zeros_like(hyper))
    torch.testing.assert_close(found.z_hat.float(), z_hat)
    torch.testing.assert_close(found.scales.float(), scales.clamp(min=0.11), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.means.float(), means, rtol=0, atol=1 / 128 + 1e-4)
    decoded = codec.decode(streams, (64, 64))
    torch.testing.assert_close(decoded, drawn, rtol=0, atol=1e-5)
    if kind == "scale":  # which knows no means, so that nothing is rounded to the grid
        torch.testing.assert_close(decoded, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", THEIRS)
def test_streams_are_as_long_as_those_of_compressai(kind: str, make: SimpleNamespace) -> None:
    codec = make.codec(kind)
    image = make.real(make.picture(1, 256, 256))
    (y_string,), (z_string,) = theirs(kind, codec.model).compress(image)["strings"]
    (stream,) = codec.encode(image)
    assert len(stream) < 1.01 * (len(y_string) + len(z_string)) + 2


@pytest.mark.parametrize(("file", "shape"), [("hyperprior_q1-5", (128, 192)), ("hyperprior_q6-8", (192, 320))])
def test_names_and_shapes_are_those_of_the_published_checkpoints(file: str, shape: tuple[int, int]) -> None:
    published = json.loads((DATA / f"{file}.json").read_text())
    state = {name: torch.zeros(size) for name, size in published.items()}
    model = network_for(state)
    own = {name: list(value.shape) for name, value in model.state_dict().items()}
    assert type(model) is Hyperprior
    assert (model.entropy_bottleneck.quantiles.shape[0], model.latents) == shape
    assert own == {name: size for name, size in published.items() if name in own}
    assert all(DERIVED.fullmatch(name) for name in published if name not in own)
    card = yaml.safe_load((registry_folder() / "models" / "bmshj2018-hyperprior.yaml").read_text(encoding="utf-8"))
    assert str(sum(p.numel() for p in model.parameters())) in str(card["parameters"])


def test_the_kind_and_the_widths_are_read_from_the_weights() -> None:
    for kind, model in (("scale", Hyperprior), ("mean", MeanHyperprior)):
        with torch.random.fork_rng(devices=[]):
            state = THEIRS[kind](6, 10).state_dict()
        before = torch.get_rng_state()
        network = network_for(state)
        assert torch.equal(torch.get_rng_state(), before)
        assert type(network) is model
        assert (network.latents, network.h_a[0].out_channels) == (10, 6)
        own = network.state_dict()
        assert {name: value.shape for name, value in own.items()} == {
            name: value.shape for name, value in state.items() if not DERIVED.fullmatch(name)
        }


@pytest.mark.parametrize("kind", [Hyperprior, MeanHyperprior])
def test_the_entropy_model_begins_at_the_spread_that_it_is_told(kind: type[Hyperprior]) -> None:
    rng, spread = torch.Generator().manual_seed(0), torch.linspace(0.5, 40, 12)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = kind(8, 12)
        normal = torch.randn(2, 12, 16, 16, generator=rng)
        z = model.hyper_analysis(normal)
        model.set_spread(spread)
        torch.testing.assert_close(model.hyper_analysis(spread.view(1, 12, 1, 1) * normal), z)
        means, scales = model.gaussians(model.h_s(z), normal)
    assert (means.abs().mean(dim=(0, 2, 3)) < 0.5 * spread).all()
    ratio = scales.mean(dim=(0, 2, 3)) / spread
    assert 0.5 < float(ratio.min()) <= float(ratio.max()) < 2


@pytest.mark.parametrize("kind", [Hyperprior, MeanHyperprior])
def test_widening_multiplies_the_scales_of_each_channel_and_no_mean(kind: type[Hyperprior]) -> None:
    rng, gains = torch.Generator().manual_seed(0), torch.linspace(0.5, 2, 12)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = kind(8, 12)
        y = torch.randn(2, 12, 16, 16, generator=rng)
        hyper = model.h_s(model.hyper_analysis(y))
        means, scales = model.gaussians(hyper, y)
        model.widen(gains)
        same, wider = model.gaussians(model.h_s(model.hyper_analysis(y)), y)
    torch.testing.assert_close(same, means)
    torch.testing.assert_close(wider, gains.view(1, 12, 1, 1) * scales)


@pytest.mark.parametrize("kind", ["scale", "mean"])
def test_nothing_beyond_the_halo_moves_a_latent_or_a_pixel(make: SimpleNamespace, kind: str) -> None:
    model, image = make.model(kind).eval(), torch.rand(1, 3, 64, 192)
    changed = image.clone()
    changed[..., :16] += 1
    y = image.new_zeros(1, model.latents, 4, 12).normal_(generator=torch.Generator().manual_seed(0))
    moved = y.clone()
    moved[..., 0] += 1
    with torch.no_grad():
        latents = model.g_a(image) != model.g_a(changed)
        pixels = model.g_s(y) != model.g_s(moved)
    assert latents[..., : model.halo].any()
    assert not latents[..., 1 + model.halo :].any()
    assert pixels[..., : 16 * model.halo].any()
    assert not pixels[..., 16 * (1 + model.halo) :].any()
