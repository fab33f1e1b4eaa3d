"""Metrics of one configuration over images: a few at a time, so that a thousand never sit in memory.

image -> encode -> decode (each seed) -> Case -+-> image metrics -> Row
                                               +-> set metrics (running statistics) -> Score
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import IdemError
from ..io.image_sets import WHOLE, Frame, sources
from ..io.images import to_bytes, to_float
from ..io.walking import Source
from ..metrics import Case, ImageMetric, Metric, Score, SetMetric, summarise
from ..metrics.sketches import Draws
from ..observe.cost import PeakMemory
from ..pipeline.codec import Bitstream, Codec
from ..pipeline.decoder import Decoder, Reconstruction
from ..protocols import Callback

Values = dict[str, float]
"""By metric; nan where undefined."""
Progress = Callable[[str], AbstractContextManager[Callback | None]]
"""From an image's name to a context that gives the solver's callback."""


@dataclass(frozen=True)
class Images:
    """The images of a folder or zip file, read one by one when they are asked for."""

    place: Path
    """A folder or zip file."""
    frame: Frame = WHOLE
    limit: int | None = None
    """The first so many by name."""

    @cached_property
    def sources(self) -> list[Source]:
        """By name. Raises UsageError if there are none."""
        return sources(self.place)[: self.limit]

    def facts(self) -> dict[str, Any]:
        """Which images these are, for the `meta` block of results; the hash is of all their files."""
        digest = hashlib.sha256()
        for source in self.sources:
            digest.update(hashlib.sha256(source.content()).digest())
        count, sha256 = len(self.sources), digest.hexdigest()
        return {"dataset": self.place.name, "count": count, "crop": self.frame.rule, "files_sha256": sha256}


@dataclass(frozen=True)
class Row:
    """One reconstruction."""

    image: str
    seed: int
    values: Values


@dataclass(frozen=True)
class Evaluation:
    """What one configuration gave."""

    rows: list[Row]
    scores: dict[str, Score]
    """By metric, of image metrics and set metrics."""
    errors: dict[str, IdemError]
    """By image: those that could not be evaluated, which are in no score."""


def evaluate(
    codec: Codec,
    decoder: Decoder,
    images: Images,
    metrics: Sequence[Metric],
    seeds: Sequence[int] = (0,),
    progress: Progress = lambda _: nullcontext(),
    batch: int = 1,
) -> Evaluation:
    """Encodes each image, reconstructs it with each seed, measures; an image that fails does not stop the others.

    Up to `batch` draws are made together, of images in a row that have one size.
    """
    rows, errors = list[Row](), dict[str, IdemError]()
    watched = any(metric.spec.name == "peak-memory" for metric in metrics)

    def cases() -> Iterator[Case]:
        for group in _groups(_encoded(images, codec, errors), max(1, batch // len(seeds))):
            for encoded, made in _reconstructed(group, batch, decoder, seeds, progress, watched, errors):
                for seed, (result, peak) in zip(seeds, made, strict=True):
                    case = case_of(encoded.name, encoded.original, encoded.bitstream, result, peak)
                    rows.append(Row(encoded.name, seed, measure(metrics, case)[0]))
                    yield case

    sets = score_sets(metrics, cases())
    return Evaluation(rows, {**score_rows(metrics, rows), **sets}, errors)


@dataclass(frozen=True)
class _Encoded:
    name: str
    original: Tensor
    bitstream: Bitstream


Draw = tuple[Reconstruction, "int | None"]
"""With the peak of memory, where it is watched."""


def _encoded(images: Images, codec: Codec, errors: dict[str, IdemError]) -> Iterator[_Encoded]:
    for source in images.sources:
        try:
            original = images.frame.read(source)
            yield _Encoded(source.name, original, codec.encode(to_float(original)))
        except IdemError as error:
            errors[source.name] = error


def _groups(encoded: Iterable[_Encoded], batch: int) -> Iterator[list[_Encoded]]:
    """Up to `batch` in a row that have one size."""
    group: list[_Encoded] = []
    for one in encoded:
        if group and (len(group) == batch or one.original.shape != group[0].original.shape):
            yield group
            group = []
        group.append(one)
    if group:
        yield group


def _reconstructed(
    group: Sequence[_Encoded],
    batch: int,
    decoder: Decoder,
    seeds: Sequence[int],
    progress: Progress,
    watched: bool,
    errors: dict[str, IdemError],
) -> Iterator[tuple[_Encoded, list[Draw]]]:
    """All draws of each image, before any metric sees one, so that a failure leaves no half of an image in a score.

    Where a group fails, each of it is tried alone, so that only those that cannot be decoded are missing.
    """
    draws = [(encoded, seed) for encoded in group for seed in seeds]
    made: list[Draw] = []
    try:
        for start in range(0, len(draws), batch):
            made += _drawn(draws[start : start + batch], decoder, progress, watched)
    except IdemError as error:
        if len(group) == 1:
            errors[group[0].name] = error
            return
        for encoded in group:
            yield from _reconstructed([encoded], batch, decoder, seeds, progress, watched, errors)
        return
    for k, encoded in enumerate(group):
        yield encoded, made[k * len(seeds) : (k + 1) * len(seeds)]


def _drawn(
    draws: Sequence[tuple[_Encoded, int]], decoder: Decoder, progress: Progress, watched: bool
) -> Iterator[Draw]:
    bitstreams, seeds = [encoded.bitstream for encoded, _ in draws], [seed for _, seed in draws]
    name = draws[0][0].name + (f" and {len(draws) - 1} more" if len(draws) > 1 else "")
    memory = PeakMemory(bitstreams[0].decoded.device) if watched else None
    with progress(name) as callback:
        results = decoder.reconstruct_all(bitstreams, seeds, callback=callback)
    peak = memory.above() if memory else None
    return ((result, peak) for result in results)


def case_of(
    name: str,
    original: Tensor | None,
    bitstream: Bitstream,
    result: Reconstruction,
    peak_bytes: int | None = None,
) -> Case:
    """All that is known of one reconstruction; images are uint8 [1,3,H,W]."""

    def recode(image: Tensor) -> Tensor:
        return to_bytes(bitstream.codec.encode(to_float(image)).decoded)

    return Case(
        images=(name,),
        reconstruction=result.image,
        original=None if original is None else original.to(result.image.device),
        decoded=to_bytes(bitstream.decoded),
        recode=recode,
        solution=result.solution,
        streams=(bitstream.stream,),
        file_bits=torch.tensor([8 * len(bitstream.data)]),
        cell=bitstream.cell,
        exact=torch.tensor([result.exact]),
        differing_symbols=torch.tensor([result.differing_symbols]),
        nfe=torch.tensor([result.nfe]),
        backwards=torch.tensor([result.backwards]),
        seconds=torch.tensor([sum(result.seconds.values())], dtype=torch.float64),
        peak_bytes=None if peak_bytes is None else torch.tensor([peak_bytes]),
    )


def measure(metrics: Iterable[Metric], case: Case) -> list[Values]:
    """The image metrics among `metrics`, for each of the case's B images."""
    found = {metric.name: metric.measure(case).tolist() for metric in metrics if isinstance(metric, ImageMetric)}
    return [{name: values[b] for name, values in found.items()} for b in range(len(case))]


def score_sets(metrics: Iterable[Metric], cases: Iterable[Case]) -> dict[str, Score]:
    """The set metrics among `metrics`, over all cases, which are used up one by one; draws of an image in a row.

    A set holds the first draw of each image, so that sets of one and of several draws, and plain decodes, compare; a
    metric that is about several draws gets all.
    """
    sets = [metric for metric in metrics if isinstance(metric, SetMetric)]
    for metric in sets:
        metric.reset()
    draws = Draws()
    for case in cases:
        first = case.take([k for k, draw in enumerate(draws.take(case.images)) if draw == 0])
        for metric in sets:
            metric.update(case if metric.every_draw else first)
    return {metric.name: metric.result() for metric in sets}


def score_rows(metrics: Iterable[Metric], rows: Sequence[Row]) -> dict[str, Score]:
    """Mean and interval over images of the image metrics among `metrics`."""
    images = [row.image for row in rows]
    names = [metric.name for metric in metrics if isinstance(metric, ImageMetric)]
    return {name: summarise(images, [row.values.get(name, math.nan) for row in rows]) for name in names}


def known(values: Mapping[str, float]) -> dict[str, float | None]:
    """As JSON has it: None for nan and infinity."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
