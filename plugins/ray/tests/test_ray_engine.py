"""The engine `ray`: jobs, errors and killed workers on a small Ray; a sweep equal to the engine `local`'s."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from idemcore.cli import main
from idemcore.errors import MissingError, UsageError
from idemcore.plugins.catalogue import load_catalogue
from idemcore.plugins.selection import configure
from idemcore.protocols import WorkerDied
from idemcore.sweeps.store import Store
from idemcore_ray.config import RayConfig

ray = pytest.importorskip("ray")

WORK = """
import os, signal
from pathlib import Path

def killed_once(flag, number):
    if number == 3 and not Path(flag).exists():
        Path(flag).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number

def make_killed_once(flag):
    from functools import partial
    return partial(killed_once, flag)

def killed(number):
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number

def make_killed():
    return killed

def fail(number):
    from idemcore.errors import MissingError
    raise MissingError("no such device", "buy one")

def make_failing():
    return fail
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A module that workers can import, and a Ray of two cores for the tests of this module."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "ray_work.py").write_text(WORK)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        import ray_work  # type: ignore[import-not-found]

        environment = {"env_vars": {"PYTHONPATH": str(folder)}}
        ray.init(num_cpus=2, object_store_memory=100 * 2**20, include_dashboard=False, log_to_driver=False,
                 runtime_env=environment)  # fmt: skip
        yield ray_work
        ray.shutdown()


def engine(**settings: Any) -> Any:
    from idemcore_ray.engine import RayEngine

    return RayEngine(RayConfig(**settings))


def test_every_job_has_its_result(work: Any) -> None:
    found = dict(engine().map(partial(itemgetter, 0), [(number, "x") for number in range(20)]))
    assert found == {(number, "x"): number for number in range(20)}


def test_a_killed_worker_costs_its_job_a_repetition(work: Any, tmp_path: Path) -> None:
    found = list(engine().map(partial(work.make_killed_once, str(tmp_path / "flag")), range(6)))
    assert sorted(found) == [(number, number) for number in range(6)]
    assert (tmp_path / "flag").exists()


@pytest.mark.parametrize("kind", ["OutOfMemoryError", "NodeDiedError", "WorkerCrashedError"])
def test_what_takes_a_worker_otherwise_costs_a_repetition_too(
    work: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Ray ends a worker before memory is full, and a machine may go."""
    from idemcore_ray import engine as module

    lost, get = [getattr(ray.exceptions, kind)("the worker is gone") if kind != "WorkerCrashedError"
                 else ray.exceptions.WorkerCrashedError()], module._get  # fmt: skip

    def losing(ready: Any) -> Any:
        if lost:
            raise lost.pop()
        return get(ready)

    monkeypatch.setattr(module, "_get", losing)
    (tmp_path / "flag").touch()
    found = list(engine().map(partial(work.make_killed_once, str(tmp_path / "flag")), range(4)))
    assert sorted(found) == [(number, number) for number in range(4)]
    assert not lost


def test_a_job_that_kills_every_worker_is_given_up_and_the_others_are_done(work: Any) -> None:
    found = dict(engine(retries=0).map(work.make_killed, range(3)))
    assert isinstance(found.pop(1), WorkerDied)
    assert found == {0: 0, 2: 2}


def test_what_the_work_raises_passes_through(work: Any) -> None:
    with pytest.raises(MissingError) as error:
        list(engine().map(work.make_failing, range(3)))
    assert error.value.hint == "buy one"


def test_jobs_are_taken_as_workers_are_free(work: Any) -> None:
    taken: list[int] = []

    def jobs() -> Iterator[tuple[int]]:
        for number in range(100):
            taken.append(number)
            yield (number,)

    results = engine(workers=1).map(partial(itemgetter, 0), jobs())
    next(results)
    results.close()
    assert len(taken) == 1


def test_a_cluster_without_room_is_told(work: Any) -> None:
    for settings in ({"gpus": 1}, {"cpus_per_worker": 64}):
        with pytest.raises(MissingError, match="the cluster has 2 cores"):
            list(engine(**settings).map(partial(itemgetter, 0), [(0,)]))


def test_settings_that_cannot_be_right_are_refused() -> None:
    spec = load_catalogue().resolve("engine", "ray")
    for settings in ({"cpus": 0}, {"workers": -1}, {"gpus": -0.5}):
        with pytest.raises(UsageError):
            configure(spec, settings, "engine")


@pytest.mark.slow
def test_a_sweep_equals_local_bit_for_bit(tmp_path: Path) -> None:
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    found = {}
    for name in ("local", "ray"):
        words = ["sweep", "-m", "codec=toy", "generator=toy", "solver=cell,mse", "solver.steps=2", "seed=0..2",
                 *map(str, sorted(tmp_path.glob("*.png"))), "--store", str(tmp_path / name), "--engine", name,
                 "--metrics", "bpp,psnr", "--json"]  # fmt: skip
        result = CliRunner().invoke(main, words, prog_name="idem")
        assert json.loads(result.stdout)["failed"] == result.exit_code == 0
        store = Store(tmp_path / name)
        rows = {row["id"]: {k: v for k, v in row.items() if k != "seconds"} for row in store.rows()}
        found[name] = rows, {path.name: path.read_bytes() for path in store.path("images").iterdir()}
    assert len(found["local"][0]) == 18
    assert found["ray"] == found["local"]
