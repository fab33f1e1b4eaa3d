"""Set metrics, such as Fréchet distances, of the pictures in a store: computed once, then kept in its scores.json."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import IntegrityError, UsageError
from ..io.files import atomic_write, parse_json, read_file
from ..protocols import Score
from ..results.rows import SweepRow
from ..sweeps.upkeep import SCORES
from ..weights.digest import digest
from .summary import ConfigurationSummary

if TYPE_CHECKING:
    from ..metrics.building import ChosenMetric
    from ..protocols import SetMetric
    from ..results.case import Case
    from ..runtime import Runtime

MEANING = 2
"""Grows when metrics of sets are computed in another way: scores that were kept before are then computed again."""


class Scores:
    """What is known of the sets of pictures in `store`; called with rows, it gives their scores by metric.

    Its file is {KEY: {METRIC: {"value", "low", "high", "count"}}}; a KEY is the hash of the names of the pictures.

    Raises IntegrityError for a scores.json that is damaged.
    """

    def __init__(self, store: Path) -> None:
        self.store, self.path = store, store / SCORES
        try:
            self._known: dict[str, dict[str, dict[str, Any]]] = (
                parse_json(read_file(self.path)) if self.path.is_file() else {}
            )
        except ValueError as error:
            raise IntegrityError(f"{self.path} is damaged: {error}.", "Delete it: it can be computed again.") from error

    def __call__(self, rows: Sequence[SweepRow], plain: bool) -> Mapping[str, Score]:
        found = self._known.get(key_of(rows, plain), {})
        return {
            name: Score(s["value"], s["low"], s["high"], s["count"])
            for name, s in found.items()
            if s["value"] is not None
        }

    def compute(
        self, configurations: Sequence[ConfigurationSummary], metrics: Sequence[SetMetric], told: Callable[[str], None]
    ) -> None:
        """Adds what is not known yet, one configuration after the other; tells the label of each.

        The set is the first draw of each image, so that sets of several seeds compare with plain decodes and with one
        another; a metric that is undefined there, such as diversity, gets all draws. Raises InputError for a picture
        that cannot be read.
        """
        for configuration in configurations:
            rows, plain = configuration.rows, configuration.plain
            mine = self._known.setdefault(key_of(rows, plain), {})
            wanted = [metric for metric in metrics if metric.name not in mine]
            if wanted:
                told(configuration.label)
                mine |= {name: _plain(score) for name, score in _scored(self.store, wanted, rows, plain).items()}
                atomic_write(self.path, json.dumps(self._known, indent=1).encode())


def key_of(rows: Sequence[SweepRow], plain: bool) -> str:
    """Names a set of pictures: the reconstructions of `rows`, or their plain decodes."""
    return digest([MEANING, sorted(str(picture(row, plain)) for row in rows)])


def picture(row: SweepRow, plain: bool) -> str | None:
    """The file of a row's picture, as the store names it."""
    return row.files.decoded if plain else row.files.reconstruction


def set_metrics(chosen: Sequence[ChosenMetric], runtime: Runtime) -> tuple[list[SetMetric], dict[str, str]]:
    """The metrics that can be built, and why the others cannot. Raises UsageError for a metric of single images."""
    from ..metrics import SetMetric, build

    built, missing = build(chosen, runtime)
    for metric in built:
        if not isinstance(metric, SetMetric):
            hint = "Name it in `idem sweep --metrics`, which measures it while the images are at hand."
            raise UsageError(f"{metric.name} is measured image by image, not of a set of pictures.", hint)
    return [metric for metric in built if isinstance(metric, SetMetric)], missing


def _scored(store: Path, metrics: Sequence[SetMetric], rows: Sequence[SweepRow], plain: bool) -> dict[str, Score]:
    from ..evaluation.evaluation import score_sets

    draws = sorted(rows, key=lambda row: (row.image.sha256, row.seed or 0))
    first = list({row.image.sha256: row for row in reversed(draws)}.values())[::-1]
    found = score_sets(metrics, _cases(store, first, plain))
    undefined = [metric for metric in metrics if math.isnan(found[metric.name].value)]
    return found | score_sets(undefined, _cases(store, draws, plain)) if len(first) < len(draws) else found


def _cases(store: Path, rows: Sequence[SweepRow], plain: bool) -> Iterator[Case]:
    """One a picture, in the order of `rows`."""
    from ..io.images import read_bytes
    from ..metrics import Case

    for row in rows:
        original = read_bytes(store / str(row.files.original))
        shown = read_bytes(store / str(picture(row, plain)))
        decoded = None if plain else read_bytes(store / str(row.files.decoded))
        yield Case(images=(row.image.sha256,), reconstruction=shown, original=original, decoded=decoded)


def _plain(score: Score) -> dict[str, Any]:
    value = score.value if math.isfinite(score.value) else None
    return {"value": value, "low": score.low, "high": score.high, "count": score.count}
