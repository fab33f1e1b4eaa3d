"""Files: what is written, what is read, and what damage is named."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from idemcore.errors import BitstreamError, InputError, UsageError


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_encode_writes_ordinary_files_that_decode_as_pillow_does(make, encoder, subsampling: str) -> None:
    image = make.natural(30, 43)
    codec = encoder(quality=40, subsampling=subsampling)
    (data,) = codec.encode(make.real(image))
    assert data == make.pillow_jpeg(image, quality=40, subsampling=subsampling, optimize=True)
    expected = np.asarray(Image.open(io.BytesIO(data))).transpose(2, 0, 1)
    np.testing.assert_array_equal((codec.decode([data])[0] * 255).round().numpy(), expected)


def test_encode_takes_noise_at_the_highest_quality(encoder) -> None:
    noise = torch.randint(0, 256, (1, 3, 256, 256), generator=torch.Generator().manual_seed(0)) / 255.0
    codec = encoder(quality=100, subsampling="4:4:4")
    assert codec.decode(codec.encode(noise)).sub(noise).abs().max() < 0.02


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"quality": 0}, "quality.*1 to 100"), ({"quality": 101}, "quality"), ({"subsampling": "4:1:1"}, "subsampling")],
)
def test_setting_out_of_range_is_named(encoder, settings, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        encoder(**settings)


@pytest.mark.parametrize("size", [(1, 65_501), (65_501, 1)])
def test_sides_that_libjpeg_does_not_take_are_refused_by_name(encoder, size) -> None:
    with pytest.raises(InputError, match="a side of 65,501 pixels; libjpeg writes JPEG files of at most 65,500"):
        encoder().encode(torch.zeros(1, 3, *size))


def test_decode_refuses_another_size(make, encoder) -> None:
    streams = encoder().encode(make.real(make.natural(16, 24)))
    with pytest.raises(BitstreamError, match="24x16"):
        encoder().decode(streams, (16, 16))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("kept", [0, 1, 2, 10, 100, 200, 0.5, 0.9, -30, -8])
def test_truncated_file_is_an_error(make, encoder, kept: float, progressive: bool) -> None:
    data = make.pillow_jpeg(make.natural(64, 64), quality=50, progressive=progressive)
    cut = data[: int(len(data) * kept) if isinstance(kept, float) else kept]
    for read in (encoder().decode, encoder().cell):
        with pytest.raises(BitstreamError):
            read([cut])


@pytest.mark.parametrize("progressive", [False, True])
def test_damaged_file_never_crashes_and_is_mostly_noticed(make, encoder, progressive: bool) -> None:
    data = make.pillow_jpeg(make.natural(48, 48), quality=50, progressive=progressive)
    rng, noticed = np.random.default_rng(0), 0
    for _ in range(100):
        damaged = bytearray(data)
        damaged[int(rng.integers(2, len(data)))] ^= 1 << int(rng.integers(8))
        try:
            encoder().decode([bytes(damaged)])
        except (BitstreamError, InputError):
            noticed += 1
    assert noticed > 12


def test_cmyk_is_refused_by_name(make, encoder) -> None:
    with pytest.raises(InputError, match="CMYK colours"):
        encoder().cell([make.pillow_jpeg(make.natural(16, 16), "CMYK")])


def test_fractional_sampling_is_refused_by_name(make, encoder) -> None:
    data = bytearray(make.pillow_jpeg(make.natural(16, 16)))
    frame = data.index(b"\xff\xc0")
    data[frame + 11 : frame + 18 : 3] = b"\x31\x21\x21"
    with pytest.raises(InputError, match="3x1 2x1 2x1: fractional sampling"):
        encoder().cell([bytes(data)])


def test_describe_knows_quality_subsampling_and_coding(make, encoder) -> None:
    for quality in (1, 10, 49, 50, 75, 100):
        found = encoder().describe(make.pillow_jpeg(make.natural(16, 24), quality=quality, subsampling="4:2:2"))
        assert found == {"coding": "baseline", "quality": quality, "subsampling": "4:2:2", "compared": "bytes"}
    foreign = encoder().describe(make.pillow_jpeg(make.natural(16, 24), qtables=[[7] * 64], progressive=True))
    assert foreign["coding"] == "progressive"
    assert foreign["quality"] == "not libjpeg's tables"
    assert foreign["compared"] == "coefficients and tables"


@pytest.mark.parametrize("progressive", [False, True])
def test_enormous_size_without_data_is_refused_at_once(make, encoder, progressive: bool) -> None:
    data = bytearray(make.pillow_jpeg(make.natural(16, 24), progressive=progressive))
    frame = data.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    for size, reason in ((b"\x20\0\x20\0", "too few data"), (b"\xff\xff\xff\xff", "claims too much: 65535x65535")):
        data[frame + 5 : frame + 9] = size
        with pytest.raises(BitstreamError, match=reason):
            encoder().cell([bytes(data)])
