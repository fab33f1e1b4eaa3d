"""Rows of measurements: of a sweep's store, of `idem eval`, of `idem bench`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .base import JsonDocument, JsonObject


@dataclass(frozen=True)
class ImageFacts(JsonObject):
    """The original of a run."""

    name: str
    """Of its file, with folders below the one that was named."""
    sha256: str
    """Of its pixels."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""


@dataclass(frozen=True)
class RunFiles(JsonObject):
    """Where a run's pictures are, in the store."""

    original: str | None = None
    """`images/NAME.png`, as are the others."""
    decoded: str | None = None
    """The plain decode."""
    reconstruction: str | None = None
    """The certified image."""


@dataclass(frozen=True)
class ConfigurationFacts:
    """What draws, and on what it depends, beside image and seed."""

    codec: Mapping[str, Any]
    """`name`, and every setting."""
    generator: Mapping[str, Any] | None
    """`name`, and every setting; null where the solver needs none."""
    solver: Mapping[str, Any]
    """`name`, and every setting."""
    adapter: Mapping[str, Any] | None
    """`name`, and every setting; null if none is needed."""
    restorer: Mapping[str, Any] | None
    """`name`, and every setting, of the generator that the solver starts at; null if it starts elsewhere."""
    precision: str
    """fp32 or bf16, of networks."""
    device: str
    """Its kind: cpu, cuda, mps or xpu."""
    tradeoff: float
    """Between least error (0) and most realism (1)."""
    versions: Mapping[str, str]
    """By distribution: idemcore, torch and the plugins."""
    sources: Mapping[str, str]
    """By distribution that is installed editable: first hex digits of the sha256 of its Python files."""
    weights: Mapping[str, str]
    """By kind of part: first hex digits of the sha256 of its weights."""


@dataclass(frozen=True)
class SweepRow(JsonDocument):
    """One run of a sweep: a line of `rows.jsonl`. Of a run that failed, what it would have given is null or empty."""

    id: str
    """Names all that the result depends on."""
    status: str
    """`ok` or `failed`."""
    image: ImageFacts
    """What was encoded."""
    codec: Mapping[str, Any]
    """`name`, and every setting."""
    error: str | None = None
    """Why the run failed; null if it did not."""
    generator: Mapping[str, Any] | None = None
    """`name`, and every setting; null where the solver needs none."""
    solver: Mapping[str, Any] | None = None
    """`name`, and every setting."""
    adapter: Mapping[str, Any] | None = None
    """`name`, and every setting; null if none is needed."""
    restorer: Mapping[str, Any] | None = None
    """`name`, and every setting, of the generator that the solver starts at; null if it starts elsewhere."""
    precision: str | None = None
    """fp32 or bf16, of networks."""
    tradeoff: float = 1.0
    """Between least error (0) and most realism (1)."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """By distribution: idemcore, torch and the plugins."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """By distribution that is installed editable: first hex digits of the sha256 of its Python files."""
    weights: Mapping[str, str] = field(default_factory=dict)
    """By kind of part: first hex digits of the sha256 of its weights."""
    seed: int | None = None
    """Of the noise."""
    files: RunFiles = RunFiles()
    """Its pictures; nulls if the run failed."""
    command: str | None = None
    """The `idem run` that repeats the run on its own, in the folder of the store."""
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    """By name, of the reconstruction; null where undefined."""
    decoded_metrics: Mapping[str, float] = field(default_factory=dict)
    """By name, of the plain decode; those that are defined."""
    missing_metrics: Mapping[str, str] = field(default_factory=dict)
    """By name: why a metric could not be measured."""
    exact: bool | None = None
    """The reconstruction re-encodes to its bitstream."""
    differing_symbols: int | None = None
    """Quantised symbols in which its re-encoding differs."""
    psnr_moved: float | None = None
    """dB between the solver's image and the certified one; null if nothing moved."""
    positions: Mapping[str, Any] | None = None
    """Histograms of where the symbols lie in their intervals; null where the codec cannot say."""
    bytes: int | None = None
    """Of the bitstream's file."""
    nfe: int | None = None
    """Network passes forwards, of the whole batch."""
    backwards: int | None = None
    """Network passes backwards, of the whole batch."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall time of `encode`, `decode`, `solve` and `certify`: an image's share of the batch."""
    batch: int | None = None
    """Images that were solved together."""
    device: str | None = None
    """Where they were solved."""

    @property
    def decode_seconds(self) -> float | None:
        """Wall time of all stages of decoding; None if there are none."""
        stages = [value for stage, value in self.seconds.items() if stage != "encode"]
        return sum(stages) if stages else None


