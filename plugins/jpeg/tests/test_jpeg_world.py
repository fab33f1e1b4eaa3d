"""Files as cameras, phones, webcams and broken downloads leave them; each as libjpeg-turbo decodes it."""

from __future__ import annotations

import io
import re
import struct

import jpeg_zoo as zoo
import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from idemcore.errors import BitstreamError, IdemWarning, InputError
from idemcore_jpeg import appended
from idemcore_jpeg.huffman import fitted_table
from idemcore_jpeg.reading import Reading
from idemcore_jpeg.stream import parse


def pixels(data: bytes, monkeypatch) -> np.ndarray:
    """What Pillow shows, even of a file without an end."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def check_as_pillow(encoder, data: bytes, monkeypatch) -> None:
    found = (encoder().decode([data])[0] * 255).round().permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(found, pixels(data, monkeypatch))


NO_TABLES = {
    "all": lambda data: zoo.without(data, 0xC4),
    "luma": lambda data: zoo.without_tables(data, (0x00, 0x10)),
    "chroma": lambda data: zoo.without_tables(data, (0x01, 0x11)),
    "dc": lambda data: zoo.without_tables(data, (0x00, 0x01)),
    "one": lambda data: zoo.without_tables(data, (0x11,)),
}


@pytest.mark.parametrize("lacking", NO_TABLES)
@pytest.mark.parametrize("options", [{}, {"subsampling": 1}, {"mode": "L"}, {"restart_marker_rows": 1}])
def test_frames_of_motion_jpeg_have_the_standard_huffman_tables(encoder, monkeypatch, lacking, options) -> None:
    data = zoo.pillow(**options)
    bare = NO_TABLES[lacking](data)
    for frame in (bare, zoo.inserted(bare, zoo.segment(0xE0, b"AVI1\0\0\0\0"))):
        check_as_pillow(encoder, frame, monkeypatch)
        assert torch.equal(Reading.of(frame).symbols, Reading.of(data).symbols)


def test_progressive_file_without_huffman_tables_is_refused(encoder) -> None:
    """As libjpeg does: motion JPEG is sequential."""
    data = re.sub(rb"\xff\xc4..[\0-\x13][\0-\xff]{16}", b"", zoo.pillow(progressive=True), count=1, flags=re.DOTALL)
    with pytest.raises(BitstreamError):
        encoder().cell([data])


TRAILERS = {
    "nothing": b"",
    "half a marker": b"\xff",
    "zeros": bytes(100),
    "samsung": b"\0\0\x01\x0aImage_UTC_Data" + b"1234567890123" + bytes(60) + b"SEFT",
    "a damaged segment": b"\xff\xe5\xff\xffshort",
    "a whole segment": b"\xff\xfe\0\7hello",
    "tables of nothing": b"\xff\xc4\0\2\xff\xdb\0\2",
    "another picture": zoo.pillow("L", size=(8, 8)),
    "html": b"\r\n<html></html>\r\n",
    "fill": b"\xff" * 9,
}


@pytest.mark.parametrize("trailer", TRAILERS)
@pytest.mark.parametrize("progressive", [False, True])
def test_missing_end_marker_is_a_note(encoder, monkeypatch, trailer: str, progressive: bool) -> None:
    whole = zoo.pillow(progressive=progressive)
    data = whole[:-2] + TRAILERS[trailer]
    with pytest.warns(UserWarning, match="it has no end-of-image marker"):
        cell = encoder().cell([data])
    assert torch.equal(Reading.of(data).symbols, Reading.of(whole).symbols)
    assert torch.equal(cell.centre, encoder().decode([whole]))
    assert "no end-of-image marker" in encoder().describe(data)["notes"]
    assert not cell.own_bytes.any()


@pytest.mark.parametrize("height", [1, 8, 16, 20, 32, 36])
@pytest.mark.parametrize("options", [{}, {"restart_marker_rows": 1}, {"restart_marker_blocks": 1}, {"subsampling": 0},
                                     {"progressive": True}, {"mode": "L"}])  # fmt: skip
def test_scan_longer_than_the_image_is_cut_as_libjpeg_does(encoder, monkeypatch, options, height: int) -> None:
    marker = 0xC2 if "progressive" in options else 0xC0
    data = zoo.patched(zoo.pillow(**options), marker, 1, struct.pack(">H", height))
    check_as_pillow(encoder, data, monkeypatch)
    if -(-height // 16) < 3:
        assert re.search("left over|restart intervals", encoder().describe(data)["notes"])


def test_height_behind_the_scan_is_read(encoder) -> None:
    whole = zoo.pillow()
    for data in (zoo.height_later(whole), zoo.height_later(whole)[:-2]):
        assert torch.equal(encoder().decode([data]), encoder().decode([whole]))
    with pytest.raises(BitstreamError, match="gives no height"):
        encoder().cell([zoo.patched(whole, 0xC0, 1, b"\0\0")])
    with pytest.raises(BitstreamError, match="claims too much"):
        encoder().cell(
            [zoo.height_later(zoo.patched(whole, 0xC0, 3, b"\xff\xff")).replace(b"\xff\xdc\0\4\0", b"\xff\xdc\0\4\xff")]
        )


def test_scans_of_components_that_are_missing_are_said(encoder, monkeypatch) -> None:
    data = zoo.fixture("cjpeg-scans-3")
    second = [match.start() for match in re.finditer(rb"\xff\xda", data)][1]
    cut = data[: data.rindex(b"\xff\xc4", 0, second)] + b"\xff\xd9"
    with pytest.warns(UserWarning, match="coefficients are missing .*blocks.*taken as 0"):
        encoder().cell([cut])
    check_as_pillow(encoder, cut, monkeypatch)


def test_restart_markers_out_of_order_are_a_note(encoder) -> None:
    data = zoo.pillow(restart_marker_blocks=2)
    wrong = re.sub(rb"\xff[\xd0-\xd7]", b"\xff\xd0", data)
    with pytest.warns(UserWarning, match="numbered wrongly"):
        cell = encoder().cell([wrong])
    assert torch.equal(cell.centre, encoder().decode([data]))


@pytest.mark.parametrize("edit", ["padding", "comment"])
def test_bytes_are_compared_only_where_the_encoder_writes_these_bytes(encoder, edit: str) -> None:
    """Pillow's headers, and other entropy-coded bits."""
    plain, fitted = zoo.pillow(size=(32, 32)), zoo.pillow(size=(32, 32), optimize=True)
    assert encoder().describe(plain)["compared"] == encoder().describe(fitted)["compared"] == "bytes"
    if edit == "padding":  # data of zeros where the encoder fills up with ones
        data = next(
            found for quality in range(20, 90) if (found := cleared(zoo.pillow(size=(32, 32), quality=quality)))
        )
    else:
        head, rest = zoo.segments(fitted)
        data = b"".join([*head[:-2], zoo.segment(0xFE, b"hello"), *head[-2:]]) + rest
    cell = encoder().cell([data])
    assert not cell.own_bytes.any()
    assert encoder().describe(data)["compared"] == "coefficients and tables"
    assert cell.contains(image := torch.from_numpy(zoo.source()[:32, :32].copy()).permute(2, 0, 1)[None]).all()
    assert encoder().rewrite(data, image) != data


