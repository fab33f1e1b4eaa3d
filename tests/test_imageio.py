"""Image files: 8-bit sRGB comes through exactly, everything else by name, and no half-written file stays behind."""

from __future__ import annotations

import errno
import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from torch import Tensor

from idemcore.errors import IdemError, IdemWarning, InputError, UsageError
from idemcore.io import files
from idemcore.io.images import parse_background, read_bytes, read_image, to_bytes, to_float, write_png

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
PICTURE = Image.fromarray(PIXELS)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def save(image: Image.Image, name: str, **options: object) -> Path:
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return save


def tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(bits: int, colour: int, row: bytes, width: int = 4, height: int = 3) -> bytes:
    """A PNG file whose rows all hold `row`; colour 0 is grey, 2 RGB."""
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = zlib.compress((b"\0" + row) * min(height, 99))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def tiff_of_16_bit_rgb() -> bytes:
    strip = 8 + 2 + 9 * 12 + 4
    tags = [(256, 4), (257, 3), (259, 1), (262, 2), (277, 3), (278, 3)]
    entries = [struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags]
    entries += [struct.pack("<HHII", 258, 3, 3, strip)]
    entries += [struct.pack("<HHII", 273, 4, 1, strip + 6), struct.pack("<HHII", 279, 4, 1, 72)]
    directory = b"".join(sorted(entries, key=lambda e: struct.unpack("<H", e[:2])))
    return (
        b"II*\0" + struct.pack("<IH", 8, 9) + directory + bytes(4) + struct.pack("<HHH", 16, 16, 16) + bytes(range(72))
    )


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.ppm", "a.tif", "a.webp"])
def test_lossless_files_are_read_exactly(save: Save, name: str) -> None:
    image = read_image(save(PICTURE, name, **({"lossless": True} if name == "a.webp" else {})))
    assert (image.dtype, image.shape) == (torch.float32, (1, 3, 20, 30))
    assert torch.equal(image, torch.from_numpy((PIXELS / np.float32(255)).astype(np.float32)).permute(2, 0, 1)[None])


@pytest.mark.parametrize("mode", ["1", "L", "P"])
@pytest.mark.parametrize("suffix", ["png", "tif", "gif"])
def test_grey_and_palette_are_accepted(save: Save, mode: str, suffix: str) -> None:
    picture = PICTURE.convert(mode)
    assert torch.equal(read_bytes(save(picture, f"a.{suffix}")), tensor(picture))


def test_jpeg_pixels_are_those_of_the_decoder(save: Save) -> None:
    path = save(PICTURE, "a.jpg", quality=90)
    assert torch.equal(read_bytes(path), tensor(Image.open(path)))


@pytest.mark.parametrize(("bits", "row"), [(1, b"\x50"), (2, b"\x0f"), (4, b"\x0f\x0f")])
def test_grey_of_fewer_bits_spans_the_whole_range(tmp_path: Path, bits: int, row: bytes) -> None:
    (tmp_path / "a.png").write_bytes(png(bits, 0, row))
    image = read_image(tmp_path / "a.png")
    assert (image.min(), image.max()) == (0, 1)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(save: Save, suffix: str, orientation: int) -> None:
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:8, :8] = 255  # white in the first corner
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = read_image(save(Image.fromarray(stored), f"a.{suffix}", exif=exif))[0, 0]
    assert image.shape == ((16, 32) if orientation < 5 else (32, 16))
    row, column = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}[
        orientation
    ]
    corners = {(r, c): float(image[r, c]) for r in (0, -1) for c in (0, -1)}
    assert max(corners, key=lambda k: corners[k]) == (row, column)


def test_an_embedded_srgb_profile_changes_nothing(save: Save) -> None:
    assert torch.equal(read_bytes(save(PICTURE, "a.png", icc_profile=SRGB)), tensor(PICTURE))


