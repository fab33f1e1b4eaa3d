"""Metrics of one configuration over images: a few at a time, so that a thousand never sit in memory.

image -> encode -> draw (each seed) -> Case -+-> image metrics -> MeasuredDraw
                                             +-> set metrics (running statistics) -> Score
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, islice
from pathlib import Path
from typing import NamedTuple

from ..errors import IdemError
from ..io.image_sets import WHOLE, Frame, sources
from ..io.walking import Source
from ..metrics import Case, ImageMetric, Metric, Score, SetMetric, summarise
from ..metrics.sketches import Draws
from ..pipeline.codec import Codec
from ..pipeline.decoder import Decoder
from ..plugins.blame import as_failure
from ..protocols import Callback
from ..results.rows import ImagesFacts
from .draws import Encoded, Values, case_of, each_or_alone, encode, measure, watches_memory

WatchImage = Callable[[str], AbstractContextManager[Callback | None]]
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

    def facts(self) -> ImagesFacts:
        """Names these images, for the `meta` block of results."""
        digest = hashlib.sha256()
        for source in self.sources:
            digest.update(hashlib.sha256(source.content()).digest())
        return ImagesFacts(self.place.name, len(self.sources), self.frame.rule, digest.hexdigest())


@dataclass(frozen=True)
class MeasuredDraw:
    """The image metrics of one reconstruction."""

    image: str
    seed: int
    values: Values


@dataclass(frozen=True)
class Evaluation:
    """What one configuration gave."""

    rows: list[MeasuredDraw]
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
    watch: WatchImage = lambda _: nullcontext(),
    batch: int = 1,
) -> Evaluation:
    """Encodes each image, reconstructs it with each seed, measures; an image that fails does not stop the others.

    Up to `batch` draws are made together, of images in a row that have one size. No set metric sees an image before all
    its draws are there, so that a failure leaves no half of an image in a score.
    """
    rows, errors = list[MeasuredDraw](), dict[str, IdemError]()

    def attempt(draws: Sequence[_Draw]) -> list[tuple[Case, Values]]:
        encoded, count = [draw.image for draw in draws], len(draws)
        with watch(encoded[0].name + (f" and {count - 1} more" if count > 1 else "")) as callback:
            drawn = decoder.draw([image.bitstream for image in encoded], [draw.seed for draw in draws],
                                 callback=callback, watch_memory=watches_memory(metrics))  # fmt: skip
        case = case_of(encoded, drawn)
        return [(case.take([k]), values) for k, values in enumerate(measure(metrics, case))]

    def outcomes() -> Iterator[tuple[_Draw, tuple[Case, Values] | IdemError]]:
        for draws in _batches(_draws(images, codec, seeds, errors), batch):
            yield from zip(draws, each_or_alone(draws, attempt), strict=True)

    def cases() -> Iterator[Case]:
        for name, group in groupby(outcomes(), key=lambda outcome: outcome[0].image.name):
            found, good = list(group), list[tuple[Case, MeasuredDraw]]()
            for draw, outcome in found:
                if isinstance(outcome, IdemError):
                    errors[name] = outcome
                else:
                    good.append((outcome[0], MeasuredDraw(name, draw.seed, outcome[1])))
            if len(good) == len(found):
                rows.extend(row for _, row in good)
                yield from (case for case, _ in good)

    sets = score_sets(metrics, cases())
    return Evaluation(rows, {**score_rows(metrics, rows, batch > 1), **sets}, errors)


class _Draw(NamedTuple):
    image: Encoded
    seed: int


def _draws(images: Images, codec: Codec, seeds: Sequence[int], errors: dict[str, IdemError]) -> Iterator[_Draw]:
    """Each image with each seed; those that cannot be read or encoded are among `errors`."""
    for source in images.sources:
        try:
            encoded = encode(codec, source.name, images.frame.read(source))
        except Exception as error:  # whatever a codec or a device does wrong
            errors[source.name] = as_failure(error)
            continue
        yield from (_Draw(encoded, seed) for seed in seeds)


def _batches(draws: Iterable[_Draw], batch: int) -> Iterator[list[_Draw]]:
    """Up to `batch` in a row that have one size."""
    for _, group in groupby(draws, key=lambda draw: draw.image.original.shape):
        while some := list(islice(group, batch)):
            yield some


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


def score_rows(metrics: Iterable[Metric], rows: Sequence[MeasuredDraw], batched: bool = False) -> dict[str, Score]:
    """Mean and interval over images of the image metrics among `metrics`. `batched`: draws were made together."""
    images = [row.image for row in rows]
    names = [metric.name for metric in metrics if isinstance(metric, ImageMetric)]
    values = {name: [row.values.get(name, math.nan) for row in rows] for name in names}
    return {name: summarise(images, values[name], name, batched) for name in names}
