"""JPEG files of every kind: those in `files`, and what Pillow, jpeglib and a byte editor make of the same picture."""

from __future__ import annotations

import io
import struct
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jpeglib
import numpy as np
from make_files import FILES, STEPS, profile
from PIL import Image

Make = Callable[[], bytes]
REFUSED = {
    "cjpeg-arithmetic": "arithmetic-coded",
    "cjpeg-arithmetic-progressive": "arithmetic-coded",
    "jpegtran-arithmetic": "arithmetic-coded",
    "magick-cmyk": "YCCK colours",
    "pillow-cmyk": "CMYK colours",
    "edited-ycck": "YCCK colours",
    "edited-12-bit": "12-bit samples",
    "edited-lossless": "lossless",
    "edited-hierarchical": "hierarchical",
    "edited-jpeg-ls": "JPEG-LS",
    "edited-two-components": "2 components",
    "edited-fractional": "fractional sampling",
}
"""What the refusal names."""
EDGES = ("jpegtran-cropped", "edited-longer-cut", "jpeglib-mozjpeg403", "jpeglib-mozjpeg403-444")
"""Exact but for blocks that the edge cuts: they hold what was cropped off, or what trellis quantisation left of them.

All others are exact.
"""

QUICK = {
    "cjpeg-440", "cjpeg-411", "cjpeg-luma-subsampled", "cjpeg-422-as-2x2-1x2", "cjpeg-rgb", "cjpeg-grey",
    "cjpeg-progressive-440", "cjpeg-scans-3", "cjpeg-tables-16-bit-440", "cjpeg-restart-blocks", "jpegtran-rotated-411",
    "magick-stripped", "pillow-tables-three", "pillow-mpo", "jpeglib-mozjpeg403-32x32", "edited-garbage",
    "edited-padding", "edited-no-markers", "edited-adobe-rgb", "edited-table-changes",
    "edited-height-later", "edited-no-huffman-tables", "edited-no-end-trailer", "edited-longer-restarts",
    "edited-longer-progressive", "edited-profile-after-frame",
}  # fmt: skip
"""Exact ones that are looked at in every run; the others are slow together."""


def source() -> np.ndarray:
    """Uint8 [37,45,3]."""
    return np.asarray(Image.open(FILES / "source.png"))


def pillow(mode: str = "RGB", size: tuple[int, int] | None = None, **options: object) -> bytes:
    buffer, picture = io.BytesIO(), Image.fromarray(source())
    picture = picture.crop((0, 0, *size)) if size else picture
    picture.convert(mode).save(buffer, **{"format": "JPEG", "quality": 40, **options})
    return buffer.getvalue()


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[0x010F], found[0x0112] = "a camera", orientation
    return found


def foreign(version: str, factors: str | None = None, size: int | None = None) -> bytes:
    with tempfile.TemporaryDirectory() as folder, jpeglib.version(version):
        image = jpeglib.from_spatial(source()[:size, :size].copy())
        if factors:
            image.samp_factor = factors
        image.write_spatial(f"{folder}/x.jpg", qt=60)
        return Path(folder, "x.jpg").read_bytes()


def fixture(name: str) -> bytes:
    return (FILES / f"{name}.jpg").read_bytes()


def segments(data: bytes) -> tuple[list[bytes], bytes]:
    """Each segment up to the first SOS's, whole, and all that follows it."""
    found, position = [data[:2]], 2
    while True:
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        found.append(data[position:end])
        if data[position + 1] == 0xDA:
            return found, data[end:]
        position = end


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def without(data: bytes, *markers: int) -> bytes:
    head, rest = segments(data)
    return b"".join(part for part in head if part[1] not in markers) + rest


def inserted(data: bytes, extra: bytes, at: int = 1) -> bytes:
    head, rest = segments(data)
    return b"".join([*head[:at], extra, *head[at:]]) + rest


def merged(data: bytes, marker: int) -> bytes:
    """All segments of a kind as one, where the first was."""
    head, rest = segments(data)
    whole = segment(marker, b"".join(part[4:] for part in head if part[1] == marker))
    first = next(i for i, part in enumerate(head) if part[1] == marker)
    return (
        b"".join(whole if i == first else part for i, part in enumerate(head) if i == first or part[1] != marker) + rest
    )


def patched(data: bytes, marker: int, at: int, new: bytes) -> bytes:
    """`new` in place of the bytes `at` a segment's payload."""
    start = data.index(bytes([0xFF, marker])) + 4 + at
    return data[:start] + new + data[start + len(new) :]


