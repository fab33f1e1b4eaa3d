"""What a sweep will take: from rows that are there, else from a run on a crop; nothing is written."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from idemcore.metrics import choose_metrics
from idemcore.pipeline.identity import Computed
from idemcore.plugins.catalogue import load_catalogue
from idemcore.sweeps.forecast import forecast, middle
from idemcore.sweeps.grid import Definition, Grid
from idemcore.sweeps.images import open_pictures
from idemcore.sweeps.run import plan, remaining
from idemcore.sweeps.store import Store
from idemcore.sweeps.worker import Worker

WORK = partial(Worker, "cpu", "fp32", choose_metrics(load_catalogue(), ["psnr"]))


def asked(photos: Path, **axes: tuple[object, ...]) -> Definition:
    base = {"codec": "toy", "generator": "toy", "solver.steps": 2}
    return Definition((Grid(axes, base),), (str(photos),), metrics=("psnr",))


def test_a_run_on_a_crop_says_passes_time_and_disk_and_leaves_no_trace(photos: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    planned = plan(asked(photos, solver=("cell", "mse"), quality=(3, 4), seed=(0, 1)), load_catalogue())
    told = forecast(store, planned, remaining(store, planned), WORK, workers=2)
    assert (told.runs, told.earlier, told.workers, told.left_out) == (24, 0, 2, ())
    paces = {pace.name: pace for pace in told.paces}
    assert {name: pace.runs for name, pace in paces.items()} == {"toy + toy + cell": 16, "toy + mse": 8}
    cell = paces["toy + toy + cell"]
    assert cell.passes == 2
    assert cell.passes_second is not None
    assert cell.source == "16x16 pixels of 0.png"
    assert told.seconds == pytest.approx(sum(pace.seconds or 0 for pace in told.paces))
    assert told.bytes > 0
    assert not store.root.exists()


def test_runs_in_the_store_are_what_others_are_measured_by(sweep, photos: Path) -> None:
    _, _, store = sweep("seed=0", "--set", "codec.quality=4")
    computed = Computed.by("auto", "auto")
    planned = plan(asked(photos, solver=("cell",), quality=(4, 5), seed=(0, 1)), load_catalogue(), computed)

    def no_worker() -> Worker:
        raise AssertionError("the store holds runs of this kind")

    told = forecast(store, planned, remaining(store, planned), no_worker)
    (pace,) = told.paces
    assert (told.runs, told.earlier, pace.runs) == (16, 4, 12)
    assert pace.source == "4 runs in the store"
    assert pace.passes == 2


def test_what_fails_on_the_crop_is_said(photos: Path, tmp_path: Path, monkeypatch) -> None:
    store = Store(tmp_path / "store")
    planned = plan(asked(photos, solver=("cell",), seed=(0,)), load_catalogue())
    monkeypatch.setattr(Worker, "_draw", lambda *given: 1 / 0)
    told = forecast(store, planned, remaining(store, planned), WORK)
    assert "not measured: " in told.paces[0].source
    assert (told.seconds, told.paces[0].seconds) == (0, None)


def test_crops_are_from_the_middle(photos: Path) -> None:
    (picture, *_), _ = open_pictures([str(photos)])
    pixels = picture.pixels()
    assert (middle(pixels, 4) == pixels[6:10, 6:10]).all()
    assert middle(pixels, 100).shape == pixels.shape
