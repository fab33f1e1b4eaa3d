"""The integer model, the entropy decoder and the layout, against libjpeg itself."""

from __future__ import annotations

import jpeglib
import numpy as np
import pytest
import torch

from idemcore_jpeg.entropy import read_coefficients
from idemcore_jpeg.layout import Layout
from idemcore_jpeg.model import bounds, coefficients, quantise, tile_coefficients
from idemcore_jpeg.reading import pack_symbols, pack_tables
from idemcore_jpeg.stream import parse

SAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")
SIZES = ((64, 48), (33, 47), (17, 16), (50, 31), (9, 8), (1, 1))
CODINGS = ({}, {"optimize": True}, {"progressive": True}, {"restart_marker_blocks": 3}, {"restart_marker_rows": 1})


@pytest.mark.parametrize("subsampling", SAMPLINGS)
@pytest.mark.parametrize("quality", [5, 10, 25, 50, 75, 90, 95, 100])
def test_model_gives_the_real_encoders_coefficients(make, quality: int, subsampling: str) -> None:
    for height, width in SIZES:
        layout = Layout(height, width, subsampling)
        noise = torch.from_numpy(np.random.default_rng(quality).integers(0, 256, (1, 3, height, width), dtype=np.uint8))
        for image in (make.natural(height, width), make.extreme(height, width), make.gradient(height, width), noise):
            stream = parse(make.pillow_jpeg(image, quality=quality, subsampling=subsampling))
            found = quantise(coefficients(image, layout), pack_tables(stream, layout))[0]
            assert torch.equal(found[layout.valid], pack_symbols(stream, layout)[layout.valid])


def test_model_of_grey_files(make) -> None:
    image = make.natural(37, 29)
    layout, stream = Layout(37, 29, "grey"), parse(make.pillow_jpeg(image, "L", quality=60))
    found = quantise(coefficients(image, layout), pack_tables(stream, layout))[0]
    assert torch.equal(found, pack_symbols(stream, layout))


@pytest.mark.parametrize("coding", CODINGS, ids=lambda c: next(iter(c), "plain"))
@pytest.mark.parametrize("subsampling", SAMPLINGS)
def test_entropy_decoder_reads_what_libjpeg_reads(make, subsampling: str, coding: dict[str, object], tmp_path) -> None:
    for height, width in SIZES:
        for quality in (10, 75, 100):
            data = make.pillow_jpeg(make.natural(height, width), quality=quality, subsampling=subsampling, **coding)
            (tmp_path / "x.jpg").write_bytes(data)
            reference = jpeglib.read_dct(str(tmp_path / "x.jpg"))
            for mine, theirs in zip(read_coefficients(parse(data)).planes, (reference.Y, reference.Cb, reference.Cr)):
                rows, columns = theirs.shape[:2]
                np.testing.assert_array_equal(mine[:rows, :columns], theirs.reshape(rows, columns, 64))


def test_bounds_are_the_outermost_integers_of_each_symbol() -> None:
    symbols = torch.arange(-3, 4, dtype=torch.int32)[:, None].expand(7, 64)
    tables = torch.arange(1, 65, dtype=torch.int32).expand(7, 64)
    low, high = bounds(symbols, tables)
    for value in (low, high):
        assert torch.equal(quantise(value, tables), symbols)
    assert torch.equal(quantise(low - 1, tables), symbols - 1)
    assert torch.equal(quantise(high + 1, tables), symbols + 1)


@pytest.mark.parametrize("subsampling", SAMPLINGS)
def test_layout_cuts_and_joins_without_loss(subsampling: str) -> None:
    for height, width in SIZES:
        layout, image = Layout(height, width, subsampling), torch.rand(2, 3, height, width)
        assert torch.equal(layout.image(layout.tiles(image)), image)


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_a_map_of_real_pixels_gives_the_same_coefficients(make, subsampling: str) -> None:
    layout = Layout(33, 43, subsampling)
    tiles = layout.tiles(make.natural(33, 43).int())
    assert len(layout.maps) == 4
    for where in layout.maps:
        part = tiles[:, :, where.rows, where.columns].flatten(1, 3)
        cut = where.of_real_pixels()
        assert cut.real.numel() == where.real.sum()
        found = tile_coefficients(part[..., where.real], cut, layout.colours)
        assert torch.equal(found, tile_coefficients(part, where, layout.colours))
