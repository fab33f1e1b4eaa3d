"""Rows of measurements: of a sweep's store, of `idem eval`, of `idem bench`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .base import JsonDocument, JsonObject


@dataclass(frozen=True)
class ImageFacts(JsonObject):
    """The original of a run."""

    name: str
    """File name, with the folders below the one that was given."""
    sha256: str
    """Checksum of its pixels."""
    width: int
    """Width in pixels."""
    height: int
    """Height in pixels."""


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
    """Versions of idemcore, torch and the plugins, by distribution."""
    sources: Mapping[str, str]
    """By distribution that is installed editable: first hex digits of the sha256 of its Python files."""
    weights: Mapping[str, str]
    """First hex digits of the sha256 of the weights, by kind of part."""


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
    """Versions of idemcore, torch and the plugins, by distribution."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """By distribution that is installed editable: first hex digits of the sha256 of its Python files."""
    weights: Mapping[str, str] = field(default_factory=dict)
    """First hex digits of the sha256 of the weights, by kind of part."""
    seed: int | None = None
    """Seed of the noise."""
    files: RunFiles = RunFiles()
    """Its pictures; nulls if the run failed."""
    command: str | None = None
    """The `idem run` that repeats the run on its own, in the folder of the store."""
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    """Metrics of the reconstruction, by name; null if undefined."""
    decoded_metrics: Mapping[str, float] = field(default_factory=dict)
    """Metrics of the plain decode that are defined, by name."""
    missing_metrics: Mapping[str, str] = field(default_factory=dict)
    """Why a metric could not be measured, by its name."""
    exact: bool | None = None
    """The reconstruction re-encodes to its bitstream."""
    differing_symbols: int | None = None
    """Quantised symbols in which its re-encoding differs."""
    psnr_moved: float | None = None
    """dB between the solver's image and the certified one; null if nothing moved."""
    positions: Mapping[str, Any] | None = None
    """Histograms of where the symbols lie in their intervals; null where the codec cannot say."""
    bytes: int | None = None
    """Size of the bitstream's file."""
    nfe: int | None = None
    """Network passes forwards, of the whole batch."""
    backwards: int | None = None
    """Network passes backwards, of the whole batch."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall time of `encode`, `decode`, `solve` and `certify`: an image's share of the batch."""
    batch: int | None = None
    """Images that were solved together."""
    device: str | None = None
    """Device that solved them, or would have."""

    @property
    def device_kind(self) -> str:
        """`cuda` of cuda:1; empty if unknown."""
        return (self.device or "").partition(":")[0]

    @property
    def decode_seconds(self) -> float | None:
        """Wall time of all stages of decoding; None if there are none."""
        stages = [value for stage, value in self.seconds.items() if stage != "encode"]
        return sum(stages) if stages else None


MOST_REASONS = 5
"""Of failed runs, in one sentence."""


def failure_reasons(rows: Iterable[SweepRow]) -> str:
    """Why runs failed, the most frequent reason first, each once with its count: `out of memory (3 runs)`."""
    counts = Counter((row.error or "unknown").strip().rstrip(".") for row in rows)
    told = [f"{reason} ({count} run{'s' if count > 1 else ''})" for reason, count in counts.most_common(MOST_REASONS)]
    if more := len(counts) - len(told):
        told.append(f"and {more} other reason{'s' if more > 1 else ''}")
    return "; ".join(told)


@dataclass(frozen=True)
class EvalRow(JsonObject):
    """One reconstruction: an entry of `rows` in a curve's file."""

    point: int
    """Number of the point of the curve, from 0."""
    image: str
    """Its name."""
    seed: int
    """Seed of the noise."""
    metrics: Mapping[str, float | None]
    """Metrics by name; null if undefined."""


@dataclass(frozen=True)
class ImagesFacts(JsonObject):
    """The images that were used."""

    dataset: str
    """Name of the folder or zip file."""
    count: int
    """Number of images."""
    crop: str
    """The part of each image that was used, in words."""
    files_sha256: str
    """Checksum over all files, in order."""


@dataclass(frozen=True)
class CurveMeta(JsonDocument):
    """How a curve was measured: `meta` of its file. What the writer does not know is null or empty."""

    images: ImagesFacts | None = None
    """The images that were used."""
    points: tuple[Mapping[str, Any], ...] = ()
    """For each point, the codec's `name` and every setting."""
    generator: Mapping[str, Any] | None = None
    """`name`, and every setting; null where the solver needs none."""
    solver: Mapping[str, Any] | None = None
    """`name`, and every setting."""
    adapter: Mapping[str, Any] | None = None
    """`name`, and every setting; null if none is needed."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Versions of idemcore, torch and the plugins, by distribution."""
    weights: tuple[Mapping[str, str], ...] = ()
    """For each point, first hex digits of the sha256 of the weights, by kind of part."""
    seeds: tuple[int, ...] = ()
    """Seeds of the noise; each draws every image once."""
    device: str = ""
    """Device that computed it."""
    dtype: str = ""
    """Precision of the networks."""


@dataclass(frozen=True)
class BenchRow(JsonObject):
    """What one solver costs: one solve, without encoding, certifying, or loading anything."""

    solver: str
    """Its name."""
    adapter: str | None
    """Its name; null if none is needed."""
    settings: Mapping[str, Mapping[str, Any]]
    """Every setting, by kind of part."""
    error: str | None
    """Why it could not be measured, or null. If it could not, all following fields are null."""
    passes: int | None
    """Forward passes of the network."""
    backwards: int | None
    """Backward passes of the network."""
    codec_calls: int | None
    """Passes through the codec, including its decoder if the solver measures in the image domain."""
    codec_gradients: int | None
    """Backward passes through the codec."""
    projections: int | None
    """Projections on the cell; for a learned codec each takes several passes of its encoder."""
    seconds: float | None
    """Wall time, the median of all repetitions."""
    peak_bytes: int | None
    """Peak memory minus memory before the solve: of the GPU if there is one, else of the process."""
    ratios: Mapping[str, float | None]
    """Each of these relative to the reference; null if there is nothing to compare with."""


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
