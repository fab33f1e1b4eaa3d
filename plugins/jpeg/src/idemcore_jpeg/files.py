"""JPEG files through Pillow, which is libjpeg-turbo: the real encoder and decoder."""

from __future__ import annotations

import functools
import io
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from idemcore.errors import BitstreamError, InputError
from idemcore.io.images import pillow_limit
from idemcore.io.limits import RAISE

from .stream import BASELINE, Stream, parse

PILLOW_SAMPLING = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2, "grey": -1}
"""What Pillow's encoder can write; of the others, the integer model has the last word."""

LARGEST_STEP = 255
"""Of larger ones libjpeg writes a line on stderr each time, which names no file; the integer model gives the same."""


LONGEST_SIDE = 65_500
"""Of an image that libjpeg writes or reads (JPEG_MAX_DIMENSION)."""


def encode_image(byte_image: Tensor, **options: object) -> bytes:
    """Uint8 [3,H,W] -> a JPEG file; `options` are Pillow's. Raises InputError for a side that libjpeg does not take."""
    if (longest := max(byte_image.shape[1:])) > LONGEST_SIDE:
        text = f"The image has a side of {longest:,} pixels; libjpeg writes JPEG files of at most {LONGEST_SIDE:,}."
        raise InputError(text, "Cut it into pieces, or choose another codec.")
    buffer = io.BytesIO()
    mode = "L" if options.pop("grey", False) else "RGB"
    picture = Image.fromarray(byte_image.permute(1, 2, 0).contiguous().cpu().numpy()).convert(mode)
    try:
        picture.save(buffer, "JPEG", **options)
    except OSError:
        # Pillow fits Huffman tables in a buffer of 1 or 2 bytes a pixel: noise at high quality needs more.
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", **{**options, "optimize": False})
    return buffer.getvalue()


def decode_image(data: bytes) -> Tensor:
    """libjpeg's decode, float32 [1,3,H,W] in [0,1]. Raises BitstreamError, or InputError for what is too large."""
    try:
        with pillow_limit(), Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:
            pixels = np.array(picture.convert("RGB"))
    except Image.DecompressionBombError as error:
        raise InputError("The JPEG is too large: a part of it has more pixels than the limit.", RAISE) from error
    except (OSError, SyntaxError, ValueError) as error:
        stream = parse(data)
        if max(stream.height, stream.width) > LONGEST_SIDE:
            text = (
                f"The JPEG has {stream.width}x{stream.height} pixels; libjpeg reads sides of at most {LONGEST_SIDE:,}."
            )
            raise InputError(text) from error
        raise BitstreamError(f"The JPEG file is damaged or truncated: {error}.", "Fetch the file again.") from error
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255.0


def encode_like(stream: Stream, byte_image: Tensor) -> bytes | None:
    """Encodes with another file's tables, sampling and kind of Huffman tables; None if Pillow cannot write such."""
    options = _pillow_options(stream)
    return None if options is None else encode_image(byte_image, **options)


def writable(stream: Stream) -> bool:
    """Whether Pillow can write a file with these tables and this sampling."""
    return _pillow_options(stream) is not None


def _pillow_options(stream: Stream) -> dict[str, object] | None:
    sampling, tables = stream.sampling, stream.component_tables()
    rgb, grey = sampling.colours == "RGB", sampling.colours == "grey"
    if sampling.name not in PILLOW_SAMPLING or (rgb and sampling.name != "4:4:4") or tables.max() > LARGEST_STEP:
        return None
    # The last table serves all further components.
    short = 1 if (tables == tables[0]).all() and rgb else 2 if (tables[1:] == tables[-1]).all() else 3
    kind = {"subsampling": PILLOW_SAMPLING[sampling.name], "grey": grey, "keep_rgb": rgb}
    optimize = stream.huffman != parse(encode_image(torch.zeros(3, 8, 8, dtype=torch.uint8), **kind)).huffman
    return {**kind, "qtables": tables[:short].tolist(), "optimize": optimize}


def frame_of(stream: Stream) -> Stream | None:
    """A file of this encoder that has all segments of another but those that depend on the image; None if none has."""
    usual = stream.frame == BASELINE and len(stream.scans) == 1 and not stream.trailing and stream.ended
    blank = encode_like(stream, torch.zeros(3, stream.height, stream.width, dtype=torch.uint8)) if usual else None
    if blank is None or (found := parse(blank)).header != stream.header:
        return None
    return replace(found, segments=[*found.header, *stream.huffman])


def quality_of(stream: Stream) -> int:
    """libjpeg's quality if the file has its standard tables, else 0."""
    tables = stream.component_tables()
    same = (
        quality for quality, known in enumerate(standard_tables(), 1) if np.array_equal(tables, known[: len(tables)])
    )
    return next(same, 0)


@functools.lru_cache(maxsize=1)
def standard_tables() -> npt.NDArray[np.int32]:
    """Int32 [100,3,64]: libjpeg's tables of qualities 1 to 100."""
    base = parse(encode_image(torch.zeros(3, 8, 8, dtype=torch.uint8), quality=50)).component_tables()
    scales = (5000 // quality if quality < 50 else 200 - 2 * quality for quality in range(1, 101))
    return np.stack([((base * scale + 50) // 100).clip(1, 255) for scale in scales])
