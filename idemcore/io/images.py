"""Image files to images and back: 8-bit sRGB exactly, and a clear error for what 8-bit sRGB cannot hold."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageColor, ImageOps, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from ..errors import IdemError, IdemWarning, InputError, UsageError
from . import jpeg_metadata
from .colour_profiles import fault_in_png, is_grey, to_srgb
from .exif import Metadata
from .files import atomic_write, read_file
from .limits import RAISE, max_pixels, too_large
from .signatures import READ_AS_IMAGES, format_of, is_web_page

Colour = tuple[int, int, int]

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
"""What is read, by Pillow's names."""

_EIGHT_BIT_MODES = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "YCbCr"}
_GREY_MODES = {"1", "L", "LA", "La"}
_OTHER_MODES = {
    "CMYK": "CMYK colours",
    "LAB": "Lab colours",
    "I": "32-bit integer samples",
    "F": "32-bit float samples",
}
PNG_HEADER = 33
"""Bytes of a PNG's signature and its first chunk, IHDR."""
LARGEST_CHUNK = 2**26
"""Bytes of a profile or text in a PNG; Pillow's own limit is lower than some profiles of printers."""
_FETCH = "Check the file, or fetch it again."
_CONVERT = "Convert it to an 8-bit RGB PNG first, e.g. `magick FILE -colorspace sRGB -depth 8 out.png`."


def read_image(path: str | PathLike[str], background: Colour | None = None) -> Tensor:
    """Float32 [1,3,H,W] in [0,1], exactly k/255: upright (EXIF), in sRGB (ICC, relative colorimetric).

    Transparent pixels need a `background`, over which they are laid in sRGB. Raises UsageError for a path that cannot
    be read, InputError for a file that is damaged, no image, or an image that 8-bit sRGB cannot hold: 16-bit, float,
    CMYK, animated.
    """
    return to_float(read_bytes(path, background))


def read_bytes(path: str | PathLike[str], background: Colour | None = None) -> Tensor:
    """As `read_image`, but uint8 [1,3,H,W]."""
    return decode_bytes(read_file(Path(path)), path, background)


def decode_bytes(
    data: bytes, name: str | PathLike[str], background: Colour | None = None, as_stored: bool = False
) -> Tensor:
    """As `read_bytes`, of a file's content; `name` is what errors call it.

    `as_stored`: the samples of the file itself, neither turned upright nor converted to sRGB.
    """
    path = Path(name)
    try:
        with pillow_limit():
            image = _open(data, path)
            image.load()
            stored, (image, fault) = image, (image, "") if as_stored else _upright(image)
    except Image.DecompressionBombError as error:
        raise InputError(f"{path} is too large: more than {max_pixels():,} pixels.", RAISE) from error
    except IdemError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever their parsing meets
        raise InputError(f"{path} is damaged or cut short: {error}.", _FETCH) from error
    if fault:
        warnings.warn(IdemWarning(f"{path} has damaged EXIF data ({fault}): it is taken for upright"), stacklevel=2)
    icc = b"" if as_stored else _profile(stored, data, path)
    return _tensor(_in_srgb(image, path, background, icc))


def from_pillow(image: Image.Image, name: str) -> Tensor:
    """Uint8 [1,3,H,W] of an image that Pillow opened or made, in sRGB; pixels as they lie. Raises InputError."""
    if image.mode not in _EIGHT_BIT_MODES:
        raise InputError(f"{name} has {_OTHER_MODES.get(image.mode, image.mode)}; idem works on 8-bit sRGB.", _CONVERT)
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        raise InputError(f"{name} has transparent pixels.", "Lay it over a colour first: `Image.alpha_composite`.")
    return _tensor(_in_srgb(image, Path(name), None, image.info.get("icc_profile", b"")))


@contextmanager
def pillow_limit() -> Iterator[None]:
    """Pillow refuses more pixels than `limits.max_pixels()`, and warns of nothing: what matters is an error."""
    theirs = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK
    Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = max_pixels() // 2, LARGEST_CHUNK  # it takes twice as many
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = theirs


