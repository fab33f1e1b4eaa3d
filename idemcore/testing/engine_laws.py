"""Laws of an engine, which runs the jobs of a sweep."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..protocols import WorkerDied
from .jobs import make_failing, make_killed, make_square, make_traced, make_unmade
from .law import Broken, NotTried, law, require
from .trials import EngineTrial

AHEAD = 256
"""Jobs that may be taken before the first result, at most: workers, and some in waiting."""
PATIENCE = 20.0
"""Seconds for workers to be gone."""


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


@law("engine")
def again(trial: EngineTrial) -> None:
    """An engine may be used again, after a map that ended and after one that was closed."""
    next(results := trial.engine.map(make_square, range(5)))
    results.close()
    for _ in range(2):
        found = sorted(result for _, result in trial.engine.map(make_square, range(3)))
        require(found == [0, 1, 4], f"of 3 jobs came {found}")


@law("engine")
def jobs_as_needed(trial: EngineTrial) -> None:
    """A job is asked for when a worker is free for it: there may be more jobs than fit in memory."""
    taken = 0

    def jobs() -> Iterator[int]:
        nonlocal taken
        for number in count():
            taken += 1
            require(taken <= AHEAD, f"{taken} jobs were taken before the first result")
            yield number

    results = trial.engine.map(make_square, jobs())
    next(results)
    results.close()


@law("engine")
def work_is_made_once(trial: EngineTrial) -> None:
    """`make` is called once in each worker, which keeps what it loaded from job to job."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        list(trial.engine.map(partial(make_traced, log), range(12)))
        made = log.read_text(encoding="utf-8").split()
    require(len(made) == len(set(made)), f"work was made {len(made)} times in {len(set(made))} processes")


@law("engine")
def errors_pass_through(trial: EngineTrial) -> None:
    """An exception of the work, or of making it, passes through unchanged and ends the map."""
    for make, message in ((make_failing, "no such thing"), (make_unmade, "the work cannot be made")):
        try:
            found = list(trial.engine.map(make, range(3)))
        except UsageError as error:
            require(error.message == message and error.hint, f"it raised {error!r}, without its message and hint")
        except Exception as error:
            raise Broken(f"work raised a UsageError, and the engine {type(error).__name__}: {error}") from error
        else:
            raise Broken(f"work raised a UsageError, and the engine gave {found}")


@law("engine")
def nothing_is_left(trial: EngineTrial) -> None:
    """Closing the iterator ends the map: no worker is left then."""
    with tempfile.TemporaryDirectory() as folder:
        results = trial.engine.map(partial(make_traced, Path(folder) / "log"), count())
        workers = {result[1] for _, (_, result) in zip(range(4), results, strict=False)} - {os.getpid()}
        results.close()
        until = time.monotonic() + PATIENCE
        while (left := [pid for pid in workers if _lives(pid)]) and time.monotonic() < until:
            time.sleep(0.1)
    require(not left, f"{len(left)} workers still run {PATIENCE:.0f} seconds after the map was closed")


@law("engine")
def killed_workers(trial: EngineTrial) -> None:
    """A worker that is killed is replaced: only its own job is repeated."""
    with tempfile.TemporaryDirectory() as folder:
        flag = Path(folder) / "killed"
        make: Callable[[], Any] = partial(make_killed, flag, os.getpid())
        found = dict(trial.engine.map(make, range(6)))
        if not flag.exists():
            raise NotTried("its worker is this process")
    require(sorted(found) == list(range(6)), f"jobs {sorted(found)} of 6 came back")
    dead = [job for job, result in found.items() if isinstance(result, WorkerDied)]
    require(dead in ([], [3]), f"jobs {dead} were given up, but a worker was killed at job 3 alone")
    wrong = [job for job, result in found.items() if job not in dead and result[0] != job**2]
    require(not wrong, f"jobs {wrong} have another's result")


def _lives(pid: int) -> bool:
    """Is there a process of this number, that has not ended?"""
    if os.name == "nt":  # where os.kill would end it
        import psutil

        return bool(psutil.pid_exists(pid))
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return True
