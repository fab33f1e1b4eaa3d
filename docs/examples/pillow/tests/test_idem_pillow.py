"""WebP, AVIF and JPEG 2000 as codecs: the laws of the kit, real files, and how `snap` nears the cell."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from idem_pillow.plugin import FORMATS
from PIL import features

import idemcore as idem
from idemcore.errors import BitstreamError, UsageError
from idemcore.io.images import to_bytes
from idemcore.noise import Noise
from idemcore.pipeline.certify import certify, snap
from idemcore.testing import Subject, parametrize_with_checks

HERE = [f for f in FORMATS if features.check("jpg_2000" if f == "jp2" else f)]


@parametrize_with_checks([Subject.installed("encoder", "pillow", format=f) for f in HERE])
def test_conformance(check: Any) -> None:
    check()


def smooth(seed: int = 0, size: tuple[int, int] = (16, 16)) -> torch.Tensor:
    """[1,3,H,W] with detail of about 8 pixels."""
    coarse = Noise([seed]).uniform(3, 4, 4)
    return torch.nn.functional.interpolate(coarse, size, mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize("format", HERE)
def test_an_idem_file_is_decoded_without_being_told_how(format: str) -> None:
    written = idem.load_codec("pillow", format=format, quality=41).encode(smooth())
    read = idem.open_bitstream(written.data)
    assert (read.codec.name, read.codec.part.config.format, read.codec.part.config.quality) == ("pillow", format, 41)
    assert read.decoded.equal(written.decoded)


@pytest.mark.parametrize("format", HERE)
def test_the_original_is_in_its_cell(format: str) -> None:
    image = smooth()
    cell = idem.load_codec("pillow", format=format).encode(image).cell
    assert cell.contains(to_bytes(image)).tolist() == [True]
    assert cell.differing_symbols(to_bytes(image)).tolist() == [0]


@pytest.mark.parametrize("format", HERE)
def test_snap_never_ends_further_from_the_cell_than_it_began(format: str) -> None:
    image = smooth()
    cell = idem.load_codec("pillow", format=format).encode(image).cell
    near = (image + 0.02 * Noise([1]).like(image)).clamp(0, 1)
    assert cell.differing_symbols(snap(cell, near)) <= cell.differing_symbols(to_bytes(near))
    assert certify(cell, image).exact == [True]


@pytest.mark.parametrize("format", [f for f in HERE if f in ("webp", "avif")])
def test_a_single_block_is_snapped_to_exactly_the_same_bytes(format: str) -> None:
    exact = 0
    for seed in range(6):
        image = smooth(seed)
        cell = idem.load_codec("pillow", format=format, quality=30).encode(image).cell
        x = (cell.centre + 0.02 * Noise([seed]).like(image)).clamp(0, 1)
        assert not cell.contains(to_bytes(x)).all()
        exact += certify(cell, x).exact[0]
    assert exact >= 1  # most of them, but what is found depends on the versions of the libraries


def test_a_damaged_stream_and_a_wrong_setting_are_refused() -> None:
    codec = idem.load_codec("pillow", format="webp")
    with pytest.raises(BitstreamError, match="cannot be read"):
        codec.encoder.decode([b"RIFF0000WEBP"])
    with pytest.raises(BitstreamError, match="16x16"):
        codec.encoder.decode(codec.encoder.encode(smooth()), (8, 8))
    with pytest.raises(UsageError, match="format must be"):
        idem.load_codec("pillow", format="gif")