@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA"])
def test_another_profile_is_converted_to_srgb(save: Save, mode: str) -> None:
    # Exchanging the primaries makes a profile in which red means green.
    exchanged = SRGB.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    picture = PICTURE.convert(mode)
    image = read_bytes(save(picture, "a.png", icc_profile=exchanged)).int()
    assert (image - tensor(picture)[:, [1, 0, 2]].int()).abs().max() <= 1


def test_a_grey_profile_is_converted_to_srgb(save: Save) -> None:
    grey = SRGB.replace(b"mntrRGB ", b"mntrGRAY").replace(b"rTRC", b"kTRC")
    picture = PICTURE.convert("L")
    assert (read_bytes(save(picture, "a.png", icc_profile=grey)).int() - tensor(picture).int()).abs().max() <= 1
    with pytest.warns(IdemWarning, match="b.png has a colour profile that is for GRAY colours, not for RGB"):
        assert torch.equal(read_bytes(save(PICTURE, "b.png", icc_profile=grey)), tensor(PICTURE))


@pytest.mark.parametrize("profile", [b"garbage", SRGB[:200], SRGB[:40] + bytes(200)])
def test_colours_with_a_broken_profile_are_taken_as_srgb_with_a_note(save: Save, profile: bytes) -> None:
    for name in ("a.png", "a.jpg"):
        path = save(PICTURE, name, icc_profile=profile)
        with pytest.warns(IdemWarning, match=rf"{name} has a colour profile that is damaged .*taken as sRGB"):
            found = read_bytes(path)
        assert torch.equal(found, tensor(Image.open(path)))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_transparency_needs_a_background(save: Save, mode: str, suffix: str) -> None:
    picture = PICTURE.copy()
    picture.putalpha(Image.linear_gradient("L").resize(PICTURE.size))
    picture = picture.convert(mode)
    path = save(picture, f"a.{suffix}", **({"lossless": True, "exact": True} if suffix == "webp" else {}))
    with pytest.raises(InputError, match="has transparent pixels") as error:
        read_image(path)
    assert error.value.exit_code == 1
    assert "--background" in error.value.hint
    alpha = tensor(picture.getchannel("A")).float() / 255
    expected = tensor(picture) * alpha + torch.tensor([255.0, 128, 0])[:, None, None] * (1 - alpha)
    assert (read_bytes(path, (255, 128, 0)) - expected).abs().max() <= 1


def test_opaque_alpha_is_accepted(save: Save) -> None:
    assert torch.equal(read_bytes(save(PICTURE.convert("RGBA"), "a.png")), tensor(PICTURE))


def test_a_transparent_colour_counts_as_transparency(save: Save) -> None:
    palette = PICTURE.quantize(4)
    path = save(palette, "p.png", transparency=int(palette.getpixel((0, 0))))
    with pytest.raises(InputError, match="has transparent pixels"):
        read_image(path)
    with pytest.raises(InputError, match="has transparent pixels"):
        read_image(save(PICTURE, "c.png", transparency=tuple(int(v) for v in PIXELS[0, 0])))
    assert read_bytes(path, (1, 2, 3))[0, :, 0, 0].tolist() == [1, 2, 3]


RAW = {
    "16-bit grey.png": (png(16, 0, bytes(8)), "16-bit samples"),
    "16-bit colour.png": (png(16, 2, bytes(24)), "16-bit samples"),
    "16-bit colour.tif": (tiff_of_16_bit_rgb(), "16-bit samples"),
    "16-bit colour.ppm": (b"P6 # a comment\n4 3\n65535\n" + bytes(72), "16-bit samples"),
    "12-bit grey.pgm": (b"P5 4 3 4095\n" + bytes(24), "16-bit samples"),
    "float.pfm": (b"Pf\n4 3\n-1.0\n" + bytes(48), "32-bit float samples"),
    "text.png": (b"hello, this is not an image", "is not an image: it starts with b'hello"),
    "empty.png": (b"", "is empty"),
    "phone.heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC format"),
    "new.avif": (b"\0\0\0\x20ftypavif\0\0\0\0avifmif1", "AVIF format"),
    "new.jxl": (b"\xff\x0a\xfa\x1f\x41", "JPEG XL format"),
    "bitstream.png": (b"\x1dem\x01abcd", ".idem bitstream format"),
    "bomb.png": (png(8, 2, bytes(9), 60000, 60000), "is too large: more than"),
    "no end.gif": (b"GIF89a\xff\xff\xff\xff\0\0\0", "is damaged or cut short"),
}


