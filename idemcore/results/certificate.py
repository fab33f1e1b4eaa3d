"""The certificate that lies beside a picture: whether it re-encodes to its bitstream, and what made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .base import JsonDocument, JsonObject

CERTIFICATE = "certificate.json"


def beside(image: Path, name: str = CERTIFICATE) -> Path:
    """Where a file that goes with an image file is: x.certificate.json beside x.png."""
    return image.with_name(f"{image.stem}.{name}")


@dataclass(frozen=True)
class PartFacts(JsonObject):
    """A generator, solver or adapter that was used."""

    name: str
    """As `idem` lists it."""
    plugin: str
    """The distribution that provides it."""
    version: str
    """Version of that distribution."""
    settings: Mapping[str, Any]
    """All of its settings, including defaults."""
    weights_sha256: str | None
    """First 16 hex digits of the sha256 of its file of weights, or of those of several; null without weights."""
    source_sha256: str | None
    """First 16 hex digits of the sha256 of its Python files if they are installed editable, else null."""
    warm_start: float | None
    """Noise with which a diffusion starts from a plain decode, in multiples of its rms error; null for other parts."""


@dataclass(frozen=True)
class CodecFacts(JsonObject):
    """The codec that reads the bitstream."""

    name: str
    """As `idem codecs list` has it."""
    plugin: str
    """The distribution that provides it."""
    version: str
    """Version of that distribution."""
    source_sha256: str | None
    """First 16 hex digits of the sha256 of its Python files if they are installed editable, else null."""
    settings: Mapping[str, Any]
    """All settings with which it read the bitstream; another program may have written the file with others."""
    model_id: str | None
    """Hex, as in the header of an `.idem` file; null for the codec's own file format."""
    stream: Mapping[str, str | int | float]
    """What the bitstream says about itself, such as its quality. They are not settings."""
    weights_sha256: str | None = None
    """First 16 hex digits of the sha256 of its file of weights, or of those of several; null without weights."""


@dataclass(frozen=True)
class ComputedFacts(JsonObject):
    """The device and software that computed the picture."""

    device: str
    """Its kind: cpu, cuda, mps or xpu."""
    precision: str
    """Precision of the networks: fp32 or bf16."""
    idemcore: str
    """Version of the core."""
    source_sha256: str | None
    """First 16 hex digits of the sha256 of the core's files that draw images if it is installed editable, else null."""
    torch: str
    """Version of PyTorch."""


@dataclass(frozen=True)
class PictureFacts(JsonObject):
    """The PNG that the certificate is about."""

    width: int
    """Width in pixels."""
    height: int
    """Height in pixels."""
    rgb_sha256: str
    """Checksum of its samples row by row, RGB interleaved: the same for any program that writes the PNG."""
    png_sha256: str
    """Checksum of the file."""
    upright: bool
    """Whether its pixels are turned as the bitstream's EXIF says; if not, they are as the bitstream stores them."""


@dataclass(frozen=True)
class BitstreamFacts(JsonObject):
    """The bitstream's file."""

    bytes: int
    """Size of the whole file, header included."""
    sha256: str
    """Checksum of the whole file."""


@dataclass(frozen=True)
class Certificate(JsonDocument):
    """`certificate.json` beside a picture."""

    exact: bool
    """The picture re-encodes to its bitstream, byte for byte."""
    differing_symbols: int
    """Quantised symbols in which its re-encoding differs; 0 if exact."""
    reason: str | None
    """Why it is not exact, if the codec knows."""
    psnr_moved: float | None
    """dB between the solver's image and the certified one; null if certifying changed nothing."""
    seed: int | None
    """Seed of the noise. It and the next three are null for a plain decode."""
    sample: int | None
    """Number of the draw; each draw has its own noise."""
    tradeoff: float | None
    """Between least error (0) and most realism (1)."""
    tile: int | None
    """Pixels a side that the network saw at once; null if idem chose."""
    special: tuple[str, ...]
    """Requested ways of reading the bitstream: `salvage` takes what is left of a damaged file."""
    codec_settings: Mapping[str, Any]
    """Settings of the codec that the user gave when the bitstream was read."""
    computed: ComputedFacts
    """The device, precision and versions that computed it."""
    notes: tuple[str, ...]
    """What a user should know about the bitstream and the picture, in one sentence each."""
    image: PictureFacts
    """The picture that this is about."""
    bitstream: BitstreamFacts
    """The file that it was decoded from."""
    codec: CodecFacts
    """The codec that reads the bitstream."""
    generator: PartFacts | None
    """The prior; null if the solver needs none, and for a plain decode."""
    solver: PartFacts | None
    """The solver that drew the picture; null for a plain decode."""
    adapter: PartFacts | None
    """The adapter that lets the solver run on a generator of another family; null if none is needed."""
    restorer: PartFacts | None
    """The generator whose restoration the solver starts at; null if it starts elsewhere."""