def cleared(data: bytes) -> bytes | None:
    """With the last bit before the end 0 where it was fill, or None if the data ends at a byte's end."""
    stream = parse(data)
    changed = data[:-3] + bytes([data[-3] & 0xFE]) + data[-2:]
    same = data[-3] & 1 and data[-3] != 0xFF and data[-4] != 0xFF
    return changed if same and torch.equal(Reading.of(changed).symbols, Reading.of(data).symbols) and stream else None


@pytest.mark.parametrize("quality", [1, 30, 75, 100])
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"subsampling": 1}, {"mode": "L"}, {"keep_rgb": True}])
def test_own_files_are_known_whatever_their_settings(encoder, quality: int, options) -> None:
    for optimize in (False, True):
        for size in ((1, 1), (17, 9), (45, 37)):
            data = zoo.pillow(quality=quality, optimize=optimize, size=size, **options)
            assert Reading.of(data).own


def test_fitted_tables_have_codes_of_16_bits_at_most() -> None:
    """Codes of more than 16 bits are shortened as annex K says; that all else is libjpeg's, own files show."""
    fibonacci = np.zeros(256, np.int64)
    fibonacci[:25] = [int(1.618**n) + 1 for n in range(25)]
    table = fitted_table(fibonacci)
    assert sum(table[:16]) == 25
    assert sum(n * 2.0 ** -(i + 1) for i, n in enumerate(table[:16])) < 1


def test_tables_of_16_bits_write_no_line_without_a_name(encoder, capfd) -> None:
    data = zoo.pillow(qtables=[[300] * 64] * 2)
    capfd.readouterr()
    cell = encoder().cell([data])
    assert cell.contains(cell.snap(cell.centre)).all()
    encoder().describe(data)
    encoder().rewrite(data, cell.snap(cell.centre))
    assert capfd.readouterr() == ("", "")


VIDEO = b"\0\0\0\x18ftypmp42" + bytes(range(200))