def renamed(data: bytes, marker: int) -> bytes:
    """Another kind of frame."""
    start = data.index(b"\xff\xc0")
    return data[:start] + bytes([0xFF, marker]) + data[start + 2 :]


def identified(data: bytes, names: bytes) -> bytes:
    """Other component identifiers, in the frame and in the scan."""
    for i, name in enumerate(names):
        data = patched(data, 0xC0, 6 + 3 * i, bytes([name]))
        data = patched(data, 0xDA, 1 + 2 * i, bytes([name]))
    return data


def adobe(transform: int) -> bytes:
    return segment(0xEE, b"Adobe" + bytes([0, 100, 0, 0, 0, 0, transform]))


def height_later(data: bytes) -> bytes:
    """0 in the frame header, and a DNL segment behind the scan."""
    return patched(data, 0xC0, 1, b"\0\0")[:-2] + segment(0xDC, struct.pack(">H", len(source()))) + data[-2:]


def without_tables(data: bytes, which: tuple[int, ...]) -> bytes:
    """Without some of its Huffman tables, each of which has a segment of its own."""
    head, rest = segments(data)
    return b"".join(part for part in head if part[1] != 0xC4 or part[4] not in which) + rest


def profile_segment() -> bytes:
    return segment(0xE2, b"ICC_PROFILE\0\1\1" + profile())


def garbage(data: bytes) -> bytes:
    head, rest = segments(data)
    return b"\xff\xff".join([head[0], *(part + b"\0rubbish\xff\0" for part in head[1:-1]), head[-1]]) + rest


def padded(data: bytes) -> bytes:
    return data[:-2] + bytes(6) + data[-2:] + b"\r\n<html>"


def table_changes() -> bytes:
    """Chroma's table is defined anew, under luma's number, before its scans."""
    data = fixture("cjpeg-scans-3")
    luma, chroma = (part for part in segments(data)[0] if part[1] == 0xDB)
    chroma = segment(0xDB, b"\0" + chroma[5:])
    data = without(data, 0xDB)
    for i in (1, 2):
        data = patched(data, 0xC0, 8 + 3 * i, b"\0")
    head, rest = segments(data)
    second = rest.index(b"\xff\xc4")
    return b"".join([head[0], luma, *head[1:]]) + rest[:second] + chroma + rest[second:]


def two_components(data: bytes) -> bytes:
    """Its last component is left out of the frame and of the scan, but for the data."""
    head, rest = segments(data)
    shorter = {0xC0: lambda body: body[:5] + b"\2" + body[6:12], 0xDA: lambda body: b"\2" + body[1:5] + body[-3:]}
    return b"".join(segment(p[1], shorter[p[1]](p[4:])) if p[1] in shorter else p for p in head) + rest


PILLOW: dict[str, Make] = {
    **{f"pillow-{s.replace(':', '')}-quality-{q}": partial(pillow, quality=q, subsampling=s)
       for s in ("4:4:4", "4:2:2", "4:2:0") for q in (10, 60, 85)},
    **{f"pillow-{w}x{h}": partial(pillow, size=(w, h)) for w, h in ((1, 1), (8, 8), (16, 16), (17, 9), (7, 33))},
    "pillow-progressive": partial(pillow, progressive=True, subsampling="4:2:2"),
    "pillow-optimized": partial(pillow, optimize=True),
    "pillow-restart-blocks": partial(pillow, restart_marker_blocks=2),
    "pillow-restart-rows": partial(pillow, restart_marker_rows=1, progressive=True),
    "pillow-tables-one": partial(pillow, qtables=[STEPS]),
    "pillow-tables-two": partial(pillow, qtables=[STEPS, STEPS[::-1]]),
    "pillow-tables-three": partial(pillow, qtables=[STEPS, STEPS[::-1], [9] * 64]),
    "pillow-tables-16-bit": partial(pillow, qtables=[[20 * step for step in STEPS], [300] * 64]),
    "pillow-tables-large": partial(pillow, qtables=[[9000 + step for step in STEPS], [12000] * 64]),
    "pillow-rgb": partial(pillow, keep_rgb=True),
    "pillow-grey": partial(pillow, "L"),
    "pillow-grey-progressive": partial(pillow, "L", progressive=True),
    "pillow-bilevel": partial(pillow, "1"),
    "pillow-smooth": partial(pillow, smooth=30),
    "pillow-cmyk": partial(pillow, "CMYK"),
    "pillow-turned": lambda: pillow(exif=exif(6), icc_profile=profile(), comment=b"of a ship", dpi=(300, 300)),
    "pillow-xmp": lambda: pillow(xmp=b"<x:xmpmeta/>" * 20),
    "pillow-mpo": lambda: pillow(format="MPO", save_all=True, append_images=[Image.fromarray(source())]),
}  # fmt: skip

