"""Any hyperprior-type network as an Encoder: any image size and batch, and symbols that depend on no setting."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from idemcore.errors import IdemError
from idemcore.learned.config import LearnedConfig
from idemcore.learned.encoder import LearnedEncoder


@pytest.fixture(scope="module")
def codec(make: SimpleNamespace) -> LearnedEncoder:
    return make.codec()


@pytest.mark.parametrize("size", [(1, 1), (17, 33), (64, 64), (65, 64), (63, 129)])
def test_images_of_any_size_come_back_in_that_size(
    codec: LearnedEncoder, make: SimpleNamespace, size: tuple[int, int]
) -> None:
    streams = codec.encode(make.real(make.picture(2, *size)))
    decoded = codec.decode(streams, size)
    assert (decoded.shape, decoded.dtype) == ((2, 3, *size), torch.float32)
    assert 0 <= float(decoded.min()) <= float(decoded.max()) <= 1
    assert torch.equal(codec.decode(streams, size), decoded)


def test_images_are_rounded_to_8_bits_first(codec: LearnedEncoder, make: SimpleNamespace) -> None:
    image = make.real(make.picture())
    noise = torch.rand(image.shape, generator=torch.Generator().manual_seed(0)) - 0.5
    assert codec.encode(image + 0.99 * noise / 255) == codec.encode(image)
    assert codec.encode(2 * image - 0.5) == codec.encode((2 * image - 0.5).clamp(0, 1))
    with pytest.raises(IdemError, match="not a number"):
        codec.encode(image * float("nan"))


def test_a_batch_gives_the_streams_and_the_decode_of_each_alone(codec: LearnedEncoder, make: SimpleNamespace) -> None:
    image = make.real(make.picture(4, 40, 70))
    streams = codec.encode(image)
    assert streams == [codec.encode(one[None])[0] for one in image]
    assert len(set(streams)) == 4
    together = codec.decode(streams, (40, 70))
    for k, stream in enumerate(streams):
        torch.testing.assert_close(together[k], codec.decode([stream], (40, 70))[0], rtol=0, atol=1e-5)
        assert torch.equal(codec.latents(streams, (40, 70)).y_hat[k], codec.latents([stream], (40, 70)).y_hat[0])


def test_precision_changes_the_drawn_image_and_no_symbol(make: SimpleNamespace) -> None:
    image = make.real(make.picture())
    full, half = make.codec(), make.codec(precision="bf16")
    streams = full.encode(image)
    assert half.encode(image) == streams
    assert torch.equal(half.latents(streams, (64, 64)).y_hat, full.latents(streams, (64, 64)).y_hat)
    drawn = half.decode(streams, (64, 64)), full.decode(streams, (64, 64))
    assert drawn[0].dtype == torch.float32
    assert 0 < float((drawn[0] - drawn[1]).abs().max()) < 0.05


def test_channels_last_and_strided_images_are_the_same_images(codec: LearnedEncoder, make: SimpleNamespace) -> None:
    image = make.real(make.picture(1, 40, 70))
    strided = torch.stack([image, 0 * image], dim=-1)[..., 0]
    for other in (image.contiguous(memory_format=torch.channels_last), strided):
        assert codec.encode(other) == codec.encode(image)


def test_the_networks_are_frozen(codec: LearnedEncoder, make: SimpleNamespace) -> None:
    x = make.real(make.picture()).requires_grad_(True)
    assert not codec.decode(codec.encode(x), (64, 64)).requires_grad
    assert not any(parameter.requires_grad for parameter in codec.model.parameters())
    assert not codec.model.training


@pytest.mark.parametrize(
    "wrong", [{"precision": "fp16"}, {"precision": "auto"}, {"project_steps": 0}, {"certify_passes": 0}]
)
def test_settings_out_of_range_are_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LearnedConfig(**wrong)
