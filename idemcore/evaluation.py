"""Metrics of one configuration over images: one after the other, so that a thousand never sit in memory.

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

from .bench import PeakMemory
from .errors import IdemError
from .imageio import to_bytes, to_float
from .metrics import Case, ImageMetric, Metric, Score, SetMetric, summarise
from .metrics.sketches import Draws
from .pictures import WHOLE, Frame, Source, sources
from .pipeline import Bitstream, Codec, Decoder, Reconstruction
from .protocols import Callback

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
) -> Evaluation:
    """Encodes each image, reconstructs it with each seed, measures; an image that fails does not stop the others."""
    rows, errors = list[Row](), dict[str, IdemError]()

    def cases() -> Iterator[Case]:
        for source in images.sources:
            name = source.name
            try:
                # All draws before any metric sees one, so that a failure leaves no half of an image in a score.
                made = list(_draws(name, images.frame.read(source), codec, decoder, seeds, metrics, progress))
            except IdemError as error:
                errors[name] = error
                continue
            for seed, case in zip(seeds, made, strict=True):
                rows.append(Row(name, seed, measure(metrics, case)[0]))
                yield case

    sets = score_sets(metrics, cases())
    return Evaluation(rows, {**score_rows(metrics, rows), **sets}, errors)


def _draws(
    name: str,
    original: Tensor,
    codec: Codec,
    decoder: Decoder,
    seeds: Sequence[int],
    metrics: Sequence[Metric],
    progress: Progress,
) -> Iterator[Case]:
    bitstream = codec.encode(to_float(original))
    watched = any(metric.spec.name == "peak-memory" for metric in metrics)
    for seed in seeds:
        memory = PeakMemory(bitstream.decoded.device) if watched else None
        with progress(name) as callback:
            result = decoder.reconstruct(bitstream, seed, callback=callback)
        peak = memory.above() if memory else None
        yield case_of(name, original, bitstream, result, peak)


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