@pytest.mark.parametrize("name", RAW)
def test_a_file_that_is_no_8_bit_image_is_refused_by_name(tmp_path: Path, name: str) -> None:
    data, reason = RAW[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError) as error:
        read_image(tmp_path / name)
    assert error.value.exit_code == 1
    assert reason in error.value.message
    assert str(tmp_path / name) in error.value.message


@pytest.mark.parametrize(
    ("name", "mode", "reason"),
    [
        ("a.jpg", "CMYK", "CMYK"),
        ("a.tif", "CMYK", "CMYK"),
        ("a.tif", "LAB", "Lab colours"),
        ("a.tif", "F", "32-bit samples"),
        ("a.tif", "I", "32-bit samples"),
        ("a.png", "I;16", "16-bit samples"),
    ],
)
def test_other_kinds_of_pixels_are_refused_by_name(save: Save, name: str, mode: str, reason: str) -> None:
    picture = PICTURE.convert("L").convert(mode) if mode in "I;16F" else PICTURE.convert(mode)
    with pytest.raises(InputError, match=reason) as error:
        read_image(save(picture, name))
    assert "Convert it" in error.value.hint


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif"])
def test_animations_and_pages_are_refused(save: Save, name: str) -> None:
    with pytest.raises(InputError, match=r"is animated or has several pages \(2\)"):
        read_image(save(PICTURE, name, save_all=True, append_images=[Image.fromarray(255 - PIXELS)]))


def test_the_photograph_of_a_phones_multi_picture_file_is_read(save: Save) -> None:
    path = save(PICTURE, "a.mpo", save_all=True, append_images=[Image.fromarray(255 - PIXELS)])
    assert torch.equal(read_bytes(path), tensor(Image.open(path)))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif", "a.bmp", "a.gif", "a.ppm"])
def test_every_truncation_is_an_input_error(save: Save, name: str) -> None:
    path = save(PICTURE, name)
    data = path.read_bytes()
    for length in range(1, len(data) - 12, max(1, len(data) // 40)):
        path.write_bytes(data[:length])
        with pytest.raises(InputError):
            read_image(path)


@settings(max_examples=200, deadline=None)
@given(position=st.integers(0), value=st.integers(1, 255), name=st.sampled_from(["PNG", "JPEG", "WEBP", "TIFF", "GIF"]))
def test_a_changed_byte_gives_an_image_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int, name: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"flipped.{name}"
    PICTURE.save(path, name)
    data = bytearray(path.read_bytes())
    data[position % len(data)] ^= value
    path.write_bytes(data)
    try:
        image = read_bytes(path)
    except InputError:
        return
    assert image.dtype == torch.uint8


def test_a_path_that_cannot_be_read_is_a_usage_error(tmp_path: Path, save: Save) -> None:
    for path in (tmp_path / "none.png", tmp_path, save(PICTURE, "a.png") / "b.png"):
        with pytest.raises(UsageError) as error:
            read_image(path)
        assert error.value.exit_code == 2
        assert str(path) in error.value.message


def test_every_byte_survives_the_round_trip() -> None:
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    assert torch.equal(to_bytes(to_float(every)), every)
    assert torch.equal(to_float(every)[0, 0].flatten(), torch.arange(256) / 255)


def test_to_bytes_rounds_half_to_even_and_clamps() -> None:
    halves = torch.tensor([0.5, 1.5, 2.5, 3.5, -9.0, 300.0, float("inf")], dtype=torch.float64) / 255
    assert to_bytes(halves).tolist() == [0, 2, 2, 4, 0, 255, 255]
    with pytest.raises(IdemError, match="not a number"):
        to_bytes(torch.tensor([0.5, float("nan")]))


@pytest.mark.parametrize("shape", [(1, 3, 20, 30), (3, 20, 30)])
def test_a_png_is_read_back_as_written(tmp_path: Path, shape: tuple[int, ...]) -> None:
    write_png(tensor(PICTURE).reshape(shape), tmp_path / "a.png")
    assert torch.equal(read_bytes(tmp_path / "a.png"), tensor(PICTURE))
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("image", [torch.zeros(1, 3, 4, 4), torch.zeros(2, 3, 4, 4, dtype=torch.uint8)])
def test_only_one_byte_image_is_written(tmp_path: Path, image: Tensor) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        write_png(image, tmp_path / "a.png")


@pytest.mark.parametrize(
    ("code", "kind"), [(errno.ENOSPC, IdemError), (errno.EACCES, UsageError), (errno.EROFS, UsageError)]
)
def test_a_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[IdemError]
) -> None:
    def fail(*paths: object) -> None:
        raise OSError(code, os.strerror(code))

    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(IdemError, match=os.strerror(code)) as error:
        files.atomic_write(path, b"new")
    assert type(error.value) is kind
    assert str(path) in error.value.message
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*paths: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.atomic_write(tmp_path / "a", b"data")
    assert list(tmp_path.iterdir()) == []


def test_writing_where_nothing_can_be_written_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="make it first"):
        files.atomic_write(tmp_path / "none" / "a.png", b"")
    with pytest.raises(UsageError, match="Is a directory"):
        files.atomic_write(tmp_path, b"")
    with pytest.raises(UsageError, match="too long"):
        files.atomic_write(tmp_path / ("a" * 300), b"")
    assert list(tmp_path.iterdir()) == []


