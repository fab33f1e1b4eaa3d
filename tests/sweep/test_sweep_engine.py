"""The engine `local`: order, laziness, errors, and workers that are killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from idemcore.errors import MissingError, UsageError
from idemcore.plugins.catalogue import load_catalogue
from idemcore.plugins.selection import configure
from idemcore.protocols import WorkerDied
from idemcore.sweeps.config import LocalConfig
from idemcore.sweeps.local import LocalEngine

WORK = """
import os, signal
from pathlib import Path

def square(number):
    return os.getpid(), number**2

def make_square(log):
    with open(log, "a") as file:
        file.write(f"{os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES', '')}\\n")
    return square

def killed_once(flag, number):
    if number == 3 and not Path(flag).exists():
        Path(flag).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number

def make_killed_once(flag):
    from functools import partial
    return partial(killed_once, flag)

def raise_signal(number):
    if number > 0:
        os.kill(os.getpid(), number)
    return number

def make_raise_signal():
    return raise_signal

def fail(number):
    from idemcore.errors import MissingError
    raise MissingError("no such device", "buy one")

def make_failing():
    return fail
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """A module that worker processes can import."""
    (tmp_path / "sweep_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(tmp_path)
    import sweep_work  # type: ignore[import-not-found]

    return sweep_work


def test_one_worker_is_this_process_and_takes_jobs_as_it_goes(work, tmp_path: Path) -> None:
    taken: list[int] = []

    def jobs() -> Iterator[int]:
        for number in range(3):
            taken.append(number)
            yield number

    results = LocalEngine(LocalConfig()).map(partial(work.make_square, tmp_path / "log"), jobs())
    assert next(results) == (0, (os.getpid(), 0))
    assert taken == [0]
    assert [job for job, _ in results] == [1, 2]


def test_several_workers_load_once_and_share_out_gpus(work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    engine = LocalEngine(LocalConfig(workers=2, gpus=2))
    found = dict(engine.map(partial(work.make_square, tmp_path / "log"), range(40)))
    assert {job: square for job, (_, square) in found.items()} == {job: job**2 for job in range(40)}
    loaded = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert len(loaded) == len({pid for pid, _ in loaded}) == len({pid for pid, _ in found.values()})
    assert {gpu for _, gpu in loaded} <= {"0", "1"}
    assert len({gpu for _, gpu in loaded}) == len(loaded)


def test_a_killed_worker_costs_its_job_a_repetition(work, tmp_path: Path) -> None:
    engine = LocalEngine(LocalConfig(workers=2))
    found = list(engine.map(partial(work.make_killed_once, str(tmp_path / "flag")), range(8)))
    assert sorted(found) == [(number, number) for number in range(8)]
    assert (tmp_path / "flag").exists()


def test_a_job_that_kills_every_worker_is_given_up_and_the_others_are_done(work) -> None:
    found = dict(LocalEngine(LocalConfig(workers=2)).map(work.make_raise_signal, [0, int(signal.SIGKILL), -1]))
    assert found.pop(signal.SIGKILL) == WorkerDied(
        "The worker process was killed by SIGKILL, most likely for lack of memory."
    )
    assert found == {0: 0, -1: -1}


def test_what_the_work_raises_passes_through(work) -> None:
    with pytest.raises(MissingError) as error:
        list(LocalEngine(LocalConfig(workers=2)).map(work.make_failing, range(3)))
    assert error.value.hint == "buy one"


def test_no_worker_outlives_a_map_that_is_closed(work, tmp_path: Path) -> None:
    results = LocalEngine(LocalConfig(workers=2)).map(partial(work.make_square, tmp_path / "log"), range(10**9))
    pids = {result[0] for _, (_, result) in zip(range(6), results, strict=False)}
    results.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_settings_that_cannot_be_right_are_refused() -> None:
    spec = load_catalogue().resolve("engine", "local")
    for settings in ({"workers": 0}, {"retries": -1}, {"wrokers": 1}):
        with pytest.raises(UsageError):
            configure(spec, settings, "engine")
