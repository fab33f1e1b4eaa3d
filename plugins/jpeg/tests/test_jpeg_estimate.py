"""The estimate of least error: in the cell, nearer than g(y), lazy, at any size, sampling and quality."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from idemcore.errors import InputError, MissingError
from idemcore.networks.residual_unet import ResidualUNet, denoise
from idemcore.pipeline.certify import certify
from idemcore.runtime import Runtime
from idemcore_jpeg import estimate
from idemcore_jpeg.estimate import DecodeDenoiser, Estimator, LoadedNetwork
from idemcore_jpeg.estimate_network import FEATURES, PLANES, Conditions, EstimateNetwork
from idemcore_jpeg.layout import Layout

CPU = Runtime(torch.device("cpu"), torch.float32)


def rms(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).square().mean().sqrt())


@pytest.mark.parametrize(
    ("size", "mode", "options"),
    [
        ((157, 203), "RGB", {"quality": 10}),
        ((64, 80), "RGB", {"quality": 5, "subsampling": "4:4:4"}),
        ((57, 90), "RGB", {"quality": 20, "subsampling": "4:2:2"}),
        ((72, 50), "L", {"quality": 10}),
        ((80, 64), "RGB", {"quality": 75, "progressive": True}),
        ((80, 64), "RGB", {"quality": 10, "subsampling": "4:4:4", "keep_rgb": True}),
    ],
)
def test_the_estimate_is_exact_and_nearer_than_the_decode(
    encoder: Callable[..., Any], make: SimpleNamespace, size: tuple[int, int], mode: str, options: dict[str, object]
) -> None:
    picture = make.natural(*size, seed=3)
    if mode == "L":
        picture = picture[:, :1].expand(-1, 3, -1, -1)
    cell = encoder().cell([make.pillow_jpeg(picture, mode, **options)])
    assert rms(cell.estimate, make.real(picture)) < rms(cell.centre, make.real(picture))
    assert certify(cell, cell.estimate).exact == [True]
    assert (cell.estimate_error < cell.distortion).all()
    if mode == "L":
        assert (cell.estimate == cell.estimate[:, :1]).all(), "a grey file has a grey estimate"


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (9, 7)])
@pytest.mark.parametrize("quality", [1, 100])
def test_tiny_pictures_and_the_ends_of_the_scale(
    encoder: Callable[..., Any], make: SimpleNamespace, size: tuple[int, int], quality: int
) -> None:
    cell = encoder().cell([make.pillow_jpeg(make.gradient(*size), quality=quality)])
    assert cell.estimate.shape == (1, 3, *size)
    assert cell.estimate.isfinite().all()
    torch.testing.assert_close(cell.project(cell.estimate), cell.estimate, atol=0.01, rtol=0)


def test_nothing_is_loaded_before_an_estimate_is_asked_for(
    encoder: Callable[..., Any], make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "read_safetensors", lambda *a: pytest.fail("the weights were read"))
    cell = encoder().cell([make.pillow_jpeg(make.natural(24, 24))])
    assert certify(cell, cell.centre).exact == [True]
    cell.project(cell.centre)


def test_one_network_serves_all_files_of_an_encoder(
    encoder: Callable[..., Any], make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    read = estimate.read_safetensors
    monkeypatch.setattr(estimate, "read_safetensors", lambda *a: (reads.append(a), read(*a))[1])
    one = encoder()
    for seed in range(2):
        cell = one.cell([make.pillow_jpeg(make.natural(24, 24, seed))])
        assert cell.estimate is cell.estimate
    assert len(reads) == 1


def test_without_a_network_the_estimate_is_the_decode(encoder: Callable[..., Any], make: SimpleNamespace) -> None:
    cell = encoder(estimate="none").cell([make.pillow_jpeg(make.natural(24, 24))])
    assert cell.estimate is cell.centre
    assert cell.estimate_error is cell.distortion


def test_weights_that_cannot_be_loaded_are_named_when_they_are_asked_for(
    encoder: Callable[..., Any], make: SimpleNamespace, tmp_path: Path
) -> None:
    data = make.pillow_jpeg(make.natural(24, 24))
    with pytest.raises(MissingError, match=r"absent\.safetensors"):
        _ = encoder(estimate=str(tmp_path / "absent.safetensors")).cell([data]).estimate
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"bad\.safetensors") as caught:
        _ = encoder(estimate=str(tmp_path / "bad.safetensors")).cell([data]).estimate
    assert "idem train jpeg-estimate" in caught.value.hint


def small_network(random: bool = True) -> EstimateNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = EstimateNetwork((8, 8, 8, 8), 1, 16)
        for parameter in network.parameters():
            if random:
                torch.nn.init.normal_(parameter, std=0.1)
    return network.requires_grad_(False)


def test_a_network_that_starts_from_a_prior_denoises_as_the_prior_does() -> None:
    prior, network = ResidualUNet((8, 8), 1, 16), EstimateNetwork((8, 8), 1, 16)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        torch.nn.init.normal_(prior.tail.weight, std=0.1)
    network.start_from(prior.state_dict())
    x, label = torch.rand(2, 3, 16, 16) * 2 - 1, torch.tensor([0.1, 0.2])
    with torch.no_grad():
        found = network.estimate(x, torch.rand(2, PLANES, 16, 16), label, torch.rand(2, FEATURES))
        torch.testing.assert_close(found, denoise(prior, x, label))


def test_conditions_know_tables_and_grid_of_every_sampling() -> None:
    tables = torch.arange(1, 65).repeat(6, 1)
    tables[4:] += 100
    periods = {"4:4:4": (8, 8), "4:2:2": (8, 16), "4:2:0": (16, 16)}
    for name, period in periods.items():
        layout = Layout(48, 48, name)
        blocks = layout.blocks
        conditions = Conditions.of(layout, tables[6 - blocks :] if blocks == 6 else tables[[0] * (blocks - 2) + [4, 5]])
        assert (conditions.luma_period, conditions.chroma_period) == ((8, 8), period)
        assert conditions.luma[0] == 1
        assert conditions.chroma[0] == 101
        planes = conditions.planes(40, 24)
        assert planes.shape == (PLANES, 40, 24)
        torch.testing.assert_close(planes[0, 8:16, 8:16], planes[0, :8, :8])
        torch.testing.assert_close(planes[0, :8, :8], conditions.luma.log2().view(8, 8) / 4 - 1)
        stretch = [p // 8 for p in period]
        wide = conditions.chroma.log2().view(8, 8).repeat_interleave(stretch[0], 0).repeat_interleave(stretch[1], 1)
        torch.testing.assert_close(planes[1, : period[0], : period[1]], wide / 4 - 1)
        assert conditions.features.shape == (FEATURES,)
    grey = Conditions.of(Layout(8, 8, "grey"), tables[:1])
    assert grey.grey
    assert torch.equal(grey.luma, grey.chroma)


def test_a_large_picture_in_tiles_is_that_of_one_piece(
    encoder: Callable[..., Any], make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = encoder().cell([make.pillow_jpeg(make.natural(200, 430), quality=10)])
    whole, calls, single = cell.estimator.image(cell.box, cell.centre), [], DecodeDenoiser.denoise
    monkeypatch.setattr(DecodeDenoiser, "window", 192)
    monkeypatch.setattr(DecodeDenoiser, "denoise", lambda *a: (calls.append(a[1].shape), single(*a))[1])
    tiled = cell.estimator.image(cell.box, cell.centre)
    assert len(calls) > 4
    assert max(max(shape[-2:]) for shape in calls) <= 192
    assert rms(tiled, whole) < 0.1 / 255


def test_tiles_begin_at_corners_of_mcus(make: SimpleNamespace, encoder: Callable[..., Any]) -> None:
    for sampling, multiple in (("4:4:4", 8), ("4:2:2", 16), ("4:2:0", 16)):
        data = make.pillow_jpeg(make.natural(40, 40), subsampling=sampling)
        assert DecodeDenoiser(small_network(), encoder().cell([data]).box, CPU).multiple == multiple


def test_the_expected_error_is_interpolated_between_measured_qualities(
    encoder: Callable[..., Any], make: SimpleNamespace
) -> None:
    box = encoder().cell([make.pillow_jpeg(make.natural(24, 24), quality=10)]).box
    label = Conditions.of(box.layout, box.tables[0, 0, 0]).label
    estimator = Estimator("bundled", CPU)
    estimator.loaded = LoadedNetwork(small_network(), ([label - 0.01, label + 0.01], [0.8, 0.9]))
    torch.testing.assert_close(estimator.error_share(box), torch.tensor([0.85]))
