"""What runs the jobs of a sweep: a plugin's class, built as `Class(config)`. Imports no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")

Work = Callable[[JobT], ResultT]
MakeWork = Callable[[], Work[JobT, ResultT]]
"""Called once in each worker: loads nothing before the first job, and keeps what it loaded for the next."""


@dataclass(frozen=True)
class WorkerDied:
    """In the place of a result: the worker was killed each time that it ran this job."""

    reason: str


Results = Generator[tuple[JobT, ResultT | WorkerDied], None, None]


class Engine(ABC):
    """Runs jobs by workers, which may be this process, others, or other machines."""

    @abstractmethod
    def map(self, make: MakeWork[JobT, ResultT], jobs: Iterable[JobT]) -> Results[JobT, ResultT]:
        """Each job with its result, as they are ready; jobs are asked for as workers are free for them.

        `make`, jobs and results can be pickled. A worker that is killed is replaced, and costs its job's repetition
        alone. What `make` or the work raises passes through and ends the map, as closing the iterator does: no worker
        is left then.
        """


class Attempts(Generic[JobT]):
    """The jobs of a map, with those that have to be repeated."""

    def __init__(self, jobs: Iterable[JobT], retries: int) -> None:
        self._jobs, self._retries = iter(jobs), retries
        self._again: deque[tuple[JobT, int]] = deque()

    def next(self) -> tuple[JobT, int] | None:
        """A job and how often its worker died; None if none is waiting."""
        if self._again:
            return self._again.popleft()
        return next(((job, 0) for job in self._jobs), None)

    def repeat(self, job: JobT, deaths: int) -> bool:
        """Puts a job back whose worker died for the `deaths`-th time; False if that is once too often."""
        if deaths > self._retries:
            return False
        self._again.append((job, deaths))
        return True
