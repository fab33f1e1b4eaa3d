"""Laws of an engine, which runs the jobs of a sweep."""

from __future__ import annotations

from .jobs import make_square
from .law import law, require
from .trials import EngineTrial


@law("engine")
def every_job_once(trial: EngineTrial) -> None:
    """Every job comes back once, with its own result."""
    found = sorted(trial.engine.map(make_square, range(12)))
    require(found == [(n, n**2) for n in range(12)], f"of 12 jobs came {found}")


@law("engine")
def no_jobs(trial: EngineTrial) -> None:
    """Without jobs there are no results, and it ends."""
    found = list(trial.engine.map(make_square, []))
    require(not found, f"of no jobs came {found}")