def test_what_follows_the_picture_is_kept(encoder) -> None:
    data = zoo.pillow(xmp=b'<x:xmpmeta MicroVideoOffset="212"/>', progressive=True) + VIDEO
    image = (encoder().decode([data]) * 255).round().byte()
    again = encoder().rewrite(data, image)
    assert again.endswith(b"\xff\xd9" + VIDEO)
    assert b'MicroVideoOffset="212"' in again
    assert encoder().describe(data)["appended"] == "212 bytes: a video"
    # Of a file that this encoder would write but for what follows, too.
    assert encoder().rewrite(zoo.pillow() + VIDEO, image).endswith(VIDEO)


@pytest.mark.parametrize("order", ["<", ">"])
def test_index_of_several_pictures_points_at_them_again(encoder, order: str) -> None:
    buffer = io.BytesIO()
    first, second = (Image.fromarray(zoo.source()).rotate(angle) for angle in (0, 180))
    first.save(buffer, "MPO", save_all=True, append_images=[second], quality=40)
    data = zoo.inserted(buffer.getvalue(), zoo.segment(0xFE, bytes(500)), 2)
    at = data.index(b"MPF\0") + 4
    # The comment moves the index and the pictures alike, but not the size of the first.
    assert data[at : at + 2] == b"II"
    image = (encoder().decode([data]) * 255).round().byte()
    again = encoder().rewrite(data, image)
    found = Image.open(io.BytesIO(again))
    assert (found.format, found.n_frames) == ("MPO", 2)
    entries = found.mpinfo[0xB002]
    assert entries[0]["Size"] == len(again) - len(parse(again).trailing)
    found.seek(1)
    former = Image.open(io.BytesIO(data))
    former.seek(1)
    assert np.array_equal(np.asarray(found), np.asarray(former))


@pytest.mark.parametrize(
    "index", [b"MPF\0", b"MPF\0II*\0\xff\xff\xff\xff", b"MPF\0II*\0\x08\0\0\0\xff\xff" + bytes(99)]
)
def test_damaged_index_of_pictures_is_left_as_it_is(encoder, index: bytes) -> None:
    data = zoo.inserted(zoo.pillow(), zoo.segment(0xE2, index)) + VIDEO
    again = encoder().rewrite(data, (encoder().decode([data]) * 255).round().byte())
    assert index in again
    assert again.endswith(VIDEO)


def test_kinds_of_what_follows() -> None:
    assert appended.kinds(b"\r\n") == "2 bytes"
    assert appended.kinds(zoo.pillow()).endswith("bytes: another picture")
    assert appended.kinds(zoo.pillow() * 2 + VIDEO).endswith("bytes: 2 pictures or more and a video")


@pytest.mark.parametrize("unit", [1, 2])
def test_density_of_a_scan_is_read(encoder, unit: int) -> None:
    data = zoo.patched(zoo.pillow(), 0xE0, 7, bytes([unit]) + struct.pack(">HH", 300, 150))
    scale = {1: 1 / 0.0254, 2: 100}[unit]
    assert encoder().metadata(data).density == (round(300 * scale), round(150 * scale), True)


def test_exif_in_several_segments_is_joined(encoder) -> None:
    body = zoo.exif(6).tobytes()[6:]
    parts = [b"Exif\0\0" + part for part in (body[:9], body[9:30], body[30:])]
    data = zoo.pillow()
    for part in reversed(parts):
        data = zoo.inserted(data, zoo.segment(0xE1, part), 2)
    assert encoder().metadata(data).exif == body
    assert encoder().metadata(data).orientation == 6
    # A second structure is another camera's or editor's, and no part of the first.
    twice = zoo.inserted(data, zoo.segment(0xE1, b"Exif\0\0" + zoo.exif(3).tobytes()[6:]), 5)
    assert encoder().metadata(twice).exif == body


def test_exif_that_is_none_is_left_out_with_a_note(encoder) -> None:
    data = zoo.inserted(zoo.pillow(), zoo.segment(0xE1, b"Exif\0\0garbage!!"), 2)
    with pytest.warns(IdemWarning, match="its EXIF data are damaged, so the PNG is without"):
        encoder().cell([data])
    assert encoder().metadata(data).exif == b""


def test_profile_behind_the_frame_header_is_found(encoder) -> None:
    data = zoo.inserted(zoo.pillow(), zoo.profile_segment(), -1)
    assert encoder().metadata(data).icc == zoo.profile()


def test_endless_markers_and_fill_are_passed_over_at_once(encoder) -> None:
    for filler in (b"\xff" * 2_000_000, b"\xff\xd0" * 1_000_000, b"\xff\x01" * 1_000_000):
        data = zoo.pillow()
        assert torch.equal(Reading.of(data[:2] + filler + data[2:]).symbols, Reading.of(data).symbols)
    with pytest.raises((BitstreamError, InputError), match="65,536 segments"):
        parse(b"\xff\xd8" + b"\xff\xfe\0\2" * 70_000)
