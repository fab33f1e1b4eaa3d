"""The engine: jobs to workers, results back. Put a cluster's library in the place of `concurrent.futures`."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any

from idemcore.protocols import Engine, JobT, MakeWork, Results, ResultT, WorkerDied
from idemcore.sweeps.engine import Attempts

from .config import EngineConfig


class PoolEngine(Engine):
    """A pool of one process for each worker: one that is killed breaks its own pool alone."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config

    def map(self, make: MakeWork[JobT, ResultT], jobs: Iterable[JobT]) -> Results[JobT, ResultT]:
        """See `Engine.map`: jobs are taken from `jobs` as workers are free, and results come as they are ready."""
        attempts = Attempts(jobs, self.config.retries)
        idle = [_pool() for _ in range(self.config.workers)]
        busy: dict[Future[ResultT], tuple[ProcessPoolExecutor, JobT, int]] = {}
        try:
            while True:
                while idle and (waiting := attempts.next()):
                    pool = idle.pop()
                    busy[pool.submit(_run, make, waiting[0])] = (pool, *waiting)
                if not busy:
                    return
                for future in wait(busy, return_when=FIRST_COMPLETED).done:
                    pool, job, deaths = busy.pop(future)
                    try:
                        result = future.result()  # what the work raises passes through
                    except BrokenProcessPool as error:
                        idle.append(_pool())
                        if not attempts.repeat(job, deaths + 1):
                            yield job, WorkerDied(str(error))
                        continue
                    except BaseException:
                        idle.append(pool)
                        raise
                    idle.append(pool)
                    yield job, result
        finally:
            for pool in [*idle, *(pool for pool, _, _ in busy.values())]:
                pool.shutdown(cancel_futures=True)


def _pool() -> ProcessPoolExecutor:
    """A pool of one process, started at its first job. Ctrl-C is for the parent, who ends it."""
    return ProcessPoolExecutor(1, get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN))


_made: list[Any] = []
"""In a worker process: what `make` gave, which keeps the models that it loaded."""


def _run(make: MakeWork[JobT, ResultT], job: JobT) -> ResultT:
    if not _made:
        _made.append(make())
    return _made[0](job)
