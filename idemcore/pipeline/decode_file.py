"""Bitstream files to PNGs with certificates, one or many with the same settings: what `idem decode` does."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import count
from os.path import lexists
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import Tensor

from ..errors import IdemError, UsageError, named
from ..io.exif import Metadata, turn
from ..io.files import json_bytes, parse_json, read_file, sha256_of, write_together
from ..io.images import png_bytes
from ..plugins.catalogue import Catalogue, load_catalogue
from ..plugins.selection import DecoderParts, Settings, select_decoder
from ..protocols import Callback
from ..results.base import as_json
from ..results.certificate import CERTIFICATE, Certificate, beside
from ..runtime import Runtime
from .certificate import certificate, picture_facts
from .codec import Bitstream, KeptCodecs, open_bitstream
from .decoder import Decoder, Reconstruction, plain_decode
from .identity import Computed, is_installed, part_facts

DRAWING = ("generator", "solver", "adapter", "restorer")
"""The parts of a certificate that are not the file's."""


@dataclass(frozen=True)
class Decoded:
    """A file's picture and all that is written with it."""

    bitstream: Bitstream
    result: Reconstruction
    image: Tensor
    """uint8 [1,3,h,w] as it is written."""
    png: bytes
    certificate: Certificate

    def write(self, output: Path, jpeg: Path | None = None, others: Mapping[str, bytes] = MappingProxyType({})) -> None:
        """Writes the PNG, `others` by name beside it, `jpeg`, the file that it re-encodes to, and the certificate.

        All of them or none, so that a certificate is never that of another image.
        """
        files = {output: self.png, **{beside(output, name): data for name, data in others.items()}}
        if jpeg:
            codec = self.bitstream.codec
            files[jpeg] = codec.encoder.rewrite(self.bitstream.stream, self.result.image.cpu())
        write_together({**files, beside(output): json_bytes(self.certificate.to_json())})


@dataclass(frozen=True)
class Decoding:
    """How files are decoded. Codecs, prior and solver are built at first use, once."""

    parts: DecoderParts
    catalogue: Catalogue
    runtime: Runtime
    settings: Settings
    plain: bool = False
    """g(y) itself, without prior and solver."""
    seed: int = 0
    tradeoff: float = 1.0
    upright: bool = True
    """The picture is turned as its file says; else the PNG says so too, and its pixels lie as they are stored."""
    special: tuple[str, ...] = ()
    """Settings that are switched on in codecs that offer a capability of that name, such as `salvage`."""
    codecs: KeptCodecs = field(default_factory=KeptCodecs)

    def __reduce__(self) -> tuple[Any, ...]:
        """By the names of the parts, so that another process chooses them from its own plugins, and builds them."""
        names = [f"{part.distribution}:{part.spec.name}" for part in (self.parts.generator, self.parts.solver)]
        left_out = ("parts", "catalogue", "codecs")
        values = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in left_out}
        return _chosen_again, (*names, values)

    @cached_property
    def decoder(self) -> Decoder | None:
        """None for plain decodes. Raises MissingError for weights that are not here."""
        return None if self.plain else Decoder.build(self.parts, self.runtime)

    @cached_property
    def asked(self) -> dict[str, Any]:
        """The part of a certificate that the file has no say in."""
        used = {} if self.plain else self.parts.used
        made = {"computed": Computed.of(self.runtime).facts}
        tile = {"tile": None if self.plain else self.runtime.tile}
        parts = {kind: part_facts(used[kind]) if kind in used else None for kind in DRAWING}
        return {**parts, **made, **tile, **self._details}

    @property
    def _details(self) -> dict[str, Any]:
        """Details of the first picture."""
        given = as_json(dict(self.settings.get("codec") or {}))
        special = {"special": self.special, "codec_settings": given}
        if self.plain:
            return {**dict.fromkeys(("seed", "sample", "tradeoff")), **special}
        return {"seed": self.seed, "sample": 0, "tradeoff": self.tradeoff, **special}

    def open(self, path: Path | str, data: bytes | None = None) -> Bitstream:
        """The bitstream of a file, whose content may have been read; `path` may then be an address."""
        data = read_file(Path(path)) if data is None else data
        settings = self.settings.get("codec")
        return open_bitstream(data, str(path), self.runtime, self.catalogue, settings, self.codecs, self.special)

    def decode(self, bitstream: Bitstream, callback: Callback | None = None, number: int = 0) -> Decoded:
        """Draws from the bitstream's cell and certifies; writes nothing. Picture `number` has a seed higher by that."""
        if self.decoder is None:
            result = plain_decode(bitstream)
        else:
            result = self.decoder.reconstruct(bitstream, self.seed + number, tradeoff=self.tradeoff, callback=callback)
        return presented(bitstream, result, self.decoder, self.upright, **{**self._details, **self._seed(number)})

    def _seed(self, number: int) -> dict[str, int]:
        return {} if self.plain else {"seed": self.seed + number}

    def is_asked(self, content: Certificate, data: bytes, number: int = 0) -> bool:
        """Whether a certificate is that of picture `number` of a file with these bytes, as it is asked for."""
        if content.bitstream.sha256 != hashlib.sha256(data).hexdigest() or content.image.upright != self.upright:
            return False
        asked = {**self.asked, **self._seed(number)}
        alike = all(getattr(content, key) == value for key, value in asked.items() if key not in _ignored(content))
        return alike and is_installed(content.codec, self.catalogue)


