"""What the script of a report needs: metrics, configurations, images and runs, which refer to one another by number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..results.base import JsonObject, as_json
from ..results.rows import SweepRow
from .measures import Measure
from .summary import ConfigurationSummary, Summary, values_of

CopyPicture = Callable[[object], str | None]
"""From a file of the store to its copy in the report; None if the store has none such."""


@dataclass(frozen=True)
class PageMeasure(JsonObject):
    """A metric."""

    name: str
    label: str
    unit: str
    direction: str
    digits: int


@dataclass(frozen=True)
class PageConfiguration(JsonObject):
    """Codec and decoder with their settings, by kind."""

    label: str
    plain: bool
    parts: Mapping[str, Mapping[str, Any] | None]


@dataclass(frozen=True)
class PageImage(JsonObject):
    """An original."""

    name: str
    width: int
    height: int
    original: str | None


@dataclass(frozen=True)
class PageFacts(JsonObject):
    """What runs depend on, which many share."""

    versions: Mapping[str, str]
    weights: Mapping[str, str]


@dataclass(frozen=True)
class PageRun(JsonObject):
    """A picture and its values. What follows `facts` is null of a plain decode."""

    configuration: int
    image: int
    seed: int | None
    values: tuple[float | None, ...]
    """One a metric."""
    file: str | None
    facts: int
    exact: bool | None = None
    differing: int | None = None
    id: str | None = None
    command: str | None = None
    seconds: Mapping[str, float] | None = None
    positions: Mapping[str, Any] | None = None
    psnr_moved: float | None = None
    bytes: int | None = None
    device: str | None = None


@dataclass(frozen=True)
class PageData(JsonObject):
    """All of it."""

    measures: tuple[PageMeasure, ...]
    configurations: tuple[PageConfiguration, ...]
    images: tuple[PageImage, ...]
    facts: tuple[PageFacts, ...]
    runs: tuple[PageRun, ...]


def page_data(summary: Summary, copy: CopyPicture, limit: int | None) -> PageData:
    """The data of a summary, with the pictures of its first `limit` images."""
    numbers = {image.sha256: index for index, image in enumerate(summary.images)}
    shown = len(numbers) if limit is None else limit
    facts, runs, originals = list[PageFacts](), list[PageRun](), dict[int, str | None]()
    for configuration in summary.configurations:
        for row in configuration.rows:
            number, file = numbers[row.image.sha256], None
            if number < shown:
                file = copy(row.files.decoded if configuration.plain else row.files.reconstruction)
                originals[number] = originals.get(number) or copy(row.files.original)
            if (found := PageFacts(row.versions, row.weights)) not in facts:
                facts.append(found)
            runs.append(_run(summary, configuration, row, number, file, facts.index(found)))
    images = [
        PageImage(image.name, image.width, image.height, originals.get(number))
        for number, image in enumerate(summary.images)
    ]
    return PageData(
        measures=tuple(_measure(summary, measure) for measure in summary.measures),
        configurations=tuple(map(_configuration, summary.configurations)),
        images=tuple(images),
        facts=tuple(facts),
        runs=tuple(sorted(runs, key=lambda run: (run.image, run.configuration, run.seed or 0))),
    )


def _run(
    summary: Summary, configuration: ConfigurationSummary, row: SweepRow, image: int, file: str | None, facts: int
) -> PageRun:
    found = values_of(row, configuration.plain)
    values = tuple(found.get(measure.name) for measure in summary.measures)
    if configuration.plain:
        return PageRun(configuration.index, image, None, values, file, facts)
    return PageRun(
        configuration.index, image, row.seed, values, file, facts,
        exact=row.exact, differing=row.differing_symbols, id=row.id, command=row.command, seconds=row.seconds,
        positions=as_json(row.positions), psnr_moved=row.psnr_moved, bytes=row.bytes, device=row.device,
    )  # fmt: skip


def _measure(summary: Summary, measure: Measure) -> PageMeasure:
    return PageMeasure(measure.name, measure.label, measure.unit, measure.direction, summary.digits(measure))


def _configuration(configuration: ConfigurationSummary) -> PageConfiguration:
    parts = {"codec": configuration.codec, **(configuration.decoder or {})}
    return PageConfiguration(configuration.label, configuration.plain, parts)
