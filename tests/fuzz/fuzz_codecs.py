"""Targets: bitstreams, and image files."""

from __future__ import annotations

import io
import random
import zipfile
import zlib
from functools import partial
from typing import Any

import google_crc32c
from fuzz_target import Made, Run, as_file, one_in, photo, saved
from PIL import Image, ImageCms


def sealed(rng: random.Random, data: bytes) -> bytes:
    """With the checksum of an .idem file, most of the time."""
    if one_in(8, rng) or len(data) < 8:
        return data
    return data[:-4] + google_crc32c.value(data[:-4]).to_bytes(4, "big")


def container() -> Made:
    from idemcore.pipeline.container import MAGIC, Container

    def run(data: bytes) -> None:
        assert Container.unpack(data, "x.idem").pack() == data

    seeds = [Container(b"abcd", w, h, bytes(range(20))).pack() for w, h in ((1, 1), (512, 768), (65536, 2048))]
    return run, seeds, [MAGIC, b"\x80", b"\xff\xff\xff\xff\x7f", b"\1", b"\2"]


def believed(run: Run) -> Run:
    """With the checksum of a learned codec's symbols right whatever they are, as one who means harm would have it."""

    def trusting(data: bytes) -> object:
        from idemcore.learned import coding

        right, coding._checksum = coding._checksum, lambda symbols: _Same()  # type: ignore[assignment]
        try:
            return run(data)
        finally:
            coding._checksum = right

    return trusting


class _Same:
    def __ne__(self, other: object) -> bool:
        return False


def opened(codec: str, **settings: Any) -> Made:
    """Whole files of a codec, as `idem decode --mse` and `idem inspect` read them; the network is loaded once."""
    import torch

    from idemcore.pipeline.codec import Bitstream, Codec
    from idemcore.pipeline.container import MAGIC, Container
    from idemcore.runtime import Runtime

    built = Codec.load(codec, Runtime(torch.device("cpu"), torch.float32), **settings)
    images = [torch.from_numpy(photo(side, side)).permute(2, 0, 1)[None].float() / 255 for side in (3, 24, 56)]
    seeds = [built.encode(image).data for image in images]

    @believed
    def run(data: bytes) -> None:
        stream, size = data, None
        if data[: len(MAGIC)] == MAGIC:
            found = Container.unpack(data, "x.idem")
            stream, size = found.payload, (found.height, found.width)
        bitstream = Bitstream(built, data, stream, size, "x.idem")
        assert size in (None, bitstream.size)
        built.encoder.describe(stream)

    return run, seeds, [seed[:8] for seed in seeds]


def jpegs() -> list[bytes]:
    """Small ones of every kind that Pillow writes."""
    found = []
    for number, options in enumerate(
        [{}, {"quality": 10, "optimize": True}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 1},
         {"progressive": True, "subsampling": 0, "quality": 95}, {"restart_marker_blocks": 2}, {"quality": 100},
         {"progressive": True, "restart_marker_rows": 1, "subsampling": 2}, {"exif": _exif(6)}, {"comment": b"hello"}]
    ):  # fmt: skip
        found.append(saved(Image.fromarray(photo(16 + 3 * number, number)), "JPEG", **options))
    found.append(saved(Image.fromarray(photo()).convert("L"), "JPEG"))
    found.append(saved(Image.fromarray(photo()).convert("L"), "JPEG", progressive=True))
    found.append(saved(Image.fromarray(photo()).convert("CMYK"), "JPEG"))
    return found


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


MARKERS = [bytes([0xFF, m]) for m in (0, 0xC0, 0xC1, 0xC2, 0xC4, 0xC9, 0xD0, 0xD7, 0xD8, 0xD9, 0xDA, 0xDB, 0xDD, 0xEE)]


def jpeg() -> Made:
    """The reader alone: segments, tables and coefficients."""
    from idemcore.errors import IdemError
    from idemcore_jpeg.entropy import read_coefficients
    from idemcore_jpeg.stream import parse

    def run(data: bytes) -> None:
        """Reads strictly, then as far as it goes; raises what the first raises, unless the second does."""
        refused: IdemError | None = None
        try:
            complete = read_coefficients(parse(data)).complete
        except IdemError as error:
            refused, complete = error, False
        stream = parse(data)
        found = read_coefficients(stream, salvage=True)
        assert found.complete or not complete
        for component, table in enumerate(stream.component_tables()):
            if found.planes[component].size < 1 << 20:
                low, high = found.interval(component, table)
                assert (low <= high).all()
        if refused:
            raise refused

    return run, jpegs(), MARKERS


def jpeg_cell() -> Made:
    """All that `idem decode --mse` and `idem inspect` do with a JPEG."""
    return opened("jpeg")[0], jpegs(), MARKERS