JPEGLIB: dict[str, Make] = {
    f"jpeglib-{version}{'-444' if factors else ''}": partial(foreign, version, factors)
    for version in ("6b", "7", "8d", "9e", "turbo120", "turbo210", "mozjpeg101", "mozjpeg403")
    for factors in (None, "4:4:4")
}
JPEGLIB["jpeglib-mozjpeg403-32x32"] = partial(foreign, "mozjpeg403", size=32)

EDITED: dict[str, Make] = {
    "edited-garbage": lambda: garbage(pillow()),
    "edited-padding": lambda: padded(fixture("cjpeg-440")),
    "edited-no-markers": lambda: without(pillow(), 0xE0),
    "edited-merged-tables": lambda: merged(merged(pillow(), 0xC4), 0xDB),
    "edited-exif-first": lambda: inserted(pillow(), segment(0xE1, b"Exif\0\0" + exif(3).tobytes())),
    "edited-damaged-exif": lambda: inserted(pillow(), segment(0xE1, b"Exif\0\0II*\0\xff\xff")),
    "edited-sof1": lambda: renamed(pillow(), 0xC1),
    "edited-identifiers-0-1-2": lambda: identified(without(pillow(), 0xE0), b"\0\1\2"),
    "edited-identifiers-rgb": lambda: identified(without(pillow(subsampling=0), 0xE0), b"RGB"),
    "edited-identifiers-rgb-with-jfif": lambda: identified(pillow(subsampling=0), b"RGB"),
    "edited-adobe-rgb": lambda: inserted(without(pillow(subsampling=0), 0xE0), adobe(0)),
    "edited-adobe-rgb-422": lambda: inserted(without(pillow(subsampling=1), 0xE0), adobe(0)),
    "edited-adobe-ycc": lambda: inserted(without(pillow(), 0xE0), adobe(1)),
    "edited-adobe-rgb-with-jfif": lambda: inserted(pillow(), adobe(0), 2),
    "edited-table-changes": table_changes,
    "edited-ycck": lambda: inserted(without(pillow("CMYK"), 0xEE), adobe(2)),
    "edited-12-bit": lambda: patched(renamed(pillow(), 0xC1), 0xC1, 0, b"\x0c"),
    "edited-lossless": lambda: renamed(pillow(), 0xC3),
    "edited-hierarchical": lambda: renamed(pillow(), 0xC5),
    "edited-jpeg-ls": lambda: renamed(pillow(), 0xF7),
    "edited-two-components": lambda: two_components(pillow()),
    "edited-height-later": lambda: height_later(pillow(restart_marker_rows=1)),
    "edited-no-huffman-tables": lambda: without(pillow(), 0xC4),
    "edited-no-chroma-huffman-tables": lambda: without_tables(pillow(), (0x01, 0x11)),
    "edited-no-end": lambda: pillow()[:-2],
    "edited-no-end-trailer": lambda: pillow()[:-2] + b"\0\0\1\x0aImage_UTC_Data" + bytes(60) + b"SEFT",
    "edited-no-end-another": lambda: pillow()[:-2] + pillow("L"),
    "edited-longer": lambda: patched(pillow(), 0xC0, 1, struct.pack(">H", 16)),
    "edited-longer-restarts": lambda: patched(pillow(restart_marker_rows=1), 0xC0, 1, struct.pack(">H", 16)),
    "edited-longer-progressive": lambda: patched(pillow(progressive=True), 0xC2, 1, struct.pack(">H", 16)),
    "edited-longer-cut": lambda: patched(pillow(), 0xC0, 1, struct.pack(">H", 20)),
    "edited-profile-after-frame": lambda: inserted(pillow(), profile_segment(), -1),
    "edited-fractional": lambda: patched(patched(pillow(), 0xC0, 7, b"\x31"), 0xC0, 10, b"\x21"),
}

ALL: dict[str, Make] = {
    **{path.stem: partial(fixture, path.stem) for path in sorted(FILES.glob("*.jpg"))},
    **PILLOW,
    **JPEGLIB,
    **EDITED,
}
EXACT = [name for name in ALL if name not in (*REFUSED, *EDGES)]
