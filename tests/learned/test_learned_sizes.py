"""Only latents that cover pixels are coded, constrained and trained on, by one rule, at every image size."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from idemcore.learned.config import CodecTrainConfig
from idemcore.learned.encoder import LearnedEncoder
from idemcore.learned.model import hyper_size, latent_size, padded, repeated
from idemcore.learned.training import CodecTraining

SIZES = [(1, 1), (16, 17), (33, 64), (65, 63), (129, 128), (157, 203)]


@pytest.fixture(scope="module")
def codec(make: SimpleNamespace) -> LearnedEncoder:
    return make.codec()


@pytest.mark.parametrize("size", SIZES)
def test_each_latent_covers_pixels(codec: LearnedEncoder, make: SimpleNamespace, size: tuple[int, int]) -> None:
    height, width = latent_size(size)
    assert (16 * (height - 1) < size[0] <= 16 * height, 16 * (width - 1) < size[1] <= 16 * width) == (True, True)
    image = make.real(make.picture(1, *size))
    y, z = codec.analyse(image)
    assert y.shape[-2:] == (height, width)
    assert z.shape[-2:] == hyper_size((height, width)) == (-(-size[0] // 64), -(-size[1] // 64))
    streams = codec.encode(image)
    latents, cell = codec.latents(streams, size), codec.cell(streams, size)
    assert (latents.y_hat.shape, latents.z_hat.shape) == (y.shape, z.shape)
    assert cell.position(image).shape == (1, y.numel() + z.numel())


@pytest.mark.parametrize("size", [(64, 64), (128, 192)])
def test_whole_sizes_are_not_padded(codec: LearnedEncoder, make: SimpleNamespace, size: tuple[int, int]) -> None:
    """So that multiples of 64 have the symbols that they always had."""
    image = make.real(make.picture(1, *size))
    y, z = codec.analyse(image)
    with torch.no_grad():
        assert torch.equal(y, codec.model.g_a(image))
        assert torch.equal(z, codec.model.h_a(y))


@pytest.mark.parametrize("size", SIZES)
def test_the_image_and_the_latents_are_continued_by_their_last_row_and_column(
    codec: LearnedEncoder, make: SimpleNamespace, size: tuple[int, int]
) -> None:
    image = make.real(make.picture(1, *size))
    y, z = codec.analyse(image)
    with torch.no_grad():
        bottom, right = -size[0] % 16, -size[1] % 16
        assert torch.equal(y, codec.model.g_a(F.pad(image, (0, right, 0, bottom), mode="replicate")))
        bottom, right = -y.shape[2] % 4, -y.shape[3] % 4
        assert torch.equal(z, codec.model.h_a(F.pad(y, (0, right, 0, bottom), mode="replicate")))


def test_what_is_whole_already_is_not_continued() -> None:
    x = torch.rand(1, 2, 32, 48)
    assert torch.equal(padded(x), x)
    assert repeated(x, 5).shape == (1, 2, 35, 50)


def test_beyond_the_pixels_nothing_is_paid_for(codec: LearnedEncoder, make: SimpleNamespace) -> None:
    """An image of 65x65 pixels has 25 latents a channel; padded to multiples of 64 it would have 64."""
    image = make.real(make.picture(1, 65, 65))
    whole = repeated(image, 64)
    assert len(codec.encode(image)[0]) < 0.75 * len(codec.encode(whole)[0])


@pytest.mark.parametrize("size", [(40, 90), (65, 63)])
def test_training_sees_the_latents_that_are_coded(
    codec: LearnedEncoder, make: SimpleNamespace, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, image = codec.model, make.real(make.picture(2, *size))
    seen: list[torch.Tensor] = []
    gaussians = model.gaussians
    monkeypatch.setattr(model, "gaussians", lambda hyper, y: (seen.append(y), gaussians(hyper, y))[1])
    training = CodecTraining.__new__(CodecTraining)
    training.model, training.device, training.rng = model, torch.device("cpu"), torch.Generator().manual_seed(0)
    bits_per_pixel, error = training._forward(image, training.rng)
    y, z = codec.analyse(image)
    assert seen[0].shape == y.shape
    assert float((seen[0] - y).abs().max()) < 0.6, "up to the noise that stands for rounding, and bf16"
    assert bits_per_pixel > 0
    written = 8 * sum(map(len, codec.encode(image))) / image[:, 0].numel()
    assert 0.5 < float(bits_per_pixel) / written < 2
    with torch.no_grad():
        drawn = model.g_s(codec.quantise(y, z))[..., : size[0], : size[1]]
    assert float(error) == pytest.approx(float((drawn - image).square().mean()), rel=0.05)


def test_crops_of_any_whole_number_of_latents_can_be_trained_on() -> None:
    assert CodecTrainConfig(crops=80).crops == 80
    for crops in (48, 100):
        with pytest.raises(ValueError, match="multiple of 16"):
            CodecTrainConfig(crops=crops)
