"""Sampling that stops early: rounds of images, each twice as many, until every interval is narrow enough.

A configuration whose intervals are narrow enough gets no further images. Which images a round has depends on the plan
alone, and who goes on depends on finished rounds alone: so every engine, and a resumed sweep, runs the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from ..metrics.intervals import summarise
from ..protocols import Engine
from ..results.rows import SweepRow
from .run import BATCH, Counts, Plan, Planned, execute_all
from .store import Store
from .worker import Worker

FIRST = 8
"""Images of the first round: of fewer, an interval says little."""


def execute(
    store: Store,
    plan: Plan,
    engine: Engine,
    work: Callable[[], Worker],
    batch: int = BATCH,
    retry_failed: bool = False,
    progress: Callable[[int], None] = lambda runs: None,
) -> Counts:
    """`run.execute_all`, in rounds where the plan says `until` when a configuration has images enough."""

    def run(part: Plan) -> Counts:
        return execute_all(store, part, engine, work, batch, retry_failed, progress)

    return _in_rounds(store, plan, run) if plan.until else run(plan)


def _in_rounds(store: Store, plan: Plan, run: Callable[[Plan], Counts]) -> Counts:
    settled, needed, done = set[str](), dict[str, Planned](), list[Counts]()
    for images in rounds(plan):
        part = [one for one in plan.runs if one.picture.sha256 in images and one.configuration.key not in settled]
        fresh = [one for one in part if one.run.id not in needed]
        needed |= {one.run.id: one for one in fresh}
        done.append(run(replace(plan, runs=fresh)))
        settled |= _settled(store, part, plan.until)
    return replace(_together(done), spared=len(plan.runs) - len(needed))


def rounds(plan: Plan) -> Iterable[set[str]]:
    """The first 8, 16, 32, ... images by the order in which they were given; the last round has all."""
    count = FIRST
    while count < len(plan.images):
        yield set(plan.images[:count])
        count *= 2
    yield set(plan.images)


def narrow(rows: Sequence[SweepRow], until: Mapping[str, float]) -> bool:
    """Are all of these intervals narrow enough? Not while one is undefined."""
    return all(_half_width(rows, name) <= width for name, width in until.items())


def _half_width(rows: Sequence[SweepRow], name: str) -> float:
    known = [(row.image.sha256, value) for row in rows if (value := row.metrics.get(name)) is not None]
    score = summarise([image for image, _ in known], [value for _, value in known], name)
    return float("inf") if score.low is None or score.high is None else (score.high - score.low) / 2


def _settled(store: Store, runs: Sequence[Planned], until: Mapping[str, float]) -> set[str]:
    """Configurations that need no more images."""
    rows = {row.id: row for row in store.scan() if row.status == "ok"}
    found: dict[str, list[SweepRow]] = {}
    for one in runs:
        if row := rows.get(one.run.id):
            found.setdefault(one.configuration.key, []).append(row)
    return {key for key, mine in found.items() if narrow(mine, until)}


def _together(counts: Sequence[Counts]) -> Counts:
    missing = {name: why for one in counts for name, why in one.missing.items()}
    planned, earlier, measured, failed = (
        sum(getattr(one, key) for one in counts) for key in ("planned", "earlier", "measured", "failed")
    )
    return Counts(planned, earlier, measured, failed, missing)
