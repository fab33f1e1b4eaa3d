"""Images to bitstreams, bitstreams to pictures with certificates, and whether one is the other's."""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..io.arrays import as_images
from ..io.files import read_file
from ..io.images import to_bytes
from ..pipeline.codec import Bitstream, Codec
from ..pipeline.codec import open_bitstream as identified
from ..pipeline.decode_file import presented
from ..pipeline.decoder import Decoder
from ..pipeline.verify import Verdict, readings, verdict
from ..plugins.selection import DEFAULT_CODEC, DEFAULT_GENERATOR, DEFAULT_SOLVER, Settings
from ..protocols import Callback, Encoder, Generator, InversionSolver
from ..runtime import Runtime
from .loading import load_codec, load_decoder
from .picture import Picture


def encode(image: Any, codec: str | Encoder | Codec = DEFAULT_CODEC, **settings: Any) -> Bitstream:
    """The bitstream of one image: `encode("photo.png", quality=10).save("photo.jpg")`.

    `image` is a path, a tensor [3,H,W] or [1,3,H,W], a NumPy array [H,W,3] or a Pillow image, of uint8 samples or
    floats in [0,1]. Raises UsageError for anything else, and for a codec or setting that is wrong.
    """
    return _codec(codec, settings).encode(image)


def decode(
    source: str | PathLike[str] | bytes | Bitstream,
    generator: str | Generator = DEFAULT_GENERATOR,
    solver: str | InversionSolver[Any] = DEFAULT_SOLVER,
    *,
    decoder: Decoder | None = None,
    codec: str | Encoder | Codec | None = None,
    seed: int = 0,
    tradeoff: float = 1.0,
    settings: Settings | None = None,
    callback: Callback | None = None,
) -> Picture:
    """A natural picture of a bitstream, certified: `decode("old.jpg").save("sharp.png")`.

    `source` is a file, its bytes, or what `encode` gave. A `decoder` that was loaded once serves any number of them.
    `codec` is needed only where the bytes do not say who wrote them. `tradeoff` 1 is most realism, 0 least error.
    `callback` is given each `protocols.Step`. Raises BitstreamError, UsageError or MissingError.
    """
    if decoder is not None and (settings or (generator, solver) != (DEFAULT_GENERATOR, DEFAULT_SOLVER)):
        raise UsageError("A decoder has its generator, solver and settings.", "Give these to `load_decoder`.")
    if not 0 <= tradeoff <= 1:
        raise UsageError(f"tradeoff is {tradeoff!r}, not a number from 0 to 1.", "0 is least error, 1 most realism.")
    bitstream = open_bitstream(source, codec)
    decoder = decoder or load_decoder(generator, solver, settings=settings)
    result = decoder.reconstruct(bitstream, seed, tradeoff=tradeoff, callback=callback)
    facts: dict[str, Any] = {"seed": seed, "sample": 0, "tradeoff": tradeoff}
    return Picture(presented(bitstream, result, decoder, **facts))


def verify(
    image: Any, source: str | PathLike[str] | bytes | Bitstream, codec: str | Encoder | Codec | None = None
) -> Verdict:
    """Whether an image re-encodes to a bitstream: `if verify("sharp.png", "old.jpg"): ...`.

    The pixels of an image file are tried as `idem verify` tries them: as stored, turned back, and as they are shown.
    """
    bitstream = open_bitstream(source, codec)
    if isinstance(image, Picture):
        return verdict(bitstream, [image.decoded.result.image])
    if isinstance(image, str | PathLike):
        return verdict(bitstream, readings(Path(image), bitstream))
    return verdict(bitstream, [to_bytes(as_images(image))])


def open_bitstream(source: object, codec: str | Encoder | Codec | None = None) -> Bitstream:
    """The bitstream of a file or of bytes, with `cell`, `decoded` (g(y)) and `codec`; itself if it is one.

    `codec` is needed only where the bytes do not say who wrote them. Raises BitstreamError, UsageError or MissingError.
    """
    if isinstance(source, Bitstream):
        return source
    if not isinstance(source, str | PathLike | bytes):
        hint = "Give a path, bytes, or what `encode` gave; an image is encoded first: `decode(encode(image))`."
        raise UsageError(f"The bitstream is of type {type(source).__name__}.", hint)
    data = source if isinstance(source, bytes) else read_file(Path(source))
    where = "the bitstream" if isinstance(source, bytes) else fspath(source)
    if codec is None:
        return identified(data, where, Runtime.choose())
    return _codec(codec, {}).open(data, where)


def _codec(codec: str | Encoder | Codec, settings: dict[str, Any]) -> Codec:
    if not isinstance(codec, Codec):
        return load_codec(codec, **settings)
    if settings:
        raise UsageError("A loaded codec has its settings.", f"Give {min(settings)} to `load_codec`.")
    return codec
