"""Smaller copies, pieces, and the map of where versions differ."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from idemcore_app import pictures
from idemcore_app.checking import clean_name, with_suffix


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """2100x1300, each pixel another, with a colour profile."""
    y, x = np.mgrid[0:1300, 0:2100]
    pixels = np.stack([x % 256, y % 256, (x // 256) * 16 + y // 256], axis=-1).astype(np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(pixels).save(tmp_path / "draw-1.png", icc_profile=profile)
    return tmp_path / "draw-1.png"


def test_pieces_put_together_are_the_picture(large):
    whole = np.zeros((1300, 2100, 3), np.uint8)
    for column in range(3):
        for row in range(2):
            piece = Image.open(io.BytesIO(pictures.tile(large, column, row)))
            assert piece.info["icc_profile"]
            top, left = row * pictures.TILE, column * pictures.TILE
            whole[top : top + piece.height, left : left + piece.width] = np.asarray(piece)
    assert np.array_equal(whole, np.asarray(Image.open(large)))
    assert pictures.tile(large, 3, 0) is None
    assert pictures.tile(large, 0, 2) is None


def test_a_small_copy_is_made_once_and_keeps_the_profile(large):
    copy = pictures.preview(large)
    shown = Image.open(copy)
    assert max(shown.size) == pictures.PREVIEW
    assert shown.info["icc_profile"] == Image.open(large).info["icc_profile"]
    before = copy.stat().st_mtime_ns
    assert pictures.preview(large) == copy
    assert copy.stat().st_mtime_ns == before


def test_a_small_picture_is_its_own_copy_but_a_users_file_never_is(tmp_path, picture):
    picture(0).save(tmp_path / "before.png")
    picture(0).save(tmp_path / "file", "JPEG")
    assert pictures.preview(tmp_path / "before.png") == tmp_path / "before.png"
    assert pictures.preview(tmp_path / "file").suffix == ".webp"


@pytest.mark.parametrize("size", [(1, 1), (203, 157), (40, 6000)])
def test_the_map_shows_where_versions_differ_and_how_much(tmp_path, size):
    width, height = size
    base = np.full((height, width, 3), 100, np.uint8)
    paths = []
    for number, offset in enumerate((-10, 10)):
        pixels = base.copy()
        pixels[:, width // 2 :] = 100 + offset
        paths.append(tmp_path / f"draw-{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    mean, most = pictures.spread(paths, tmp_path / "map.png")
    mapped = np.asarray(Image.open(tmp_path / "map.png"))
    assert most == pytest.approx(np.sqrt(200), rel=1e-3)
    assert 0.4 * most <= mean <= most
    assert mapped[0, -1, 3] > 100, "glows where they differ"
    if width > 20:
        assert mapped[0, 0, 3] == 0, "clear where they are the same"


def test_names_keep_folders_and_get_suffixes():
    assert clean_name("Holiday 1998/a b.jpg") == "Holiday 1998/a b.jpg"
    assert with_suffix("Holiday 1998/a.b.jpg", ".png") == "Holiday 1998/a.b.png"
    assert with_suffix("photograph", ".png") == "photograph.png"