def to_bytes(image: Tensor) -> Tensor:
    """Uint8 of an image [B,3,H,W]: clamped to [0,1], times 255, rounded half to even. Raises IdemError for NaN."""
    if image.isnan().any():
        raise IdemError("The image has pixels that are not a number.", "Look at what made it: a network may diverge.")
    return image.clamp(0, 1).mul_(255).round_().to(torch.uint8)


def to_float(byte_image: Tensor) -> Tensor:
    """Float32 k/255 of a byte image, the same bits on every device."""
    # Dividing by a Python number multiplies by its rounded inverse on CUDA, which is not always k/255.
    return byte_image.to(torch.float32) / torch.full((), 255.0, device=byte_image.device)


def write_png(byte_image: Tensor, path: str | PathLike[str]) -> None:
    """Writes uint8 [1,3,H,W] or [3,H,W] as an RGB PNG, whole or not at all."""
    atomic_write(Path(path), png_bytes(byte_image))


def png_bytes(byte_image: Tensor, metadata: Metadata | None = None) -> bytes:
    """The content of an RGB PNG of uint8 [1,3,H,W] or [3,H,W], with its metadata as chunks eXIf, iCCP and pHYs.

    A profile of a single channel makes it a grey PNG, as PNG demands. A profile that readers would refuse, or that is
    for other colours, is left out with a warning. What is given is read back first; raises IdemError if it differs.
    """
    if byte_image.dtype != torch.uint8 or byte_image.shape[:-2] not in ((3,), (1, 3)):
        raise ValueError(f"expected uint8 [3,H,W] or [1,3,H,W], not {byte_image.dtype} {list(byte_image.shape)}")
    pixels = byte_image.reshape(byte_image.shape[-3:]).permute(1, 2, 0).contiguous().cpu().numpy()
    buffer, image, chunks = io.BytesIO(), Image.fromarray(pixels), dict[str, bytes]()
    metadata = metadata or Metadata()
    if is_grey(metadata.icc) and bool((pixels == pixels[..., :1]).all()):
        image = image.getchannel(0)
    if metadata.icc and (fault := fault_in_png(metadata.icc, image.mode)):
        warnings.warn(IdemWarning(f"the PNG is without its colour profile, which {fault}"), stacklevel=2)
    elif metadata.icc:
        chunks["icc_profile"] = metadata.icc
    if metadata.exif:
        chunks["exif"] = metadata.exif
    image.save(buffer, "PNG", **chunks)
    data = _with_density(buffer.getvalue(), metadata.density)
    if not np.array_equal(decode_bytes(data, "the PNG", as_stored=True)[0].permute(1, 2, 0).numpy(), pixels):
        raise IdemError("The PNG that was made does not hold the image.", "Report this to idem's authors.")
    return data


def _with_density(png: bytes, density: tuple[int, int, bool]) -> bytes:
    """With a pHYs chunk behind the first, which is IHDR; Pillow writes none for an aspect without a unit."""
    x, y, metric = density
    if not x:
        return png
    chunk = b"pHYs" + struct.pack(">IIB", x, y, metric)
    after = PNG_HEADER
    return png[:after] + struct.pack(">I", 9) + chunk + struct.pack(">I", zlib.crc32(chunk)) + png[after:]


def parse_background(text: str) -> Colour:
    """`#rrggbb`, or a colour's CSS name such as `white`, as (red, green, blue) in 0..255."""
    try:
        red, green, blue, *alpha = ImageColor.getrgb(text)
    except ValueError:
        alpha = [0]
    if alpha:
        raise UsageError(f"--background {text!r} is not an opaque colour.", "Use #rrggbb, white or black.")
    return red, green, blue


def _open(data: bytes, path: Path) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise _unidentified(data, path) from error
    if fault := too_large(image.height, image.width):
        raise InputError(f"{path} is too large: {fault}.", RAISE)
    # MPO is the JPEG of phones: its first frame is the photograph, the others are previews and depth maps.
    if image.format != "MPO" and (frames := getattr(image, "n_frames", 1)) > 1:
        raise InputError(f"{path} is animated or has several pages ({frames}).", "Save one of them as a PNG.")
    depth = _sample_bits(image, data)
    if depth > 8:
        raise InputError(f"{path} has {depth}-bit samples; idem works on 8-bit images.", _CONVERT)
    if image.mode not in _EIGHT_BIT_MODES:
        raise InputError(f"{path} has {_OTHER_MODES.get(image.mode, image.mode)}; idem works on 8-bit sRGB.", _CONVERT)
    return image


