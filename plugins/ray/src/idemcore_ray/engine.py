"""The engine `ray`: an actor a worker, which keeps its models and takes one job after another."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayTaskError,
    WorkerCrashedError,
)

from idemcore.errors import MissingError
from idemcore.protocols import Engine, JobT, MakeWork, Results, ResultT, WorkerDied
from idemcore.sweeps.engine import Attempts

from .config import RayConfig

LOST = (
    ActorDiedError,
    ActorUnavailableError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    WorkerCrashedError,
)
"""What becomes of a job whose worker, or its machine, is gone; Ray itself ends a worker before memory is full."""
OBJECT_STORE = 200 * 2**20
"""Bytes, of the Ray that is started here: a job and its results are a few MB, and few are under way."""


class RayEngine(Engine):
    """Jobs go to actors as these are free; each actor has its cores and GPUs to itself."""

    def __init__(self, config: RayConfig) -> None:
        self.config = config

    def map(self, make: MakeWork[JobT, ResultT], jobs: Iterable[JobT]) -> Results[JobT, ResultT]:
        """See `Engine.map`. Raises MissingError for a cluster that cannot be reached, or has no room for a worker."""
        with _cluster(self.config):
            yield from self._map(make, jobs)

    def _map(self, make: MakeWork[JobT, ResultT], jobs: Iterable[JobT]) -> Results[JobT, ResultT]:
        attempts = Attempts(jobs, self.config.retries)
        gpus = self._gpus()
        start: Any = ray.remote(num_cpus=self.config.cpus_per_worker, num_gpus=gpus)(_Worker)
        idle: list[Any] = []
        busy: dict[Any, tuple[Any, JobT, int]] = {}
        try:
            while True:
                room = self._room(gpus)  # each time: machines come and go
                while (idle or len(busy) < room) and (waiting := attempts.next()):
                    actor = idle.pop() if idle else start.remote(make)
                    busy[actor.run.remote(waiting[0])] = (actor, *waiting)
                if not busy:
                    return
                (ready,), _ = ray.wait(list(busy), num_returns=1)
                actor, job, deaths = busy.pop(ready)
                try:
                    result = _get(ready)
                except LOST as error:
                    ray.kill(actor)
                    if not attempts.repeat(job, deaths + 1):
                        yield job, WorkerDied(f"The worker died: {' '.join(str(error).split())}")
                    continue
                idle.append(actor)
                yield job, result
        finally:
            for actor in [*idle, *(actor for actor, _, _ in busy.values())]:
                ray.kill(actor)

    def _gpus(self) -> float:
        """The GPUs of a worker."""
        return self.config.gpus if self.config.gpus >= 0 else float(_resources().get("GPU", 0) > 0)

    def _room(self, gpus: float) -> int:
        """How many workers there may be. Raises MissingError if the cluster has no room for one."""
        total = _resources()
        room = int(total.get("CPU", 0) // self.config.cpus_per_worker)
        if gpus:
            room = min(room, int(total.get("GPU", 0) / gpus))
        if not room:
            have = f"{total.get('CPU', 0):g} cores and {total.get('GPU', 0):g} GPUs"
            need = f"A worker needs {self.config.cpus_per_worker} cores and {gpus:g} GPUs; the cluster has {have}."
            raise MissingError(need, "See --set engine.cpus_per_worker and engine.gpus.")
        return min(room, self.config.workers or room)


class _Worker:
    """An actor. Ray has set its threads and its visible GPUs."""

    def __init__(self, make: MakeWork[Any, Any]) -> None:
        self._make, self._work = make, None

    def run(self, job: Any) -> Any:
        self._work = self._work or self._make()  # type: ignore[assignment]
        return self._work(job)  # type: ignore[misc]


def _resources() -> dict[str, float]:
    """The resources of all machines that are up."""
    found: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return found


def _get(ready: Any) -> Any:
    """The result of a task. Raises what it raised."""
    try:
        return ray.get(ready)
    except RayTaskError as error:
        raise error.cause from error


@contextmanager
def _cluster(config: RayConfig) -> Iterator[None]:
    """Connected to the cluster, or to a Ray of its own that ends with the block; unless the program is connected."""
    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    own: dict[str, Any] = {"num_cpus": config.cpus, "object_store_memory": OBJECT_STORE, "include_dashboard": False}
    try:
        ray.init(**({"address": config.address} if config.address else own), **quiet)
    except ConnectionError as error:
        hint = "Start one with `ray start --head`, or leave engine.address out."
        raise MissingError(f"There is no Ray cluster at {config.address!r}: {error}.", hint) from error
    try:
        yield
    finally:
        ray.shutdown()