def test_a_file_replaced_keeps_to_the_umask(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    files.atomic_write(tmp_path / "atomic", b"")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_device_is_written_in_place() -> None:
    with pytest.raises(IdemError, match="No space left"):
        files.atomic_write(Path("/dev/full"), b"data")
    files.atomic_write(Path("/dev/null"), b"data")
    assert Path("/dev/null").is_char_device()


def test_backgrounds() -> None:
    assert parse_background("#ff8000") == (255, 128, 0)
    assert (parse_background("white"), parse_background("black")) == ((255, 255, 255), (0, 0, 0))
    for wrong in ("", "whit", "#ff80", "#ff800080", "255,0,0"):
        with pytest.raises(UsageError, match="--background"):
            parse_background(wrong)


def test_a_profile_behind_the_frame_header_of_a_jpeg_is_converted(save: Save) -> None:
    exchanged = SRGB.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    usual, plain = save(PICTURE, "a.jpg", icc_profile=exchanged), save(PICTURE, "b.jpg")
    data, body = plain.read_bytes(), b"ICC_PROFILE\0\1\1" + exchanged
    at = data.index(b"\xff\xda")
    plain.write_bytes(data[:at] + b"\xff\xe2" + (len(body) + 2).to_bytes(2, "big") + body + data[at:])
    assert torch.equal(read_bytes(plain), read_bytes(usual))


def test_what_a_disk_gives_back_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_CHUNK", 2)
    files.atomic_write(tmp_path / "a", b"whole")
    files.write_together({tmp_path / "b": b"", tmp_path / "c": b"even"})
    assert (tmp_path / "c").read_bytes() == b"even"
    opened = open

    def forgetful(path: object, mode: str = "r") -> object:
        file = opened(path, mode)  # type: ignore[call-overload]
        return file if "x" in mode else io.BytesIO(file.read()[:-1])

    monkeypatch.setattr(files, "open", forgetful, raising=False)
    with pytest.raises(IdemError, match="gives back other bytes"):
        files.atomic_write(tmp_path / "a", b"other")
    monkeypatch.undo()
    assert (tmp_path / "a").read_bytes() == b"whole"
    assert not list(tmp_path.glob(".idem*"))
