"""A codec, and the bitstreams that it writes and reads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from ..errors import BitstreamError, IdemError, MissingError, named
from ..hookspecs import EncoderSpec
from ..io.arrays import as_image
from ..io.files import atomic_write
from ..io.images import png_bytes, to_bytes
from ..io.signatures import READ_AS_IMAGES, format_of, is_web_page
from ..plugins.catalogue import Catalogue, NotInstalled, import_target, load_catalogue
from ..plugins.registry import distributions_that_read
from ..plugins.selection import DEFAULT_CODEC, Part, choose
from ..protocols import Cell, Encoder
from ..results.certificate import CodecFacts
from ..runtime import Runtime
from .container import MAGIC, Container
from .identity import CPU_FP32, Computed, codec_facts


@dataclass(frozen=True, repr=False)
class Codec:
    """An encoder with the spec and settings it was built from."""

    part: Part[EncoderSpec]
    encoder: Encoder
    computed: Computed = CPU_FP32

    @classmethod
    def build(cls, part: Part[EncoderSpec], runtime: Runtime) -> Codec:
        """As chosen by `selection`. Raises MissingError for weights that are not here."""
        codec = cls(part, part.build(runtime), Computed.of(runtime))
        _ = codec.facts  # what cannot be identified fails before the work, not after
        return codec

    @classmethod
    def load(cls, name: str = DEFAULT_CODEC, runtime: Runtime | None = None, **settings: Any) -> Codec:
        """`build` by name: `Codec.load("jpeg", quality=10)`. Raises UsageError for a name or setting that is wrong."""
        return cls.build(choose(load_catalogue(), "codec", name, settings), runtime or Runtime.choose())

    @property
    def name(self) -> str:
        return self.part.spec.name

    @cached_property
    def facts(self) -> CodecFacts:
        """What certificates say of it; what a bitstream says of itself comes with that. Found once."""
        return codec_facts(self.part, self.encoder.model_id)

    def __repr__(self) -> str:
        settings = ", ".join(f"{key}={value!r}" for key, value in asdict(self.part.config).items())
        return f"<Codec {self.name}({settings})>"

    def encode(self, image: Any) -> Bitstream:
        """The bitstream of one image: a tensor, NumPy array, Pillow image or path, see `io.arrays.as_image`.

        Raises UsageError for what is none.
        """
        return self.bitstream_of(as_image(image))

    def bitstream_of(self, image: Tensor) -> Bitstream:
        """`encode` of an image that is sound: float32 [1,3,H,W] in [0,1], which the encoder rounds to 8 bits."""
        height, width = image.shape[-2:]
        with torch.no_grad():
            stream = self._single(self.encoder.encode(image))
        contained = Container(self.encoder.model_id, width, height, stream).pack() if self.encoder.model_id else stream
        return Bitstream(self, contained, stream, (height, width))

    def _single(self, streams: object) -> bytes:
        """The stream of the one image that was encoded. Raises IdemError for what `encode` may not give."""
        if isinstance(streams, list | tuple) and len(streams) == 1 and isinstance(streams[0], bytes):
            return streams[0]
        found = f"{len(streams)} streams" if isinstance(streams, list | tuple) else type(streams).__name__
        text = f"`encode` of codec '{self.name}' gave {found} for one image, not a list of bytes, one an image."
        raise IdemError(text, self.part.how_to_check)

    def open(self, data: bytes, where: str = "bitstream") -> Bitstream:
        """The bitstream of a file's bytes that this codec wrote. Raises BitstreamError for others."""
        if self.encoder.model_id and data[: len(MAGIC)] == MAGIC:
            container = Container.unpack(data, where)
            if container.model_id != self.encoder.model_id:
                found, own = container.model_id.hex(), self.encoder.model_id.hex()
                text = f"{where} was written by the model {found}; codec '{self.name}' with these settings is {own}."
                raise BitstreamError(text, "Leave the codec out: the file says which one reads it.")
            return Bitstream(self, data, container.payload, (container.height, container.width), where)
        return Bitstream(self, data, data, None, where)


@dataclass(frozen=True)
class KeptCodecs:
    """Builds codecs as `Codec.build` does, and each only once."""

    kept: dict[str, Codec] = field(default_factory=dict)

    def __call__(self, part: Part[EncoderSpec], runtime: Runtime) -> Codec:
        key = f"{part.distribution}:{part.spec.name}:{part.config}"
        if key not in self.kept:
            self.kept[key] = Codec.build(part, runtime)
        return self.kept[key]


