"""Rate curves in CompressAI's result format, ours and published ones, and how far one lies from another. No torch.

A file is one curve: `{"name", "description", "results": {"bpp": [...], "psnr-rgb": [...], ...}}`, a value a point.
Ours add `intervals` (beside results), `rows` (of single images), `missing` (metrics that were not measured) and `meta`.
Published ones say their `protocol` (the images, a set of `registry/image_sets/`), their `source` and its `date`.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..errors import InputError, MissingError, UsageError, nearest
from ..io.files import atomic_write, parse_json, read_file, text_bytes
from ..metrics.intervals import difference
from ..plugins.registry import registry_folder
from ..protocols import Score
from ..results.base import as_json
from ..results.rows import CurveMeta, EvalRow

RATE = "bpp"
Number = float | None
"""None where undefined."""
_OPTIONAL: Mapping[str, Callable[[Any], Any]] = {
    "description": str,
    "missing": dict,
    "protocol": dict,
    "source": str,
    "date": str,
}


@dataclass(frozen=True)
class Curve:
    """What a codec, or a codec with generator and solver, gives at several rates."""

    name: str
    results: Mapping[str, Sequence[Number]]
    """By CompressAI's key where there is one (`psnr-rgb`), else by metric; all of one length."""
    description: str = ""
    intervals: Mapping[str, Sequence[tuple[float, float] | None]] = field(default_factory=dict)
    rows: Sequence[EvalRow] = ()
    """One a reconstruction."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Metrics that were not measured, and what would bring them."""
    meta: CurveMeta | None = None
    """How idem measured it; None of a published curve."""
    protocol: Mapping[str, str] = field(default_factory=dict)
    """How a published curve was measured; `images` names a set of `registry/image_sets/`."""
    source: str = ""
    date: str = ""

    @classmethod
    def read(cls, path: Path) -> Curve:
        """Reads a JSON file. Raises InputError if it is not a curve, UsageError for a path that cannot be read."""
        try:
            content = parse_json(read_file(path))
            return cls.of(content, path.stem)
        except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
            reason = f"{path} is no result in CompressAI's format: {error}."
            raise InputError(
                reason, "`idem eval DIR --out FOLDER` writes such files: results: {bpp: [...], psnr-rgb: [...], ...}."
            ) from error

    @classmethod
    def of(cls, content: Mapping[str, Any], name: str = "") -> Curve:
        """The curve in a file's content; raises ValueError, TypeError, KeyError or OverflowError if it is none."""
        results = {key: [_number(v) for v in values] for key, values in content.get("results", content).items()}
        if RATE not in results or len({len(values) for values in results.values()}) > 1:
            raise ValueError("'results' must hold lists of one length, 'bpp' among them")
        own = {key: kind(content[key]) for key, kind in _OPTIONAL.items() if content.get(key) is not None}
        intervals = {key: [_pair(pair) if pair else None for pair in pairs]
                     for key, pairs in content.get("intervals", {}).items()}  # fmt: skip
        meta = CurveMeta.from_json(content["meta"]) if content.get("meta") else None
        rows = tuple(EvalRow.from_json(row) for row in content.get("rows", ()))
        for row in rows:
            _check_row(row, meta.points if meta else ())
        return cls(str(content.get("name", name)), results, intervals=intervals, rows=rows, meta=meta, **own)

    def content(self) -> dict[str, Any]:
        """The file's, for `of`."""
        values: dict[str, Any] = {field.name: as_json(getattr(self, field.name)) for field in fields(self)}
        return {"name": self.name, "description": self.description, **values}

    def write(self, path: Path) -> None:
        atomic_write(path, text_bytes(json.dumps(self.content(), indent=1, ensure_ascii=False) + "\n"))

    def key(self, metric: str) -> str:
        """What the results call a metric: `psnr` may be there as `psnr-rgb`. Raises UsageError if it is not there."""
        for key in (metric, f"{metric}-rgb"):
            if key in self.results:
                return key
        guess = nearest(metric, list(self.results))
        raise UsageError(f"{self.name} holds no '{metric}'.", f"{guess} It has {', '.join(self.results)}.".strip())

    def points(self, metric: str) -> list[tuple[float, float]]:
        """(bpp, value), by rate, where both are known."""
        pairs = zip(self.results[RATE], self.results[self.key(metric)], strict=True)
        return sorted((rate, value) for rate, value in pairs if rate is not None and value is not None)


def _number(value: Any) -> Number:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return None if value is None or not math.isfinite(value) else value
    raise TypeError(f"{value!r:.40} is not a number")


def _pair(values: Sequence[float]) -> tuple[float, float]:
    low, high = map(float, values)
    return low, high


def _check_row(row: EvalRow, points: Sequence[Mapping[str, Any]]) -> None:
    """Raises TypeError for one that cannot be compared."""
    if not 0 <= row.point < len(points):
        raise TypeError("a row of an unknown point")
    for value in row.metrics.values():
        _number(value)


def curve(
    name: str,
    description: str,
    scores: Sequence[Mapping[str, Score]],
    keys: Mapping[str, str],
    **more: Any,
) -> Curve:
    """A curve of its points' scores; `keys` are CompressAI's names of metrics, `more` the curve's other fields."""
    results: dict[str, list[Number]] = {}
    intervals: dict[str, list[tuple[float, float] | None]] = {}
    for metric in dict.fromkeys(metric for point in scores for metric in point):
        found = [point.get(metric, Score(math.nan)) for point in scores]
        key = keys.get(metric) or metric
        results[key] = [score.value if math.isfinite(score.value) else None for score in found]
        pairs = [(s.low, s.high) if s.low is not None and s.high is not None else None for s in found]
        if any(pairs):
            intervals[key] = pairs
    return Curve(name, results, description, intervals, **more)


