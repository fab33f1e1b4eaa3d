"""What engines share: the jobs of a map, with those that are repeated. Imports no torch."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Generic

from ..protocols import JobT


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
