"""What `idem run` found out about one image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .base import JsonDocument, JsonObject


@dataclass(frozen=True)
class Decibels(JsonObject):
    """PSNRs in dB; null for equal images."""

    decoded: float | None
    """Original to plain decode."""
    reconstruction: float | None
    """Original to certified image; of several samples, their mean."""
    reencoded_vs_decoded: float | None
    """Plain decode to that of the re-encoded bytes; of several samples, the least; null if exact."""


@dataclass(frozen=True)
class SampleReport(JsonObject):
    """One draw from the cell."""

    file: str
    """In the folder of the report."""
    nfe: int
    """Network passes forwards."""
    backwards: int
    """Network passes backwards."""
    seconds: Mapping[str, float]
    """Wall time of `solve` and `certify`."""
    exact: bool
    """It re-encodes to its bitstream, byte for byte."""
    differing_symbols: int
    """Quantised symbols in which the re-encoding differs."""
    psnr_moved: float | None
    """dB between the solver's image and the certified one; null if certifying changed nothing."""
    psnr: Decibels
    """Decibels of this draw."""


@dataclass(frozen=True)
class RunReport(JsonDocument):
    """`report.json` of `idem run`, and what its `--json` prints, with `folder` beside."""

    image: str
    """The image as the user typed it."""
    codec: str
    """Its name."""
    quality: int | float | None
    """The codec's setting; null if it has none."""
    generator: str | None
    """Its name; null if the solver needs none."""
    solver: str
    """Its name."""
    seed: int
    """Seed of the noise."""
    tradeoff: float
    """Between least error (0) and most realism (1)."""
    size: tuple[int, int]
    """Width and height, pixels."""
    bytes: int
    """Size of the bitstream's file."""
    bpp: float
    """Bits of that file, per pixel."""
    nfe: int
    """Network passes forwards, of all samples."""
    backwards: int
    """Network passes backwards, of all samples."""
    seconds: Mapping[str, float]
    """Wall time of `encode` and `decode`, and of `solve` and `certify` of all samples."""
    exact: bool
    """Whether all samples are exact."""
    differing_symbols: int
    """Differing symbols of the worst sample."""
    psnr_moved: float | None
    """dB of the sample that certifying moved most."""
    psnr: Decibels
    """Decibels over all samples."""
    reconstructions: tuple[SampleReport, ...]
    """One report per sample."""
