"""A JPEG that was one of lower quality before says so; one that was not, or whose signs are weak, says nothing."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from idemcore_jpeg.earlier import earlier_compression
from idemcore_jpeg.files import standard_tables
from idemcore_jpeg.reading import Reading


def twice(make, first: int, second: int, rows: int = 0, columns: int = 0, mode: str = "RGB") -> bytes:
    once = Image.open(io.BytesIO(make.pillow_jpeg(make.natural(320, 360, seed=first), mode, quality=first)))
    cut = np.asarray(once.crop((columns, rows, once.width, once.height)).convert("RGB"))
    return make.pillow_jpeg(torch.from_numpy(cut.copy()).permute(2, 0, 1)[None], mode, quality=second)


@pytest.mark.parametrize(("first", "second"), [(20, 75), (30, 75), (50, 90)])
@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (3, 5), (4, 0)])
def test_former_compression_is_found_with_its_grid(make, encoder, first, second, rows, columns) -> None:
    data = twice(make, first, second, rows, columns)
    found = Reading.of(data).earlier
    assert found
    assert (found.rows, found.columns) == (-rows % 8, -columns % 8)
    assert abs(found.quality - first) <= 2
    assert f"quality about {found.quality}" in encoder().describe(data)["compressed_before"]


def test_grey_files_too(make) -> None:
    assert Reading.of(twice(make, 30, 75, 2, 1, "L")).earlier


@pytest.mark.parametrize("quality", [5, 30, 60, 85, 98])
def test_one_compression_says_nothing(make, encoder, quality: int) -> None:
    for image in (make.natural(320, 360, seed=quality), make.gradient(320, 360), make.extreme(64, 80)):
        assert "compressed_before" not in encoder().describe(make.pillow_jpeg(image, quality=quality))


@pytest.mark.parametrize(("first", "second"), [(90, 50), (75, 75), (70, 75)])
def test_what_is_not_reliable_is_not_said(make, first: int, second: int) -> None:
    assert Reading.of(twice(make, first, second)).earlier is None


@pytest.mark.parametrize("size", [(1, 1), (7, 30), (8, 8), (9, 17)])
def test_small_images_say_nothing(size) -> None:
    luma = np.zeros(size, np.float32)
    assert earlier_compression(luma, standard_tables()[74, 0], standard_tables()[:, 0]) is None


def test_standard_tables_are_those_of_libjpeg(make, encoder) -> None:
    for quality in (1, 37, 100):
        stream = Reading.of(make.pillow_jpeg(make.natural(8, 8), quality=quality)).stream
        assert np.array_equal(stream.component_tables(), standard_tables()[quality - 1])