@dataclass(frozen=True, repr=False)
class Bitstream:
    """One image's bitstream with the codec that reads it."""

    codec: Codec
    data: bytes
    """The whole file: an `.idem` container, or a format of the codec's own."""
    stream: bytes
    """What the encoder wrote, without the container."""
    contained_size: tuple[int, int] | None
    """(H, W) where the stream does not hold it itself."""
    where: str = ""
    """The file's name, for errors."""
    notes: list[str] = field(default_factory=list, compare=False)
    """What is odd about the file, each the rest of a sentence; known once its cell is."""

    @cached_property
    def cell(self) -> Cell:
        """The set of images that encode to it. Raises BitstreamError if the stream is damaged."""
        try:
            with torch.no_grad(), named(self.where or "the bitstream") as notes:
                cell = self.codec.encoder.cell([self.stream], self.contained_size)
            self.notes.extend(notes)
            return cell
        except IdemError as error:
            if self.where:
                error.message = f"{self.where}: {error.message}"
            raise

    @property
    def decoded(self) -> Tensor:
        """g(y), [1,3,H,W]: the plain decode."""
        return self.cell.centre

    @cached_property
    def byte_image(self) -> Tensor:
        """g(y) rounded to 8 bits, uint8 [1,3,H,W], on the CPU."""
        return to_bytes(self.decoded).cpu()

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return cast("tuple[int, int]", tuple(self.decoded.shape[-2:]))

    @property
    def bits_per_pixel(self) -> float:
        height, width = self.size
        return 8 * len(self.data) / (height * width)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def save(self, path: str | PathLike[str]) -> Path:
        """Writes the file, whole or not at all. Returns its path."""
        atomic_write(Path(path), self.data)
        return Path(path)

    def __repr__(self) -> str:
        height, width = self.size
        return f"<Bitstream {self.codec.name} {width}x{height}, {len(self.data)} bytes, {self.bits_per_pixel:.3f} bpp>"

    def _repr_png_(self) -> bytes:
        return png_bytes(self.byte_image)


def open_bitstream(
    data: bytes,
    where: str = "bitstream",
    runtime: Runtime | None = None,
    catalogue: Catalogue | None = None,
    settings: Mapping[str, Any] | None = None,
    build: Callable[[Part[EncoderSpec], Runtime], Codec] = Codec.build,
    special: Collection[str] = (),
) -> Bitstream:
    """The bitstream of a file's bytes, whichever installed codec wrote it; `settings` are the codec's.

    `build` may keep codecs for further files. `special` are settings that are switched on in codecs which offer a
    capability of that name, such as `salvage`. Raises BitstreamError if the file is damaged or no bitstream,
    MissingError if no installed codec knows its model.
    """
    catalogue, runtime = catalogue or load_catalogue(), runtime or Runtime.choose()
    if data[: len(MAGIC)] == MAGIC:
        container = Container.unpack(data, where)
        name, overrides = _identify(container.model_id, settings or {}, where, catalogue)
        codec = build(choose(catalogue, "codec", name, {**(settings or {}), **overrides}), runtime)
        return Bitstream(codec, data, container.payload, (container.height, container.width), where)
    owner, spec = _by_magic(data, where, catalogue)
    settings = {**(settings or {}), **dict.fromkeys(spec.offers & set(special), True)}
    codec = build(choose(catalogue, "codec", f"{owner}:{spec.name}", settings), runtime)
    return Bitstream(codec, data, data, None, where)


def _identify(
    model_id: bytes, settings: Mapping[str, Any], where: str, catalogue: Catalogue
) -> tuple[str, Mapping[str, Any]]:
    """The codec that wrote a container, as `distribution:name`, and the settings that decode it."""
    unasked: list[str] = []
    for owner, spec in catalogue.specs("codec"):
        identify = cast(EncoderSpec, spec).identify
        try:
            overrides = import_target(identify)(model_id, settings) if identify else None
        except Exception as error:  # whatever one plugin does wrong, the others are asked
            unasked.append(f"{owner} could not be asked ({type(error).__name__}: {error}).")
            continue
        if overrides is not None:
            return f"{owner}:{spec.name}", overrides
    text = f"{where} was written by the model {model_id.hex()}, which no installed codec knows."
    raise MissingError(
        " ".join(filter(None, [text, *unasked, catalogue.not_loaded()])),
        "Install the plugin that wrote it (see `idem codecs list`), or bring its weights: `idem models list`, or "
        "--set codec.weights=FOLDER.",
    )


def _by_magic(data: bytes, where: str, catalogue: Catalogue) -> tuple[str, EncoderSpec]:
    """The distribution and the spec of the codec whose file format starts like this."""
    if not data:
        raise BitstreamError(f"{where} is empty.", "Fetch the file again.")
    specs = ((owner, cast(EncoderSpec, spec)) for owner, spec in catalogue.specs("codec"))
    found = [(owner, spec) for owner, spec in specs if spec.magic and data.startswith(spec.magic)]
    if not found and (known := distributions_that_read(data)):
        raise NotInstalled({f"a codec that reads {where}": known[0]})
    if not found:
        error = _foreign(data, where)
        error.hint = " ".join(filter(None, [catalogue.not_loaded(), error.hint]))
        raise error
    return max(found, key=lambda pair: len(pair[1].magic))


def _foreign(data: bytes, where: str) -> BitstreamError:
    """Names what the file is instead."""
    kind, name = format_of(data), Path(where).name
    if is_web_page(data):
        return BitstreamError(f"{where} is a web page (HTML), not a picture.", "Fetch the picture itself.")
    if kind in READ_AS_IMAGES:
        named_jpeg = ", whatever its name says" if Path(where).suffix.lower() in (".jpg", ".jpeg", ".idem") else ""
        hint = f"To make a bitstream from it: `idem encode {name} -o OUT.jpg`."
        return BitstreamError(f"{where} is a {kind} file{named_jpeg}: not a bitstream of any installed codec.", hint)
    if kind:
        hint = "`idem codecs list` shows what can be decoded."
        return BitstreamError(f"{where} is a file in {kind} format, not a bitstream of any installed codec.", hint)
    hint = "`idem encode IMAGE` makes one; `idem codecs list` shows what can be read."
    return BitstreamError(f"{where} is not a bitstream of any installed codec: it starts with {data[:8]!r}.", hint)
