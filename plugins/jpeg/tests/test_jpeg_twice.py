"""Compressed before: the protocol of twice-compressed JPEGs; and OpenCV's encoder, which writes the same bytes."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from idemcore.errors import UsageError
from idemcore.pipeline.codec import Codec
from idemcore.pipeline.decoder import plain_decode
from idemcore.runtime import Runtime
from idemcore_jpeg.config import JpegConfig
from idemcore_jpeg.encoder import JpegEncoder

CPU = Runtime.choose("cpu", "fp32")


def picture(height: int = 44, width: int = 61) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(0).integers(-25, 25, (height, width, 3))
    return (np.stack([4 * x, 5 * y, 2 * (x + y)], -1) + noise).clip(0, 255).astype(np.uint8)


def by_pillow(pixels: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255


def test_before_is_a_compression_whose_blocks_are_shifted() -> None:
    """Inside, as the protocol has it: compress, cut off `shift` rows and columns, compress again."""
    whole, shift = picture(), 4
    first = np.array(Image.open(io.BytesIO(by_pillow(whole, quality=10, subsampling="4:4:4"))))
    wanted = np.array(Image.open(io.BytesIO(by_pillow(first[shift:, shift:], quality=50, subsampling="4:4:4"))))
    encoder = JpegEncoder(JpegConfig(quality=50, before=10, subsampling="4:4:4"), CPU)
    (data,) = encoder.encode(tensor(whole[shift:, shift:]))
    found = np.array(Image.open(io.BytesIO(data)))
    assert found.shape == wanted.shape
    assert (found[8:, 8:] == wanted[8:, 8:]).all()  # only earlier blocks at the edge held what was cut off
    once = JpegEncoder(JpegConfig(quality=50, subsampling="4:4:4"), CPU).encode(tensor(whole[shift:, shift:]))[0]
    assert data != once


@pytest.mark.parametrize(("shift", "size"), [(0, (44, 61)), (7, (1, 1)), (4, (9, 3))])
def test_any_size_is_compressed_twice(shift: int, size: tuple[int, int]) -> None:
    encoder = JpegEncoder(JpegConfig(quality=30, before=50, before_shift=shift), CPU)
    pixels = picture(*size)
    decoded = encoder.decode(encoder.encode(tensor(pixels)))
    assert decoded.shape == (1, 3, *size)
    if not shift:
        first = np.array(Image.open(io.BytesIO(by_pillow(pixels, quality=50, subsampling="4:2:0"))).convert("RGB"))
        second = by_pillow(first, quality=30, subsampling="4:2:0", optimize=True)
        assert encoder.encode(tensor(pixels)) == [second]


def test_exact_is_said_of_the_second_file() -> None:
    codec = Codec.load("jpeg", CPU, quality=10, before=30)
    bitstream = codec.encode(tensor(picture()))
    assert plain_decode(bitstream).certified.differing_symbols[0] >= 0
    estimate = (bitstream.cell.estimate * 255).round().byte()
    assert bitstream.cell.contains(estimate).shape == (1,)


@pytest.mark.parametrize("wrong", [{"before": 101}, {"before": -1}, {"before_shift": 8}, {"before_shift": -1}])
def test_settings_off_their_scale_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="jpeg: before"):
        JpegEncoder(JpegConfig(**wrong), CPU)


@pytest.mark.parametrize("quality", [5, 10, 30, 95])
def test_opencv_writes_the_bytes_of_optimize_false(quality: int) -> None:
    cv2 = pytest.importorskip("cv2")
    pixels = picture()
    _, theirs = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    encoder = JpegEncoder(JpegConfig(quality=quality, optimize=False), CPU)
    assert encoder.encode(tensor(pixels)) == [theirs.tobytes()]
