"""Images to bitstreams, bitstreams to pictures with certificates, and whether one is the other's."""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import UsageError
from ..hookspecs import EncoderSpec
from ..io.arrays import as_images
from ..io.exif import turn_back
from ..io.files import read_file
from ..io.images import decode_bytes, to_bytes, to_float
from ..pipeline.certify import certify as certified
from ..pipeline.codec import Bitstream, Codec
from ..pipeline.codec import open_bitstream as identified
from ..pipeline.container import MAGIC
from ..pipeline.decode_file import presented
from ..pipeline.decoder import Decoder, Reconstruction
from ..pipeline.verify import Verdict, readings, verdict
from ..plugins.catalogue import load_catalogue
from ..plugins.selection import DEFAULT_CODEC, DEFAULT_GENERATOR, DEFAULT_SOLVER, Settings, part_of
from ..protocols import Callback, Encoder, Generator, InversionSolver
from ..runtime import Runtime
from .loading import load_codec, load_decoder
from .picture import Picture


def encode(image: Any, codec: str | Encoder | Codec = DEFAULT_CODEC, **settings: Any) -> Bitstream:
    """The bitstream of one image: `encode("photo.png", quality=10).save("photo.jpg")`.

    `image` is a path, a tensor [3,H,W] or [1,3,H,W], a NumPy array [H,W,3] or a Pillow image, of uint8 samples or
    floats in [0,1]. Raises UsageError for anything else, and for a codec or setting that is wrong.
    """
    if not isinstance(codec, Codec):
        codec = load_codec(codec, **settings)
    elif settings:
        raise UsageError("A loaded codec has its settings.", f"Give {min(settings)} to `load_codec`.")
    return codec.encode(image)


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
    salvage: bool = False,
    callback: Callback | None = None,
) -> Picture:
    """A natural picture of a bitstream, certified: `decode("old.jpg").save("sharp.png")`.

    `source` is a file, its bytes, or what `encode` gave. A `decoder` that was loaded once serves any number of them.
    `codec` is needed only where the bytes do not say who wrote them. `tradeoff` 1 is most realism, 0 least error.
    `salvage` reads a damaged JPEG as far as it goes. `callback` is given each `protocols.Step`. Raises BitstreamError,
    UsageError or MissingError.
    """
    if decoder is not None and (settings or (generator, solver) != (DEFAULT_GENERATOR, DEFAULT_SOLVER)):
        raise UsageError("A decoder has its generator, solver and settings.", "Give these to `load_decoder`.")
    if not 0 <= tradeoff <= 1:
        raise UsageError(f"tradeoff is {tradeoff!r}, not a number from 0 to 1.", "0 is least error, 1 most realism.")
    decoder = decoder or load_decoder(generator, solver, settings=settings)
    bitstream = _opened(source, codec, decoder.runtime, salvage)
    result = decoder.reconstruct(bitstream, seed, tradeoff=tradeoff, callback=callback)
    facts: dict[str, Any] = {"seed": seed, "sample": 0, "tradeoff": tradeoff}
    facts["special"] = ("salvage",) if getattr(bitstream.codec.part.config, "salvage", False) else ()
    return Picture(presented(bitstream, result, decoder, **facts))


def certify(
    image: Any, source: str | PathLike[str] | bytes | Bitstream, codec: str | Encoder | Codec | None = None
) -> Picture:
    """The picture nearest to an image that re-encodes to a bitstream: `certify("upscaled.png", "old.jpg").save(...)`.

    It makes the result of any other program exact, as far as the codec can. `image` is as for `encode`, of the
    bitstream's size, and upright, as `decode` gives it; the samples of a file are taken as they are stored. Raises
    UsageError for another size.
    """
    bitstream = open_bitstream(source, codec)
    metadata = bitstream.codec.encoder.metadata(bitstream.stream)
    pixels = turn_back(_stored(image), metadata.orientation if metadata else 1)
    if tuple(pixels.shape[-2:]) != bitstream.size:
        found, wanted = ("{1}x{0}".format(*size) for size in (pixels.shape[-2:], bitstream.size))
        raise UsageError(
            f"The image has {found} pixels, but {bitstream.where or 'the bitstream'} holds a picture of {wanted}.",
            f"Resize it to {wanted} first.",
        )
    solution = to_float(pixels).to(bitstream.decoded.device)
    nearest = certified(bitstream.cell, solution)
    reason = "" if nearest.exact[0] else bitstream.cell.reason(nearest.image)
    return Picture(presented(bitstream, Reconstruction(nearest, 0, 0, {}, solution, reason), None))


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


