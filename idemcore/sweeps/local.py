"""The engine `local`: this process, or several of this machine, each of which may be killed without harm to the others.

jobs -> pipe -> process (loads models at its first job) -> pipe -> results
"""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any

from ..errors import UsageError
from ..protocols import Engine, JobT, MakeWork, Results, ResultT, WorkerDied
from .config import LocalConfig
from .engine import Attempts

KILLED = getattr(signal, "SIGKILL", 9)
"""What Linux sends when memory runs out; Windows has no such signal."""


class LocalEngine(Engine):
    """With one worker it is a loop; with several, processes of their own."""

    def __init__(self, config: LocalConfig) -> None:
        self.config = config

    def map(self, make: MakeWork[JobT, ResultT], jobs: Iterable[JobT]) -> Results[JobT, ResultT]:
        """See `Engine.map`."""
        if self.config.workers > 1:
            yield from self._map_in_processes(make, jobs)
            return
        work = make()
        for job in jobs:
            yield job, work(job)

    def _map_in_processes(self, make: MakeWork[JobT, ResultT], jobs: Iterable[JobT]) -> Results[JobT, ResultT]:
        attempts, made = Attempts(jobs, self.config.retries), _packed(make)
        idle = [_Process(made, self._environment(number)) for number in range(self.config.workers)]
        busy: dict[Connection, tuple[_Process, JobT, int]] = {}
        try:
            while True:
                while idle and (waiting := attempts.next()):
                    packed, process = _packed(waiting[0]), idle.pop()
                    process.send(packed)
                    busy[process.connection] = (process, *waiting)
                if not busy:
                    return
                for connection in wait(list(busy)):
                    process, job, deaths = busy.pop(connection)  # type: ignore[call-overload]
                    try:
                        result = process.receive()
                    except EOFError:
                        idle.append(process.successor())
                        if not attempts.repeat(job, deaths + 1):
                            yield job, WorkerDied(process.fate())
                        continue
                    idle.append(process)
                    yield job, result
        finally:
            for process in [*idle, *(process for process, _, _ in busy.values())]:
                process.stop()

    def _environment(self, number: int) -> dict[str, str]:
        """The environment of process `number`. Threads are counted before PyTorch is loaded, which reads them once."""
        threads = self.config.threads or max(1, usable_cores() // self.config.workers)
        settings = (
            {"OMP_NUM_THREADS": str(threads)} if self.config.threads or "OMP_NUM_THREADS" not in os.environ else {}
        )
        if self.config.gpus:
            visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
            names = visible if visible != [""] else [str(index) for index in range(self.config.gpus)]
            settings["CUDA_VISIBLE_DEVICES"] = names[number % min(self.config.gpus, len(names))]
        return settings


def usable_cores() -> int:
    """The cores that this process may use, where the system says so (Linux); elsewhere those of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Process:
    """A worker process with the pipe to it."""

    def __init__(self, make: bytes, environment: dict[str, str]) -> None:
        """`make` makes the work, packed."""
        self._start = (make, environment)
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, environment), daemon=True)
        self._process.start()
        theirs.close()
        self.send(make)

    def send(self, packed: bytes) -> None:
        """Sends a job; does nothing if the process was killed meanwhile, which `receive` reports."""
        with suppress(BrokenPipeError):
            self.connection.send_bytes(packed)

    def receive(self) -> Any:
        """The next result. Raises what the work raised, EOFError if the process was killed."""
        try:
            done, result = self.connection.recv()
        except ConnectionResetError as error:
            raise EOFError from error
        if not done:
            raise result
        return result

    def successor(self) -> _Process:
        """A new one in its place."""
        return _Process(*self._start)

    def fate(self) -> str:
        """How it ended."""
        self._process.join()
        code = self._process.exitcode or 0
        killed = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"The worker process {killed}" + (", most likely for lack of memory." if code == -KILLED else ".")

    def stop(self) -> None:
        """At once: what it is doing is not wanted any more."""
        self._process.terminate()
        self._process.join()
        self.connection.close()


def _packed(thing: Any) -> bytes:
    """For the pipe to another process. Raises UsageError for what only this process knows."""
    try:
        return bytes(ForkingPickler.dumps(thing))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise _only_here(error) from error


def _unpacked(packed: bytes) -> Any:
    try:
        return pickle.loads(packed)
    except (ImportError, AttributeError) as error:  # of a class that a notebook defines
        raise _only_here(error) from error


def _only_here(error: Exception) -> UsageError:
    return UsageError(
        f"Objects made in Python cannot be sent to other processes: {error}.".replace("..", "."),
        "Use one worker, which is this process, or install them as a plugin: `idem plugins new`.",
    )


def _serve(connection: Connection, environment: dict[str, str]) -> None:
    """The life of a worker process."""
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, who ends us
    with suppress(EOFError):  # the parent is gone
        make = connection.recv_bytes()
        work = None
        while True:
            job = connection.recv_bytes()
            try:
                work = work or _unpacked(make)()
                answer = (True, work(_unpacked(job)))
            except Exception as error:
                answer = (False, error)
            connection.send(answer)