@dataclass(frozen=True)
class EvalRow(JsonObject):
    """One reconstruction: an entry of `rows` in a curve's file."""

    point: int
    """Number of the point of the curve, from 0."""
    image: str
    """Its name."""
    seed: int
    """Of the noise."""
    metrics: Mapping[str, float | None]
    """By name; null where undefined."""


@dataclass(frozen=True)
class ImagesFacts(JsonObject):
    """Which images were used."""

    dataset: str
    """Name of the folder or zip file."""
    count: int
    """How many."""
    crop: str
    """Which part of each, in words."""
    files_sha256: str
    """Of all their files, in order."""


@dataclass(frozen=True)
class CurveMeta(JsonDocument):
    """How a curve was measured: `meta` of its file. What the writer does not know is null or empty."""

    images: ImagesFacts | None = None
    """Of which images."""
    points: tuple[Mapping[str, Any], ...] = ()
    """One a point: the codec's `name`, and every setting."""
    generator: Mapping[str, Any] | None = None
    """`name`, and every setting; null where the solver needs none."""
    solver: Mapping[str, Any] | None = None
    """`name`, and every setting."""
    adapter: Mapping[str, Any] | None = None
    """`name`, and every setting; null if none is needed."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """By distribution: idemcore, torch and the plugins."""
    weights: tuple[Mapping[str, str], ...] = ()
    """One a point: by kind of part, first hex digits of the sha256 of its weights."""
    seeds: tuple[int, ...] = ()
    """Of the noise, each a draw of every image."""
    device: str = ""
    """Where it was computed."""
    dtype: str = ""
    """Of networks."""


@dataclass(frozen=True)
class BenchRow(JsonObject):
    """What one solver costs: one solve, without encoding, certifying, or loading anything."""

    solver: str
    """Its name."""
    adapter: str | None
    """Its name; null if none is needed."""
    settings: Mapping[str, Mapping[str, Any]]
    """By kind of part: every setting."""
    error: str | None
    """Why it could not be measured; null if it was. What follows is null then."""
    passes: int | None
    """Of the network, forwards."""
    backwards: int | None
    """Of the network."""
    codec_calls: int | None
    """Passes through the codec, of the decoder too where the solver measures in the image domain."""
    codec_gradients: int | None
    """Backwards through these."""
    projections: int | None
    """On the cell; those of a learned codec take several passes through its encoder, which only the seconds show."""
    seconds: float | None
    """Wall time, the median of all repetitions."""
    peak_bytes: int | None
    """Most memory in use, above that before the solve: of the GPU where there is one, else of the process."""
    ratios: Mapping[str, float | None]
    """Of each of these to that of the reference; null where there is nothing to compare with."""


@dataclass(frozen=True)
class BenchReport(JsonDocument):
    """What `idem bench --json` prints."""

    image: str
    """As it was typed."""
    size: int
    """Side of the crop, pixels."""
    codec: str
    """Its name."""
    generator: str
    """Its name."""
    reference: str
    """The solver that `ratios` are relative to."""
    repeat: int
    """Solves that were timed."""
    solvers: tuple[BenchRow, ...]
    """One a solver."""