def open_bitstream(
    source: object,
    codec: str | Encoder | Codec | None = None,
    *,
    salvage: bool = False,
    name: str = "the bitstream",
    device: str = "auto",
    precision: str = "auto",
    tile: int | None = None,
) -> Bitstream:
    """The bitstream of a file or of bytes, with `cell`, `decoded` (g(y)) and `codec`; itself if it is one.

    `codec` is needed only where the bytes do not say who wrote them. `salvage` reads a damaged JPEG as far as it goes.
    `name` is what errors call bytes. `device`, `precision` and `tile` are as for `load_decoder`. Raises BitstreamError,
    UsageError or MissingError.
    """
    return _opened(source, codec, Runtime.choose(device, precision, tile), salvage, name)


def _opened(
    source: object,
    codec: str | Encoder | Codec | None,
    runtime: Runtime,
    salvage: bool = False,
    name: str = "the bitstream",
) -> Bitstream:
    if isinstance(source, Bitstream):
        _check_salvage(source.codec, salvage)
        return source
    if not isinstance(source, str | PathLike | bytes):
        hint = "Give a path, bytes, or what `encode` gave; an image is encoded first: `decode(encode(image))`."
        raise UsageError(f"The bitstream is of type {type(source).__name__}.", hint)
    data = source if isinstance(source, bytes) else read_file(Path(source))
    where = name if isinstance(source, bytes) else fspath(source)
    special = ("salvage",) if salvage else ()
    if codec is None:
        return identified(data, where, runtime, special=special)
    if not isinstance(codec, Codec):
        part = part_of(load_catalogue(), "codec", codec)
        if isinstance(codec, str) and part.spec.identify and data[: len(MAGIC)] == MAGIC:
            return _of(part.spec, identified(data, where, runtime, special=special))
        if salvage and "salvage" in part.spec.offers:
            part = part_of(load_catalogue(), "codec", codec, {"salvage": True})
        return Codec.build(part, runtime).open(data, where)
    _check_salvage(codec, salvage)
    return codec.open(data, where)


def _of(spec: EncoderSpec, bitstream: Bitstream) -> Bitstream:
    """The bitstream, with the settings that its container names. Raises UsageError if another codec wrote it."""
    if bitstream.codec.part.spec != spec:
        text = f"{bitstream.where} was written by codec '{bitstream.codec.name}', not by '{spec.name}'."
        raise UsageError(text, "Leave the codec out: the file says who wrote it.")
    return bitstream


def _check_salvage(codec: Codec, wanted: bool) -> None:
    """Raises UsageError for a codec that could salvage, but was loaded without."""
    if wanted and "salvage" in codec.part.spec.offers and not getattr(codec.part.config, "salvage", False):
        hint = "Give it to `load_codec` or `open_bitstream`, or let `decode` open the file."
        raise UsageError(f"Codec '{codec.name}' was loaded without salvage=True.", hint)


def _stored(image: Any) -> Tensor:
    """Uint8 [1,3,H,W]. Raises UsageError for several images."""
    if isinstance(image, str | PathLike):
        return decode_bytes(read_file(Path(image)), image, as_stored=True)
    pixels = to_bytes(as_images(image))
    if len(pixels) != 1:
        raise UsageError(f"The batch has {len(pixels)} images.", "Give them one by one.")
    return pixels
