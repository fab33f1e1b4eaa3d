"""Paired differences between configurations of stores: image by image, so that what images differ in cancels out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import UsageError
from ..metrics.intervals import difference, is_of_batch
from ..protocols import Score
from ..results.base import JsonObject, as_json
from .measures import Measure, measure_of
from .summary import ConfigurationSummary, Summary, is_batched, name_together, values_of

UNDEFINED = "undefined on these images"
NO_INTERVAL = "a distance of whole sets, which has no difference image by image"
SHOWN = 8
"""Configurations that an error lists at most."""


@dataclass(frozen=True)
class Difference(JsonObject):
    """One metric of two configurations."""

    metric: str
    """Its name."""
    anchor: float | None
    """Mean over the shared images, of the anchor; null where undefined."""
    test: float | None
    """The same of the other."""
    value: float | None
    """`test` less `anchor`; of sets of images without an interval."""
    low: float | None
    """Lower end of the 95 % interval of the mean difference (Student's t over images)."""
    high: float | None
    """Upper end."""
    images: int
    """That both have."""
    note: str = ""
    """Why something is null."""

    @property
    def decided(self) -> bool:
        """Does the interval exclude 0?"""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Pair:
    """Two configurations side by side."""

    anchor: ConfigurationSummary
    test: ConfigurationSummary
    differences: tuple[Difference, ...]

    def to_json(self) -> dict[str, object]:
        """For `idem compare --json`."""
        return {"anchor": self.anchor.label, "test": self.test.label, "metrics": as_json(self.differences)}


def pair_up(
    anchors: Sequence[ConfigurationSummary], tests: Sequence[ConfigurationSummary]
) -> list[tuple[ConfigurationSummary, ...]]:
    """Each test with its anchor: the only one there is, else the only one with its codec, else its own configuration.

    Raises UsageError where that leaves no pair, or several anchors for one test.
    """
    found, open_tests = list[tuple[ConfigurationSummary, ...]](), list[ConfigurationSummary]()
    for test in tests:
        same_codec = [anchor for anchor in anchors if anchor.codec == test.codec]
        same = [anchor for anchor in same_codec if (anchor.decoder, anchor.device) == (test.decoder, test.device)]
        choice = anchors if len(anchors) == 1 else same_codec if len(same_codec) == 1 else same
        if len(choice) == 1:
            found.append((choice[0], test))
        else:
            open_tests.append(test)
    if open_tests or not found:
        name_together([*anchors, *tests])
        raise UsageError(f"It is not clear what to compare: {_listed(anchors, tests)}.",
                         "Name one anchor for each codec: --anchor solver=mse, or --anchor plain.")  # fmt: skip
    return found


def compare(
    anchor: ConfigurationSummary, test: ConfigurationSummary, measures: Sequence[Measure], asked: bool = True
) -> Pair:
    """Differences of each measure, over the images that both have.

    Unless these were `asked` for, without what a plain decode among the two cannot have, such as passes.
    """
    found = [_difference(anchor, test, measure.name) for measure in measures]
    return Pair(anchor, test, tuple(one for one in found if asked or not _lacking(anchor, test, one)))


def _lacking(anchor: ConfigurationSummary, test: ConfigurationSummary, one: Difference) -> bool:
    """Is one of the two a plain decode without a value?"""
    return (anchor.plain and one.anchor is None) or (test.plain and one.test is None)


def measures_of(sides: Sequence[Summary], names: Sequence[str]) -> list[Measure]:
    """The named measures, even without a value anywhere; without names, all that some side has."""
    known = {measure.name: measure for side in sides for measure in side.measures}
    return [known.get(name) or measure_of(name) for name in names] if names else list(known.values())


def by_image(configuration: ConfigurationSummary, metric: str) -> dict[str, float]:
    """By sha256 of the original, the mean over its draws."""
    found: dict[str, list[float]] = {}
    for row in configuration.rows:
        if (value := values_of(row, configuration.plain).get(metric)) is not None:
            found.setdefault(row.image.sha256, []).append(value)
    return {image: math.fsum(values) / len(values) for image, values in found.items()}


def _difference(anchor: ConfigurationSummary, test: ConfigurationSummary, metric: str) -> Difference:
    before, after = by_image(anchor, metric), by_image(test, metric)
    shared = sorted(before.keys() & after.keys())
    if shared:
        first, second = (math.fsum(side[image] for image in shared) / len(shared) for side in (before, after))
        sides = ([side[image] for image in shared] for side in (before, after))
        score, note = _noted(metric, difference(metric, *sides), (anchor, test))
        return Difference(metric, first, second, score.value, score.low, score.high, len(shared), note)
    return _of_sets(metric, anchor.estimates, test.estimates, _why(metric, (anchor, test), (before, after)))


def _noted(metric: str, score: Score, sides: Sequence[ConfigurationSummary]) -> tuple[Score, str]:
    """With its interval, and why there is none."""
    if is_of_batch(metric) and any(is_batched(side.rows) for side in sides):
        return Score(score.value, count=score.count), "images of a batch share one value"
    return score, "" if score.low is not None else "too few images for an interval"


def _of_sets(metric: str, anchor: Mapping[str, Score], test: Mapping[str, Score], why: str) -> Difference:
    sides = [estimates[metric].value if metric in estimates else None for estimates in (anchor, test)]
    first, second = sides
    if first is None or second is None:
        return Difference(metric, first, second, None, None, None, 0, why)
    return Difference(metric, first, second, second - first, None, None, 0, NO_INTERVAL)


def _why(metric: str, sides: Sequence[ConfigurationSummary], values: Sequence[Mapping[str, float]]) -> str:
    """Why two sides share no image with a value."""
    if all(values):
        return "no image is in both"
    missing = [row.missing_metrics[metric] for side in sides for row in side.rows if metric in row.missing_metrics]
    if missing:
        return f"not measured: {missing[0]}"
    lacking = next(side for side, found in zip(sides, values, strict=True) if not found)
    asked = any(metric in row.metrics for row in lacking.rows)
    return UNDEFINED if asked else f"not measured for {lacking.label}"


def _listed(anchors: Sequence[ConfigurationSummary], tests: Sequence[ConfigurationSummary]) -> str:
    sides = []
    for name, side in (("anchor", anchors), ("test", tests)):
        labels = [one.label for one in side[:SHOWN]] + (["..."] if len(side) > SHOWN else [])
        sides.append(f"{name}: {' | '.join(labels) or 'none'}")
    return "; ".join(sides)
