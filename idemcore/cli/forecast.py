"""What `idem sweep --dry-run` prints: runs, hours and disk, and what they were measured on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .options import RunOptions
from .output import print_json, print_record, print_table, say

if TYPE_CHECKING:
    from ..protocols import Engine
    from ..sweeps.forecast import Forecast, Pace
    from ..sweeps.run import Plan
    from ..sweeps.store import Store
    from ..sweeps.worker import Worker


def show_forecast(
    target: Store, planned: Plan, engine: Engine, work: Callable[[], Worker], options: RunOptions
) -> None:
    """Prints what the missing runs will take; writes nothing."""
    from ..sweeps.forecast import forecast
    from ..sweeps.run import remaining

    config = getattr(engine, "config", None)
    left = remaining(target, planned, options.retry_failed)
    told = forecast(target, planned, left, work, getattr(config, "workers", 1) or 1)
    if options.as_json:
        print_json(told.to_json())
        return
    _print(told, len(left.rows), bool(planned.until))


def _print(told: Forecast, to_measure: int, at_most: bool) -> None:
    head = ("configurations", "runs", "passes", "passes a second", "time", "measured on")
    print_table(head, [_line(pace) for pace in told.paces])
    most = "at most " if at_most else ""
    record = {"runs": f"{most}{told.runs}, {told.earlier} of them in the store already",
              "time": f"{most}{in_words(told.seconds)} by one worker"}  # fmt: skip
    if told.workers > 1:
        record["workers"] = f"{told.workers}: {in_words(told.seconds / told.workers)}, each as fast as one alone"
    if to_measure:
        record["metrics"] = f"{to_measure} runs of the store lack some, which are measured from their pictures"
    print_record({**record, "disk": f"{most}{told.bytes / 1e6:,.1f} MB"})
    if unknown := [pace.name for pace in told.paces if pace.seconds is None]:
        say(f"not included: {', '.join(unknown)}")
    say("nothing was run")


def _line(pace: Pace) -> tuple[object, ...]:
    passes = "-" if pace.passes is None else f"{pace.passes:g}"
    speed = "-" if not pace.passes_second else f"{pace.passes_second:.3g}"
    time = "-" if pace.seconds is None else in_words(pace.seconds)
    return pace.name, pace.runs, passes, speed, time, pace.source


def in_words(seconds: float) -> str:
    """In the unit that suits it."""
    unit, name = (3600, "hours") if seconds >= 5400 else (60, "minutes") if seconds >= 90 else (1, "seconds")
    return f"{seconds / unit:,.0f} {name}" if seconds >= 10 * unit else f"{seconds / unit:.2g} {name}"
