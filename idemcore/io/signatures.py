"""What kind of file bytes are, by how they begin. Imports nothing heavy."""

from __future__ import annotations

READ_AS_IMAGES = ("PNG", "JPEG", "GIF", "WebP", "TIFF", "BMP", "PPM")
"""Formats of image files that idem reads; the names below."""
_SIGNATURES = (
    (0, b"\x89PNG", "PNG"),
    (0, b"\xff\xd8", "JPEG"),
    (0, b"GIF8", "GIF"),
    (8, b"WEBP", "WebP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"BM", "BMP"),
    *((0, b"P%d" % number + space, "PPM") for number in range(1, 8) for space in (b"\n", b" ", b"\r", b"\t")),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftyphei", "HEIC"),
    (4, b"ftyphev", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (4, b"ftypmsf1", "HEIC"),
    (4, b"ftypcrx ", "Canon raw"),
    (4, b"ftyp", "MP4 or QuickTime video"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"JXL ", "JPEG XL"),
    (4, b"jP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"8BPS", "Photoshop"),
    (0, b"%PDF", "PDF"),
    (0, b"v/1\x01", "OpenEXR"),
    (0, b"IIRO", "Olympus raw"),
    (0, b"FUJIFILMCCD-RAW", "Fujifilm raw"),
    (0, b"PK\x03\x04", "ZIP"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"RIFF", "AVI, WAVE or another RIFF"),
    (0, b"\0\5\x16\7", "AppleDouble (macOS's companion of a file, without the picture)"),
    (0, b"version https://git-lfs", "Git LFS pointer (the file itself was not fetched)"),
    (0, b"\x1dem", ".idem bitstream"),
)
_TEXTS = ((b"<!doctype html", "HTML"), (b"<html", "HTML"), (b"<svg", "SVG"), (b"<?xml", "XML"), (b"{", "JSON"))
_BOM = b"\xef\xbb\xbf"


def format_of(data: bytes) -> str:
    """The name of a file's format; empty if it is none of those that are known."""
    for offset, signature, name in _SIGNATURES:
        if data.startswith(signature, offset):
            return name
    text = data[:4096].removeprefix(_BOM).lstrip().lower()
    return next((name for start, name in _TEXTS if text.startswith(start)), "")


def is_web_page(data: bytes) -> bool:
    """What a server sends instead of a picture that is not there or needs a login."""
    return format_of(data) == "HTML"
