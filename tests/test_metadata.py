"""Which way up a picture is, and that PNGs carry it and the colour profile."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageOps

from idemcore.errors import IdemError, IdemWarning
from idemcore.io.exif import Metadata, turn, turn_back
from idemcore.io.images import decode_bytes, png_bytes


def exif(orientation: int, order: str = "<") -> bytes:
    found = Image.Exif()
    found.endian = order
    found[0x010F], found[0x0112] = "a camera", orientation
    return found.tobytes().removeprefix(b"Exif\0\0")


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, 5, 7), dtype=np.uint8))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_turns_as_pillow_does_and_back(pixels, orientation: int, order: str) -> None:
    metadata = Metadata(exif(orientation, order))
    assert metadata.orientation == orientation
    turned = turn(pixels, metadata.orientation)
    lying = Image.open(io.BytesIO(png_bytes(pixels, metadata)))
    expected = np.asarray(ImageOps.exif_transpose(lying)).transpose(2, 0, 1)
    np.testing.assert_array_equal(turned[0].numpy(), expected)
    assert torch.equal(turn_back(turned, orientation), pixels)


@pytest.mark.parametrize("order", ["<", ">"])
def test_upright_metadata_change_nothing_but_the_orientation(order: str) -> None:
    upright = Metadata(exif(6, order), b"profile").upright
    assert upright == Metadata(exif(1, order), b"profile")
    assert upright.orientation == 1


def test_damaged_exif_is_upright() -> None:
    whole = exif(6)
    for damaged in (b"", b"II", b"II*\0", whole[:12], whole[:-40], b"XX" + whole[2:], exif(9), bytes(100)):
        assert Metadata(damaged).orientation in (1, 6)
        assert Metadata(damaged).upright.orientation == 1
    assert Metadata(exif(9)).orientation == 1


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "form"), [(3, "H2x"), (4, "I")])
def test_an_orientation_of_another_type_turns_as_pillow_does(pixels, kind: int, form: str, order: str) -> None:
    body = struct.pack(order + "HIHHHI" + form + "I", 42, 8, 1, 0x0112, kind, 1, 6, 0)
    metadata = Metadata({"<": b"II", ">": b"MM"}[order] + body)
    assert metadata.orientation == 6
    assert decode_bytes(png_bytes(pixels, metadata), "x.png").shape[-2:] == (7, 5)
    assert decode_bytes(png_bytes(pixels, metadata.upright), "x.png").shape[-2:] == (5, 7)


def test_an_image_with_damaged_exif_is_read_upright_with_a_note(pixels) -> None:
    data = png_bytes(pixels, Metadata(b"garbage!!"))
    with pytest.warns(IdemWarning, match=r"x\.png has damaged EXIF data"):
        assert torch.equal(decode_bytes(data, "x.png"), pixels)


def test_png_as_stored_is_neither_turned_nor_converted(pixels) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = png_bytes(pixels, Metadata(exif(6), profile))
    assert Image.open(io.BytesIO(data)).info["icc_profile"] == profile
    assert torch.equal(decode_bytes(data, "x.png", as_stored=True), pixels)
    assert decode_bytes(data, "x.png").shape[-2:] == (7, 5)


def test_grey_profile_makes_a_grey_png_and_is_left_out_of_one_in_colours(pixels) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"mntrRGB ", b"mntrGRAY").replace(b"rTRC", b"kTRC")
    metadata = Metadata(icc=profile)
    grey = pixels[:, :1].expand(-1, 3, -1, -1)
    found = Image.open(io.BytesIO(png_bytes(grey, metadata)))
    assert (found.mode, found.info["icc_profile"]) == ("L", profile)
    assert torch.equal(decode_bytes(png_bytes(grey, metadata), "x.png", as_stored=True), grey)
    with pytest.warns(IdemWarning, match="its colour profile, which is for GRAY colours, not for RGB"):
        coloured = Image.open(io.BytesIO(png_bytes(pixels, metadata)))
    assert coloured.mode == "RGB"
    assert "icc_profile" not in coloured.info


def profile_of(space: bytes) -> bytes:
    found = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    found[16:20] = space
    return bytes(found)


@pytest.mark.parametrize(
    ("profile", "why"),
    [(profile_of(b"RGB ") + bytes(1_200_000), "1,200,588 bytes"), (profile_of(b"CMYK"), "is for CMYK colours"),
     (profile_of(b"Lab "), "is for Lab colours"), (b"garbage", "is damaged"),
     (profile_of(b"RGB ")[:200], "is damaged")],
    ids=["large", "CMYK", "Lab", "garbage", "cut"],
)  # fmt: skip
def test_profile_that_readers_refuse_is_left_out_with_a_note(pixels, profile: bytes, why: str) -> None:
    with pytest.warns(IdemWarning, match=f"without its colour profile, which .*{why}"):
        data = png_bytes(pixels, Metadata(icc=profile))
    assert "icc_profile" not in Image.open(io.BytesIO(data)).info
    assert torch.equal(decode_bytes(data, "x.png"), pixels)


@pytest.mark.parametrize("density", [(11811, 5906, True), (4, 3, False)])
def test_density_is_in_the_png_and_turns_with_it(pixels, density) -> None:
    lying = Metadata(exif(6), density=density)
    for metadata, (x, y) in ((lying, density[:2]), (lying.upright, density[1::-1])):
        found = Image.open(io.BytesIO(png_bytes(pixels, metadata)))
        if density[2]:
            assert found.info["dpi"] == pytest.approx((x * 0.0254, y * 0.0254))
        else:
            assert found.info["aspect"] == (x, y)


def test_png_is_read_back_before_it_is_given(pixels, monkeypatch) -> None:
    monkeypatch.setattr("idemcore.io.images.decode_bytes", lambda *args, **kwargs: 255 - pixels)
    with pytest.raises(IdemError, match="does not hold the image"):
        png_bytes(pixels)
