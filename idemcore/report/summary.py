"""From the rows of a store to configurations with means and 95 % intervals, and the curves that they lie on."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..metrics.intervals import summarise as mean_over_images
from ..protocols import Score
from ..results.rows import ImageFacts, SweepRow, failure_reasons
from .measures import Direction, Measure, digits_for, measure_of

RATE = "bpp"
PLAIN = "plain decode"
PARTS = ("generator", "solver", "adapter", "restorer", "precision")
"""Keys of a row that say how a bitstream was decoded."""


@dataclass
class ConfigurationSummary:
    """What all rows of one point of a curve share; `decoder` is None for the plain decode."""

    index: int
    codec: Mapping[str, Any]
    decoder: Mapping[str, Any] | None
    """Of `PARTS` those that the rows have, and `tradeoff` if it is not 1."""
    rows: list[SweepRow] = field(default_factory=list)
    label: str = ""
    curve_label: str = ""
    estimates: dict[str, Score] = field(default_factory=dict)
    """By metric; a metric without any finite value is absent."""

    @property
    def plain(self) -> bool:
        return self.decoder is None

    @property
    def device(self) -> str:
        """Kind of the device that drew; empty for a plain decode."""
        return "" if self.plain else self.rows[0].device_kind


@dataclass(frozen=True)
class RateCurve:
    """Configurations that differ in the codec's rate only, by ascending rate."""

    index: int
    label: str
    points: list[ConfigurationSummary]

    @property
    def plain(self) -> bool:
        return self.points[0].plain


@dataclass(frozen=True)
class Summary:
    """All that a report tells about a store."""

    configurations: list[ConfigurationSummary]
    """By curve, then by ascending rate."""
    measures: list[Measure]
    """Metrics that were asked for, or have a value, in the order of `GROUPS`, then as the rows have them."""
    curves: list[RateCurve]
    failed: list[SweepRow]
    undefined: Mapping[str, str] = field(default_factory=dict)
    """Metrics that were asked for and have no value anywhere, and why."""

    def notes(self) -> list[str]:
        """What a table lacks, and why: failed runs, and values of its empty columns."""
        failures = [self.failures] if self.failed else []
        return failures + [f"{measure.label} has no value: {self.undefined[measure.name]}"
                           for measure in self.measures if measure.name in self.undefined]  # fmt: skip

    @property
    def failures(self) -> str:
        """`1 of 3 runs failed: out of memory (1 run)`; empty if none failed."""
        total = len({row.id for c in self.configurations for row in c.rows}) + len(self.failed)
        return f"{len(self.failed)} of {total} runs failed: {failure_reasons(self.failed)}" if self.failed else ""

    @cached_property
    def images(self) -> list[ImageFacts]:
        """The `image` of each row, once each, by name."""
        found = {row.image.sha256: row.image for c in self.configurations for row in c.rows}
        return sorted(found.values(), key=lambda image: (image.name, image.sha256))

    def digits(self, measure: Measure) -> int:
        """Decimals with which all values of `measure` are shown."""
        return digits_for(
            measure, [c.estimates[measure.name].value for c in self.configurations if measure.name in c.estimates]
        )

    def of_group(self, *groups: str) -> list[Measure]:
        return [measure for measure in self.measures if measure.group in groups]


GROUPS = ("rate", "distortion", "perception", "fidelity", "cost", "other")
Scores = Callable[[Sequence[SweepRow], bool], Mapping[str, Score]]
"""The set metrics that are known of all rows of a configuration, or of their plain decodes."""


def summarise(
    rows: Iterable[SweepRow], scores: Scores | None = None, known: Mapping[str, Direction] | None = None
) -> Summary:
    """`known` is the direction of each metric whose MetricSpec is at hand."""
    failed, good = list[SweepRow](), list[SweepRow]()
    for row in rows:
        (failed if row.status == "failed" else good).append(row)
    configurations = _configurations(good)
    names: dict[str, None] = {}
    for configuration in configurations:
        configuration.estimates = _estimates(configuration)
        if scores:
            configuration.estimates |= {n: s for n, s in scores(configuration.rows, configuration.plain).items()
                                        if _finite(s.value)}  # fmt: skip
        names |= dict.fromkeys(configuration.estimates)
    undefined = {name: why for name, why in _asked(good).items() if name not in names}
    names |= dict.fromkeys(undefined)
    name_together(configurations)
    curves = _curves(configurations)
    ordered = [point for curve in curves for point in curve.points]
    for index, configuration in enumerate(ordered):
        configuration.index = index
    measures = [measure_of(name, (known or {}).get(name)) for name in names]
    measures.sort(key=lambda measure: (GROUPS.index(measure.group), measure.order))
    return Summary(ordered, measures, curves, failed, undefined)


def _asked(rows: Iterable[SweepRow]) -> dict[str, str]:
    """Every metric that rows should hold, with why it would have no value."""
    found: dict[str, str] = {}
    for row in rows:
        for name in row.metrics:
            found.setdefault(name, "it is undefined on these images")
        found |= {name: f"it was not measured: {why}".rstrip(".") for name, why in row.missing_metrics.items()}
    return found