def tiny_network() -> Any:
    """A hyperprior codec of a few channels with random weights."""
    import torch
    from torch import nn

    from idemcore.learned.factorized import FactorizedDensity
    from idemcore.learned.model import Group, LatentModel

    class Tiny(LatentModel):
        def __init__(self) -> None:
            super().__init__()
            self.latents, self.groups = 4, (Group(slice(0, 2), 0), Group(slice(0, 2), 1), Group(slice(2, 4)))
            self.g_a = self.g_s = self.h_a = nn.Identity()
            self.h_s = nn.ConvTranspose2d(3, 8, 4, 4)
            self.entropy_bottleneck = FactorizedDensity(3)

        def gaussian(self, channels: slice, hyper: Any, y_hat: Any) -> tuple[Any, Any]:
            means, scales = hyper.chunk(2, 1)
            return means[:, channels] + y_hat[:, :1], scales[:, channels].abs()

        def set_spread(self, spread: Any) -> None:
            raise AssertionError("not trained")

        def widen(self, gains: Any) -> None:
            raise AssertionError("not trained")

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Tiny()
    with torch.no_grad():
        model.h_s.weight.mul_(4)
        model.entropy_bottleneck.fit_quantiles()
    return model


def latents() -> Made:
    """Range-coded streams of a learned codec; the first two bytes are the size of y."""
    import torch

    from idemcore.learned.coding import EntropyCoder
    from idemcore.learned.model import hyper_size

    coder = EntropyCoder(tiny_network())
    seeds = []
    for height, width in ((1, 1), (8, 12), (3, 14)):
        rng = torch.Generator().manual_seed(height)
        y = 9 * torch.randn(1, 4, height, width, generator=rng)
        z = 9 * torch.randn(1, 3, *hyper_size((height, width)), generator=rng)
        seeds.append(bytes([height - 1, width - 1]) + coder.encode(y, z))

    @believed
    def run(data: bytes) -> None:
        sizes = [*data[:2], 1, 1]
        coder.decode(data[2:], (1 + sizes[0] % 48, 1 + sizes[1] % 48))

    return run, seeds, [b"\xff" * 8, b"\0" * 8, b"\xff" * 400]


def images() -> Made:
    from idemcore.io.images import decode_bytes

    rgb, small = Image.fromarray(photo()), Image.fromarray(photo(5))
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    transparent = rgb.convert("RGBA")
    transparent.putalpha(200)
    seeds = [
        saved(rgb, "PNG"), saved(rgb.convert("P"), "PNG"), saved(small.convert("1"), "PNG"), saved(transparent, "PNG"),
        saved(small, "PNG", icc_profile=icc), saved(rgb.convert("L"), "PNG"), saved(rgb, "JPEG", exif=_exif(6)),
        saved(rgb, "JPEG", progressive=True), saved(rgb.convert("CMYK"), "JPEG"), saved(rgb, "WEBP"),
        saved(transparent, "WEBP", lossless=True), saved(small, "WEBP", save_all=True, append_images=[small]),
        saved(rgb, "TIFF"), saved(rgb, "TIFF", compression="tiff_lzw"), saved(rgb, "TIFF", compression="tiff_deflate"),
        saved(rgb, "TIFF", compression="jpeg"), saved(small.convert("I;16"), "TIFF"), saved(rgb, "BMP"),
        saved(rgb.convert("P"), "BMP"), saved(rgb, "GIF"), saved(small, "GIF", save_all=True, append_images=[rgb]),
        saved(rgb, "PPM"), saved(rgb.convert("L"), "PPM"), saved(rgb.convert("1"), "PPM"), b"P3 2 1 255 1 2 3 4 5 6\n",
        b"P1 # one\n2 2\n1 0 0 1\n", saved(small, "MPO", save_all=True, append_images=[small]),
    ]  # fmt: skip
    chunks = [b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"iCCP", b"eXIf", b"zTXt", b"fcTL", b"acTL", b"gAMA"]
    riff = [b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF"]
    others = [b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"P6", b"P7", b"Pf", b"RIFF", b"\x21\xff\x0b", b"\x2c"]
    return partial(decode_bytes, name="x.png"), seeds, [*chunks, *riff, *others, *MARKERS]


def png_checksums(rng: random.Random, data: bytes) -> bytes:
    """With the right checksum of each chunk of a PNG, most of the time."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n") or one_in(8, rng):
        return data
    out, position = bytearray(data), 8
    while position + 12 <= len(data):
        end = position + 8 + int.from_bytes(data[position : position + 4], "big")
        if end + 4 > len(data):
            break
        out[end : end + 4] = zlib.crc32(out[position + 4 : end]).to_bytes(4, "big")
        position = end + 4
    return bytes(out)


def zips() -> Made:
    """Zip files of images, as `idem train` takes them."""
    from idemcore.io.image_sets import pictures

    seeds = []
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive:
            archive.writestr("a.png", saved(Image.fromarray(photo(5)), "PNG"))
            archive.writestr("b/c.jpg", saved(Image.fromarray(photo(8)), "JPEG"))
        seeds.append(buffer.getvalue())
    run = as_file(lambda path: list(pictures(path)), "pictures.zip")
    return run, seeds, [b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b".png", b"\x0c\0", b"\x09\0", b"\x5d\0"]
