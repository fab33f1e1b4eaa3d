"""Sampling that stops early: the same runs on every engine, and no more than the intervals ask for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sweeping import comparable, sweep_row

from idemcore.errors import UsageError
from idemcore.metrics import choose_metrics
from idemcore.plugins.catalogue import load_catalogue
from idemcore.protocols import Engine
from idemcore.sweeps import rounds
from idemcore.sweeps.grid import Definition, Grid, parse_until
from idemcore.sweeps.local import LocalConfig, LocalEngine
from idemcore.sweeps.rounds import execute, narrow
from idemcore.sweeps.run import plan
from idemcore.sweeps.store import Store
from idemcore.sweeps.worker import Worker


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Ten images of 8x8 pixels."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(10):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return folder


def definition(many: Path, until: dict[str, float]) -> Definition:
    grid = Grid({"solver": ("cell", "mse"), "seed": (0, 1)}, {"codec": "toy", "generator": "toy"})
    return Definition((grid,), (str(many),), metrics=("psnr", "bpp"), until=until)


def work() -> Worker:
    return Worker("cpu", "fp32", choose_metrics(load_catalogue(), ["psnr", "bpp"]))


class Backwards(Engine):
    """Takes the last job first, as no queue would."""

    def map(self, make, jobs):
        worker = make()
        for job in reversed(list(jobs)):
            yield job, worker(job)


def run(many: Path, store: Store, until: dict[str, float], engine: Engine | None = None):
    planned = plan(definition(many, until), load_catalogue())
    with store.writing({}):
        return execute(store, planned, engine or LocalEngine(LocalConfig()), work, batch=2)


def test_a_configuration_stops_once_its_interval_is_narrow(many: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(rounds, "FIRST", 3)
    counts = run(many, Store(tmp_path / "a"), {"psnr": 100.0})
    assert (counts.planned, counts.spared, counts.failed) == (9, 21, 0)
    assert {row.image.name for row in Store(tmp_path / "a").rows()} == {"0.png", "1.png", "2.png"}
    counts = run(many, Store(tmp_path / "b"), {"psnr": 1e-9})
    assert (counts.planned, counts.spared) == (30, 0)


def test_rounds_are_the_same_by_every_engine_and_when_resumed(many: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(rounds, "FIRST", 2)
    first, second, third = (Store(tmp_path / name) for name in "abc")
    run(many, first, {"psnr": 0.4})
    run(many, second, {"psnr": 0.4}, Backwards())
    assert comparable(first) == comparable(second)
    with third.writing({}):
        for row in first.rows()[:3]:
            third.append(row)
    counts = run(many, third, {"psnr": 0.4})
    assert counts.earlier == 3
    assert {row.id for row in third.rows()} == {row.id for row in first.rows()}


def test_an_interval_that_is_undefined_is_not_narrow() -> None:
    rows = [sweep_row(id=str(k), image={"name": "a", "sha256": str(k), "width": 8, "height": 8}, metrics={"psnr": v})
            for k, v in enumerate((30.0, 30.2, None))]  # fmt: skip
    assert narrow(rows, {"psnr": 2.0})
    assert not narrow(rows, {"psnr": 0.5})
    assert not narrow(rows[:1], {"psnr": 9.0})
    assert not narrow(rows, {"psnr": 2.0, "lpips": 1.0})


def test_what_is_stopped_by_must_be_measured(many: Path) -> None:
    wrong = replace(definition(many, {"lpips": 0.1}))
    with pytest.raises(UsageError, match="does not measure 'lpips'"):
        plan(wrong, load_catalogue())


@pytest.mark.parametrize("text", ["psnr", "psnr=", "psnr=0", "psnr=-1", "psnr=x", "psnr=nan"])
def test_widths_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_until(text)


def test_widths_are_read() -> None:
    assert parse_until("psnr=0.1,lpips=1e-3") == {"psnr": 0.1, "lpips": 1e-3}