def values_of(row: SweepRow, plain: bool = False) -> dict[str, float]:
    """The finite metrics of a row, or of its plain decode, whose rate is the row's."""
    metrics: dict[str, Any] = dict(row.metrics)
    if plain:
        metrics = {key: metrics[key] for key in (RATE, "payload-bpp") if key in metrics} | dict(row.decoded_metrics)
    else:
        metrics.setdefault("exact", row.exact)
        metrics.setdefault("nfe", row.nfe)
        metrics.setdefault("seconds", row.decode_seconds)
    return {key: float(value) for key, value in metrics.items() if _finite(value)}


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _configurations(rows: list[SweepRow]) -> list[ConfigurationSummary]:
    """One for each combination in the rows, and one for the plain decode of each configuration of a codec.

    Of runs that differ in versions alone, the last counts: a store may have been filled by several.
    """
    latest = {_canonical([_identity(row), row.image.sha256, row.seed]): row for row in rows}
    found: dict[str, ConfigurationSummary] = {}
    decoded: set[str] = set()
    for row in latest.values():
        decoder = {key: value for key in PARTS if (value := getattr(row, key))}
        if row.tradeoff != 1:
            decoder["tradeoff"] = row.tradeoff
        key, plain = _canonical(_identity(row)), _canonical([row.codec, _codec_weights(row)])
        found.setdefault(key, ConfigurationSummary(len(found), row.codec, decoder)).rows.append(row)
        one = plain + row.image.sha256
        if row.decoded_metrics and one not in decoded:
            decoded.add(one)
            found.setdefault(plain, ConfigurationSummary(len(found), row.codec, None)).rows.append(row)
    return list(found.values())


def _identity(row: SweepRow) -> list[Any]:
    """What the rows of a configuration share."""
    return [getattr(row, key) for key in ("codec", *PARTS, "device_kind", "weights", "tradeoff")]


def _codec_weights(row: SweepRow) -> Any:
    return row.weights.get("codec")


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _estimates(configuration: ConfigurationSummary) -> dict[str, Score]:
    """Means over images of all metrics that have a finite value."""
    found: dict[str, tuple[list[str], list[float]]] = defaultdict(lambda: ([], []))
    for row in configuration.rows:
        for name, value in values_of(row, configuration.plain).items():
            found[name][0].append(row.image.sha256)
            found[name][1].append(value)
    batched = is_batched(configuration.rows)
    return {name: mean_over_images(images, values, name, batched) for name, (images, values) in found.items()}


def is_batched(rows: Iterable[SweepRow]) -> bool:
    """Were some of them computed together, so that they share times?"""
    return any((row.batch or 1) > 1 for row in rows)


def _curves(configurations: list[ConfigurationSummary]) -> list[RateCurve]:
    """Numbers among a codec's settings move along a curve; any other difference makes another curve."""
    groups: dict[str, list[ConfigurationSummary]] = defaultdict(list)
    for configuration in configurations:
        fixed = {k: v for k, v in configuration.codec.items() if not _number(v)}
        groups[_canonical([fixed, configuration.decoder, configuration.device])].append(configuration)
    ordered = sorted(groups.values(), key=lambda points: (points[0].codec["name"], not points[0].plain))
    for points in ordered:
        points.sort(key=lambda c: (c.estimates[RATE].value if RATE in c.estimates else math.inf, c.label))
    return [RateCurve(index, points[0].curve_label, points) for index, points in enumerate(ordered)]


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def name_together(configurations: Sequence[ConfigurationSummary]) -> None:
    """Labels them with the settings that differ between configurations, and no others.

    Generator and solver say which adapter is between them, which is named only where its settings differ.
    """
    codecs = _varying([c.codec for c in configurations])
    kinds = ("generator", "solver", "adapter")
    decoders = {
        kind: _varying([c.decoder[kind] for c in configurations if c.decoder and kind in c.decoder]) for kind in kinds
    }
    precisions = {c.decoder.get("precision") for c in configurations if c.decoder}
    devices = {c.device for c in configurations if c.decoder}
    for c in configurations:
        decoder = PLAIN
        if c.decoder:
            names = [
                _described(c.decoder[k], decoders[k])
                for k in kinds
                if k in c.decoder and (k != "adapter" or decoders[k].get(c.decoder[k]["name"]))
            ]
            names += [str(c.decoder.get("precision"))] if len(precisions) > 1 else []
            names += [c.device] if len(devices) > 1 else []
            names += [f"tradeoff {c.decoder['tradeoff']:g}"] if "tradeoff" in c.decoder else []
            decoder = " + ".join(names)
        c.label = f"{_described(c.codec, codecs)} · {decoder}"
        c.curve_label = f"{_described({k: v for k, v in c.codec.items() if not _number(v)}, codecs)} · {decoder}"


def _varying(parts: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """By name, the settings that take several values among parts of this name."""
    seen: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for part in parts:
        for key, value in part.items():
            if key != "name":
                seen[part["name"]][key].add(_canonical(value))
    return {name: [key for key, values in settings.items() if len(values) > 1] for name, settings in seen.items()}


def _described(part: Mapping[str, Any], varying: Mapping[str, list[str]]) -> str:
    shown = [f"{key} {part[key]}" for key in varying.get(part["name"], []) if key in part]
    return f"{part['name']} ({', '.join(shown)})" if shown else str(part["name"])