def _unidentified(data: bytes, path: Path) -> InputError:
    if not data:
        return InputError(f"{path} is empty.")
    kind = format_of(data)
    if kind in READ_AS_IMAGES:
        return InputError(f"{path} is damaged or cut short: only its first bytes are those of an image.", _FETCH)
    if is_web_page(data):
        return InputError(f"{path} is a web page (HTML), not an image.", "Fetch the image itself.")
    if kind:
        return InputError(f"{path} is a file in {kind} format, which idem does not read as an image.", _CONVERT)
    return InputError(f"{path} is not an image: it starts with {data[:8]!r}.", f"idem reads {', '.join(FORMATS)}.")


def _sample_bits(image: Image.Image, data: bytes) -> int:
    """Bits a sample in the file: Pillow silently reduces 16-bit colour to 8 bits."""
    if image.format == "PNG":
        return data[24]  # the bit depth of IHDR, always the first chunk
    if image.format == "TIFF":
        return int(max(image.tag_v2.get(258, (1,))))  # type: ignore[attr-defined]  # BitsPerSample
    if image.format == "PPM":
        return _ppm_bits(data)
    return 16 if image.mode.startswith("I;16") else 8


def _ppm_bits(data: bytes) -> int:
    fields: list[bytes] = []
    for line in io.BytesIO(data[:65536]):
        fields += line.split(b"#")[0].split()
        if len(fields) >= 4:
            break
    wide = fields[0] in (b"P2", b"P3", b"P5", b"P6") and int(fields[3]) > 255
    return 16 if wide else 8


def _in_srgb(image: Image.Image, path: Path, background: Colour | None, icc: bytes) -> Image.Image:
    rgb = _to_srgb(image, path, icc)
    if not image.has_transparency_data:
        return rgb
    alpha = image.convert("RGBA").getchannel("A")
    if alpha.getextrema() == (255, 255):
        return rgb
    if background is None:
        hint = "Say what lies behind them, e.g. `--background white` or `--background '#808080'`."
        raise InputError(f"{path} has transparent pixels.", hint)
    return Image.composite(rgb, Image.new("RGB", image.size, background), alpha)


def _to_srgb(image: Image.Image, path: Path, icc: bytes) -> Image.Image:
    """RGB without alpha. The embedded profile, if any, is converted by relative colorimetric intent."""
    # By way of RGBA, because Pillow would warn about a palette with transparency.
    colours = (image.convert("RGBA") if image.has_transparency_data else image).convert("RGB")
    if not icc:
        return colours
    if is_grey(icc) and image.mode in _GREY_MODES:
        colours = colours.convert("L")
    try:
        return to_srgb(colours, icc)
    except ValueError as error:
        message = f"{path} has a colour profile that {error}: its colours are taken as sRGB"
        warnings.warn(IdemWarning(message), stacklevel=2)
        return colours.convert("RGB")


def _upright(image: Image.Image) -> tuple[Image.Image, str]:
    """Turned as its EXIF data say, and why they cannot be read, if so: the pixels are sound."""
    try:
        return ImageOps.exif_transpose(image), ""
    except Exception as error:  # whatever Pillow's parsing meets
        return image, str(error)


def _profile(image: Image.Image, data: bytes, path: Path) -> bytes:
    """The embedded profile; Pillow passes over one that a JPEG has behind its frame header."""
    if image.format not in ("JPEG", "MPO"):
        return image.info.get("icc_profile") or b""
    icc, fault = jpeg_metadata.profile(list(jpeg_metadata.segments(data)))
    if fault:
        warnings.warn(IdemWarning(f"{path}: {fault}, so its colours are taken as sRGB"), stacklevel=2)
    return icc


def _tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].contiguous()
