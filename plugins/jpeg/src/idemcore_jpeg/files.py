"""JPEG files through Pillow, which is libjpeg-turbo: the real encoder and decoder."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from idemcore.errors import BitstreamError, InputError
from idemcore.imageio import pillow_limit
from idemcore.limits import RAISE

from .stream import BASELINE, Stream, parse

PILLOW_SAMPLING = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2, "grey": -1}


def encode_image(byte_image: Tensor, **options: object) -> bytes:
    """Uint8 [3,H,W] -> a JPEG file; `options` are Pillow's."""
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
    """libjpeg's decode, float32 [1,3,H,W] in [0,1]. Raises BitstreamError."""
    try:
        with pillow_limit(), Image.open(io.BytesIO(data), formats=["JPEG", "MPO"]) as picture:
            pixels = np.array(picture.convert("RGB"))
    except Image.DecompressionBombError as error:
        raise InputError("The JPEG is too large: a part of it has more pixels than the limit.", RAISE) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise BitstreamError(f"The JPEG file is damaged or truncated: {error}.", "Fetch the file again.") from error
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255.0


def encode_like(stream: Stream, byte_image: Tensor) -> bytes:
    """Encodes with the tables and subsampling of another file, and with its kind of Huffman tables."""
    tables = stream.component_tables().tolist()
    if len(tables) == 3 and tables[1] == tables[2]:
        tables = tables[:2]
    sampling, grey = PILLOW_SAMPLING[stream.subsampling], stream.subsampling == "grey"
    optimize = stream.huffman != standard_huffman(grey)
    return encode_image(byte_image, qtables=tables, subsampling=sampling, optimize=optimize, grey=grey)


def written_here(stream: Stream) -> bool:
    """Whether the file has the headers this encoder writes, so that the same coefficients give the same bytes."""
    blank = torch.zeros(3, stream.height, stream.width, dtype=torch.uint8)
    usual = stream.frame == BASELINE and len(stream.scans) == 1 and not stream.trailing
    return usual and parse(encode_like(stream, blank)).header == stream.header


def quality_of(stream: Stream) -> int:
    """libjpeg's quality if the file has its standard tables, else 0."""
    standard = parse(encode_image(torch.zeros(3, 8, 8, dtype=torch.uint8), quality=50)).component_tables()
    tables = stream.component_tables()
    for quality in range(1, 101):
        scale = 5000 // quality if quality < 50 else 200 - 2 * quality
        if np.array_equal(tables, ((standard * scale + 50) // 100).clip(1, 255)[: len(tables)]):
            return quality
    return 0


def standard_huffman(grey: bool) -> bytes:
    """The Huffman segments of a file that does not fit them to the image."""
    return parse(encode_image(torch.zeros(3, 8, 8, dtype=torch.uint8), grey=grey)).huffman
