"""The other models of CompressAI's zoo against CompressAI's own, with the same random weights."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from compressai.models import (
    Cheng2020Anchor,
    Cheng2020Attention,
    FactorizedPrior,
    JointAutoregressiveHierarchicalPriors,
)

from idemcore.learned.config import LearnedConfig
from idemcore.learned.encoder import LearnedEncoder
from idemcore.learned.model import Front
from idemcore.pipeline.certify import certify
from idemcore.pipeline.codec import Codec, open_bitstream
from idemcore.runtime import Runtime
from idemcore.weights.checkpoints import write_safetensors
from idemcore.weights.store import cache_folder
from idemcore_hyperprior.weights import adapt
from idemcore_hyperprior.zoo import Autoregressive, ChengAnchor, ChengAttention, Factorized, network_for

CPU = Runtime(torch.device("cpu"), torch.float32)
ZOO: dict[str, tuple[Any, Any, tuple[int, ...]]] = {
    "bmshj2018-factorized": (FactorizedPrior, Factorized, (8, 12)),
    "mbt2018": (JointAutoregressiveHierarchicalPriors, Autoregressive, (8, 12)),
    "cheng2020-anchor": (Cheng2020Anchor, ChengAnchor, (12,)),
    "cheng2020-attn": (Cheng2020Attention, ChengAttention, (12,)),
}
AUTOREGRESSIVE = [name for name in ZOO if name != "bmshj2018-factorized"]


def theirs(name: str) -> Any:
    """CompressAI's model, with weights under which latents take a few levels."""
    kind, _, widths = ZOO[name]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = kind(*widths).eval()
        last = [module for module in model.g_a.modules() if isinstance(module, torch.nn.Conv2d)][-1]
        last.weight.mul_(40)
        if hasattr(model, "context_prediction"):
            model.context_prediction.weight.mul_(3 * model.context_prediction.mask)
            model.entropy_parameters[-1].bias[: model.M].add_(1.0)
    return model


def encoder(name: str) -> LearnedEncoder:
    """Ours, of what is kept of their state dict."""
    state, _ = adapt(theirs(name).state_dict())
    model = network_for(state)
    model.load_state_dict(state)
    assert type(model) is ZOO[name][1]
    with torch.no_grad():
        model.entropy_bottleneck.fit_quantiles()
    return LearnedEncoder(model, b"zoo!", CPU, LearnedConfig())


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("size", [(1, 1), (40, 70), (64, 128)])
def test_any_size_is_coded_and_comes_back(name: str, size: tuple[int, int], make: SimpleNamespace) -> None:
    codec, image = encoder(name), make.real(make.picture(1, *size))
    stream = codec.encode(image)
    found, sent = codec.latents(stream, size), codec.coder.quantise(*codec.analyse(image))
    assert torch.equal(found.y_hat, sent.y_hat)
    assert torch.equal(found.z_hat, sent.z_hat)
    assert codec.decode(stream, size).shape == (1, 3, *size)
    cell = codec.cell(stream, size)
    assert cell.contains(make.picture(1, *size)).tolist() == [True]
    assert float(cell.position(image).abs().max()) <= 0.5


@pytest.mark.parametrize("name", ZOO)
def test_the_networks_give_what_those_of_compressai_give(name: str, make: SimpleNamespace) -> None:
    codec, model, image = encoder(name), theirs(name), make.real(make.picture(1, 64, 64))
    found = codec.latents(codec.encode(image), (64, 64))
    y_hat = found.y_hat.float()
    assert float(y_hat.std()) > 0.2, "latents take a few levels"
    with torch.no_grad():
        assert float((model.g_a(image) - y_hat).abs().max()) <= 0.5 + 1e-4
        torch.testing.assert_close(codec.decode(codec.encode(image), (64, 64)), model.g_s(y_hat).clamp(0, 1))
        if name == "bmshj2018-factorized":
            return
        context = model.context_prediction(y_hat)
        scales, means = model.entropy_parameters(torch.cat([model.h_s(found.z_hat.float()), context], 1)).chunk(2, 1)
    torch.testing.assert_close(found.scales.float(), scales.clamp(min=0.11), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found.means.float(), means, rtol=0, atol=1 / 128 + 1e-3)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (4, 1), (5, 9)])
def test_fronts_cover_every_position_once_after_those_that_it_sees(size: tuple[int, int]) -> None:
    fronts = encoder("mbt2018").model.order(size)
    assert all(isinstance(front, Front) for front in fronts)
    when = torch.full(size, -1)
    for step, front in enumerate(fronts):
        mask = front.mask(*size)
        assert bool((when[mask] == -1).all())
        when[mask] = step
    assert int(when.min()) >= 0
    for row in range(size[0]):
        for column in range(size[1]):
            above = when[max(row - 2, 0) : row, max(column - 2, 0) : column + 3]
            left = when[row, max(column - 2, 0) : column]
            assert bool((torch.cat([above.flatten(), left]) < when[row, column]).all())


@pytest.mark.parametrize("name", AUTOREGRESSIVE)
def test_a_front_alone_has_the_gaussians_of_the_whole(name: str) -> None:
    model, rng = encoder(name).model, torch.Generator().manual_seed(0)
    hyper, y = torch.randn(2, 2 * model.latents, 5, 6, generator=rng), torch.randn(2, 12, 5, 6, generator=rng)
    with torch.no_grad():
        whole = model.gaussian(slice(0, 12), hyper, y)
        for front in model.order((5, 6)):
            mask = front.mask(5, 6)
            for one, both in zip(model.gaussian_at(front, mask, hyper, y), whole, strict=True):
                torch.testing.assert_close(one, both[..., mask], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ZOO)
def test_an_image_nearby_is_certified(name: str, make: SimpleNamespace) -> None:
    codec, image = encoder(name), make.picture(1, 40, 50)
    cell = codec.cell(codec.encode(make.real(image)), (40, 50))
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    assert certify(cell, (make.real(image) + 0.02 * noise).clamp(0, 1)).exact == [True]


@pytest.mark.parametrize("name", AUTOREGRESSIVE)
def test_scales_are_widened_where_they_are_made(name: str) -> None:
    model = encoder(name).model
    hyper, y = torch.randn(1, 24, 3, 3), torch.randn(1, 12, 3, 3)
    gains = torch.linspace(0.5, 2, 12)
    with torch.no_grad():
        means, scales = model.gaussian(slice(0, 12), hyper, y)
        model.widen(gains)
        same, wider = model.gaussian(slice(0, 12), hyper, y)
    torch.testing.assert_close(same, means)
    torch.testing.assert_close(wider, scales * gains.view(-1, 1, 1))


@pytest.mark.parametrize("name", ZOO)
def test_a_published_file_is_stored_and_identified(
    name: str, make: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDEM_CACHE", str(tmp_path))
    state, metadata = adapt(theirs(name).state_dict())
    cache_folder().mkdir(parents=True, exist_ok=True)
    write_safetensors(cache_folder() / f"{name}-1.safetensors", state, metadata)
    written = Codec.load("hyperprior", CPU, weights=name, quality=1).encode(make.real(make.picture(1, 20, 40)))
    assert torch.equal(open_bitstream(written.data, runtime=CPU).decoded, written.decoded)
