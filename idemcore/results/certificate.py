"""The certificate that lies beside a picture: whether it re-encodes to its bitstream, and what made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .base import JsonDocument, JsonObject


@dataclass(frozen=True)
class PartFacts(JsonObject):
    """A generator, solver or adapter that was used."""

    name: str
    """As `idem` lists it."""
    plugin: str
    """The distribution that provides it."""
    version: str
    """Of that distribution."""
    settings: Mapping[str, Any]
    """All of its config, defaults too."""
    weights_sha256: str | None
    """First 16 hex digits of the sha256 of its weights; null without weights."""
    source_sha256: str | None
    """First 16 hex digits of the sha256 of its Python files where they are installed editable; else null."""
    warm_start: float | None
    """Where a diffusion starts from a plain decode, in multiples of its rms error; null of other parts."""


@dataclass(frozen=True)
class CodecFacts(JsonObject):
    """The codec that reads the bitstream."""

    name: str
    """As `idem codecs list` has it."""
    plugin: str
    """The distribution that provides it."""
    version: str
    """Of that distribution."""
    source_sha256: str | None
    """First 16 hex digits of the sha256 of its Python files where they are installed editable; else null."""
    settings: Mapping[str, Any]
    """All of its config as it read the bitstream; another program may have written it with others."""
    model_id: str | None
    """Hex, as in the header of an `.idem` file; null for files of the codec's own."""
    stream: Mapping[str, str | int | float]
    """What the bitstream says of itself, such as its quality: not settings, which another program may not have had."""


@dataclass(frozen=True)
class ComputedFacts(JsonObject):
    """What computed."""

    device: str
    """Its kind: cpu, cuda, mps or xpu."""
    precision: str
    """Of networks: fp32 or bf16."""
    idemcore: str
    """Version of the core."""
    source_sha256: str | None
    """First 16 hex digits of the sha256 of what of the core draws, where it is installed editable; else null."""
    torch: str
    """Version of PyTorch."""


@dataclass(frozen=True)
class PictureFacts(JsonObject):
    """The PNG that the certificate is about."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""
    rgb_sha256: str
    """Of its samples row by row, RGB interleaved: the same whichever program wrote the PNG."""
    png_sha256: str
    """Of the file."""
    upright: bool
    """Its pixels are turned as the bitstream's EXIF says; else they lie as the bitstream has them."""


@dataclass(frozen=True)
class BitstreamFacts(JsonObject):
    """The bitstream's file."""

    bytes: int
    """The whole file's, header too."""
    sha256: str
    """Of the whole file."""


@dataclass(frozen=True)
class Certificate(JsonDocument):
    """`certificate.json` beside a picture."""

    exact: bool
    """The picture re-encodes to its bitstream, byte for byte."""
    differing_symbols: int
    """Quantised symbols in which its re-encoding differs; 0 if exact."""
    reason: str | None
    """Why it is not exact, where the codec knows."""
    psnr_moved: float | None
    """dB between the solver's image and the certified one; null if certifying changed nothing."""
    seed: int | None
    """Of the noise; null of a plain decode, as are the next three."""
    sample: int | None
    """Number of the draw: each is of other noise."""
    tradeoff: float | None
    """Between least error (0) and most realism (1)."""
    tile: int | None
    """Pixels a side that the network saw at once; null if idem chose."""
    special: tuple[str, ...]
    """Ways of reading the bitstream that were asked for: `salvage` takes what is left of a damaged file."""
    codec_settings: Mapping[str, Any]
    """Settings of the codec that were asked for when the bitstream was read."""
    computed: ComputedFacts
    """On what, and with what."""
    notes: tuple[str, ...]
    """What a user should know of the bitstream and the picture, a sentence each."""
    image: PictureFacts
    """The picture that this is about."""
    bitstream: BitstreamFacts
    """What it was decoded from."""
    codec: CodecFacts
    """What reads that."""
    generator: PartFacts | None
    """The prior; null where the solver needs none, and of a plain decode."""
    solver: PartFacts | None
    """What drew from it; null of a plain decode."""
    adapter: PartFacts | None
    """What lets a solver of one family run on a generator of another; null if none is needed."""
    restorer: PartFacts | None
    """The generator whose restoration the solver starts at; null if it starts elsewhere."""