def certificate_of(picture: Path) -> Certificate | None:
    """The certificate beside a PNG; None if there is none that this idem reads, or it is of other bytes."""
    try:
        content = Certificate.from_json(parse_json(read_file(beside(picture))))
        return content if content.image.png_sha256 == sha256_of(picture) else None
    except (IdemError, OSError, ValueError, TypeError, AttributeError):
        return None


def _ignored(content: Certificate) -> tuple[str, ...]:
    """Keys of a certificate that made no difference: a file that nothing was noted of is read in one way only."""
    return () if content.notes else ("special",)


def _chosen_again(generator: str, solver: str, values: dict[str, Any]) -> Decoding:
    catalogue = load_catalogue()
    return Decoding(select_decoder(catalogue, generator, solver, values["settings"]), catalogue, **values)


def presented(
    bitstream: Bitstream, result: Reconstruction, decoder: Decoder | None, upright: bool = True, **details: Any
) -> Decoded:
    """A reconstruction as it is written: a PNG with the file's metadata, and its certificate, which has the details."""
    metadata = bitstream.codec.encoder.metadata(bitstream.stream) or Metadata()
    image, kept = as_shown(result.image.cpu(), metadata) if upright else (result.image.cpu(), metadata)
    with named(bitstream.where or "the bitstream") as notes:
        png = png_bytes(image, kept)
    picture, said = picture_facts(image, png, upright), (*bitstream.notes, *notes)
    content = certificate(bitstream, result, picture, decoder, **details, notes=said)
    return Decoded(bitstream, result, image, png, content)


def as_shown(byte_image: Tensor, metadata: Metadata) -> tuple[Tensor, Metadata]:
    """The picture turned upright, and metadata that say so."""
    return turn(byte_image, metadata.orientation), metadata.upright


def check_rewritable(bitstream: Bitstream) -> None:
    """Raises UsageError if the file is not a JPEG or the like, but an .idem container."""
    if bitstream.codec.encoder.model_id:
        where = bitstream.where or "the bitstream"
        raise UsageError(
            f"--write-jpeg: {where} is not a JPEG file.", "Leave it out; `idem encode` writes .idem files."
        )


def free_name(source: Path, others: Iterable[str] = (), tag: str = "", taken: Collection[Path] = ()) -> Path:
    """x.png beside x.jpg; x-2.png, x-3.png and so on where that, its certificate or one of `others` exists already.

    `tag` follows x, as in x-1.png of several pictures. Of names that are `taken` none is given.
    """
    for output in names_beside(source, tag):
        places = (output, *(beside(output, name) for name in (CERTIFICATE, *others)))
        if output not in taken and not any(map(lexists, places)):
            return output
    raise AssertionError("names have no end")


def names_beside(source: Path, tag: str = "") -> Iterator[Path]:
    """x.png, x-2.png, x-3.png and so on, for x.jpg."""
    for number in count(1):
        yield source.with_name(f"{source.stem}{tag}{'' if number == 1 else f'-{number}'}.png")


def tags(pictures: int) -> list[str]:
    """What tells several pictures of one file apart in their names: nothing for one, -1, -2, ... for more."""
    return [""] if pictures == 1 else [f"-{n + 1}" for n in range(pictures)]