def references() -> dict[str, Curve]:
    """The curves of `registry/results/`, by file name."""
    return {path.stem: Curve.read(path) for path in sorted((registry_folder() / "results").rglob("*.json"))}


def find(name: str) -> Curve:
    """The curve of a file, or of the registry by name. Raises UsageError if there is neither."""
    if not Path(name).exists() and name in (known := references()):
        return known[name]
    if not Path(name).exists():
        hint = nearest(name, list(known)) or f"Curves of the registry: {', '.join(known)}."
        raise UsageError(f"There is no file {name}, and no curve of that name in the registry.", hint)
    return Curve.read(Path(name))


def bd_rate(anchor: Curve, test: Curve, metric: str = "psnr", lower: bool = False) -> float:
    """Per cent of bits that `test` needs more than `anchor` for the same value; negative is fewer (Bjontegaard 2001).

    Akima interpolation, by the package bjontegaard. `lower` for a metric that falls as the rate grows. nan for fewer
    than two points, curves that do not overlap, or values that are not monotonic in the rate.
    """
    if why_undefined(anchor, test, metric, lower):
        return math.nan
    return _delta("bd_rate", *(_signed_points(side, metric, lower) for side in (anchor, test)))


def why_undefined(anchor: Curve, test: Curve, metric: str = "psnr", lower: bool = False) -> str:
    """Why the BD-rate of two curves has no value, in a few words; empty if it has one."""
    spans = []
    for side in (anchor, test):
        points = _signed_points(side, metric, lower)
        values = [value for _, value in points]
        if len(points) < 2:
            return f"{side.name} has {len(points)} point{'' if len(points) == 1 else 's'}; a curve needs two"
        if not _rising([rate for rate, _ in points]):
            return f"{side.name} has two points of one rate"
        if not _rising(values):
            return f"{side.name} does not get better with every bit: {metric} is not monotonic in the rate"
        spans.append((values[0], values[-1]))
    if max(low for low, _ in spans) >= min(high for _, high in spans):
        return f"the two curves share no value of {metric}"
    return ""


def _signed_points(side: Curve, metric: str, lower: bool) -> list[tuple[float, float]]:
    """(bpp, value), where more is better."""
    return [(rate, -value if lower else value) for rate, value in side.points(metric)]


def bd_metric(anchor: Curve, test: Curve, metric: str = "psnr") -> float:
    """What `test` has more of a metric than `anchor` at the same rate, in its unit; nan for fewer than two points."""
    return _delta("bd_psnr", anchor.points(metric), test.points(metric))


def _rising(values: Sequence[float]) -> bool:
    return all(a < b for a, b in pairwise(values))


def _delta(function: str, anchor: list[tuple[float, float]], test: list[tuple[float, float]]) -> float:
    try:
        import bjontegaard
    except ImportError as error:
        reason = "Differences of curves need a package that is not here: bjontegaard."
        raise MissingError(reason, 'Type: pip install "idemcore[metrics]"') from error
    if any(len(points) < 2 or not _rising([rate for rate, _ in points]) for points in (anchor, test)):
        return math.nan
    lists = [list(column) for points in (anchor, test) for column in zip(*points, strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of curves that overlap little: the overlap is told beside the figure
        options = {"method": "akima", "require_matching_points": False, "min_overlap": 0}
        try:
            return float(getattr(bjontegaard, function)(*lists, **options))
        except ValueError:  # of rates or values that no curve has, such as 0 bits
            return math.nan


def overlap(anchor: Curve, test: Curve) -> tuple[float, float] | None:
    """The rates that both curves span; None if there are none."""
    sides = [[rate for rate in side.results[RATE] if rate is not None] for side in (anchor, test)]
    if not all(sides):
        return None
    low, high = max(map(min, sides)), min(map(max, sides))
    return (low, high) if low < high else None


def paired(anchor: Curve, test: Curve, metric: str) -> dict[int, Score]:
    """Mean over images of `test` minus `anchor`, by point of `test`, with 95 % intervals; draws are averaged first.

    Of images that both have, at points of the same codec with the same settings: nothing for curves without rows.
    """
    sides = [_by_image(side, metric) for side in (anchor, test)]
    found: dict[int, list[tuple[float, float]]] = {}
    for (setting, image), (point, value) in sides[1].items():
        if (setting, image) in sides[0]:
            found.setdefault(point, []).append((sides[0][setting, image][1], value))
    return {point: difference(metric, *zip(*values, strict=True)) for point, values in sorted(found.items())}


def _by_image(side: Curve, metric: str) -> dict[tuple[str, str], tuple[int, float]]:
    """From the point's codec with its settings, and the image, to the point's number and the mean of its draws."""
    found: dict[tuple[str, str], list[float]] = {}
    numbers: dict[str, int] = {}
    points = side.meta.points if side.meta else ()
    for row in side.rows:
        value = row.metrics.get(metric)
        setting = json.dumps(points[row.point], sort_keys=True)
        numbers[setting] = row.point
        if value is not None:
            found.setdefault((setting, row.image), []).append(value)
    return {key: (numbers[key[0]], sum(values) / len(values)) for key, values in found.items()}
