"""`idem sweep` after anything: nothing is lost, and nothing runs twice."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from sweeping import QUICK, SWEEP, comparable, lines, lines_so_far

from idemcore.cli import main
from idemcore.errors import IdemError, MissingError
from idemcore.io.images import read_bytes
from idemcore.results.rows import RunFiles
from idemcore.sweeps.store import Store


def test_another_value_on_an_axis_runs_the_new_runs_alone(sweep) -> None:
    sweep("quality=3", "seed=0..1")
    result, told, store = sweep("quality=3,5", "seed=0..1")
    assert (told["runs"], told["earlier"]) == (16, 8)
    assert "8 of 16 runs are in" in result.stderr
    assert len(lines(store)) == len(set(lines(store))) == 16
    assert comparable(store) == comparable(sweep("quality=3,5", "seed=0..1", store="at-once")[2])
    assert len(store.meta()["sweeps"]) == 2


def test_a_failed_run_is_a_row_and_is_retried_when_asked(sweep, monkeypatch) -> None:
    from idemcore_toy.encoder import ToyEncoder

    encode = ToyEncoder.encode

    def flawed(self, image):
        if image.shape[-2] == 16 and image[0, 0, 0, 0] == flaw:
            raise IdemError("This image is cursed.", "Bless it.")
        return encode(self, image)

    flaw = read_bytes(Path(sweep("seed=0", store="other")[2].path(first_original(sweep)))).float()[0, 0, 0, 0] / 255
    with monkeypatch.context() as patch:
        patch.setattr(ToyEncoder, "encode", flawed)
        result, told, store = sweep("seed=0..1")
    assert result.exit_code == 5
    assert (told["runs"], told["failed"]) == (8, 2)
    assert "2 of 8 runs failed: This image is cursed. Bless it (2 runs); " in result.stderr
    assert "rows.jsonl has each; --retry-failed runs them again" in result.stderr
    failed = [row for row in store.rows() if row.status == "failed"]
    assert {row.error for row in failed} == {"This image is cursed. Bless it."}
    assert all(row.files == RunFiles() and row.metrics == {} for row in failed)

    result, told, _ = sweep("seed=0..1")
    assert (result.exit_code, told["earlier"], told["failed"]) == (5, 8, 2)
    result, told, _ = sweep("seed=0..1", "--retry-failed")
    assert (result.exit_code, told["earlier"], told["failed"]) == (0, 6, 0)
    assert comparable(store) == comparable(sweep("seed=0..1", store="unflawed")[2])


def first_original(sweep) -> str:
    """Of an image of 16x16."""
    rows = sweep("seed=0", store="other")[2].rows()
    return next(row.files.original for row in rows if row.image.name == "0.png")


def test_a_run_whose_picture_is_lost_is_repeated_when_asked(sweep) -> None:
    store = sweep("seed=0")[2]
    before, lost = comparable(store), store.path(str(store.rows()[0].files.reconstruction))
    lost.unlink()
    assert sweep("seed=0")[1]["earlier"] == 4
    assert sweep("seed=0", "--retry-failed")[1]["earlier"] == 3
    assert (lost.is_file(), comparable(store)) == (True, before)


def test_an_image_for_which_memory_ran_out_is_a_row(sweep, monkeypatch) -> None:
    from idemcore_toy.generator import ToyGenerator

    denoise = ToyGenerator.denoise

    def in_small_memory(self, x, sigma):
        if x.shape[-2] > 16:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return denoise(self, x, sigma)

    monkeypatch.setattr(ToyGenerator, "denoise", in_small_memory)
    result, told, store = sweep("seed=0")
    assert (result.exit_code, told["runs"], told["failed"]) == (5, 4, 1)
    (error,) = (row.error for row in store.rows() if row.status == "failed")
    assert error.startswith("Out of memory")
    assert "--batch" in error


def test_metrics_are_added_to_rows_from_their_pictures(sweep, photos: Path) -> None:
    _, _, store = sweep("quality=3", "solver=cell,mse", "seed=0..1")
    before = comparable(store)
    more = ("--metrics", "bpp,psnr,exact,occupancy,recompression-psnr,nfe,peak-memory")
    _, told, _ = sweep("quality=3", "solver=cell,mse", "seed=0..1", *more)
    assert (told["earlier"], told["measured"]) == (12, 12)
    _, _, fresh = sweep("quality=3", "solver=cell,mse", "seed=0..1", *more, store="fresh")
    expected = comparable(fresh)
    for name, row in comparable(store).items():
        undefined = {"peak-memory": None}
        assert row["metrics"] == {**expected[name]["metrics"], **undefined}
        assert row["decoded_metrics"] == expected[name]["decoded_metrics"]
        assert {k: v for k, v in row.items() if "metrics" not in k} == {
            k: v for k, v in before[name].items() if "metrics" not in k
        }
    assert sweep("quality=3", "solver=cell,mse", "seed=0..1", *more)[1]["measured"] == 0


def test_a_metric_that_was_missing_is_tried_again_when_asked(sweep, tmp_path: Path, monkeypatch) -> None:
    from idemcore.metrics.fidelity import Psnr

    def lacking(self, config: object, runtime: object) -> None:
        raise MissingError("No weights.", "Bring them.")

    with monkeypatch.context() as patch:
        patch.setattr(Psnr, "__init__", lacking)
        _, _, store = sweep("quality=3", "--limit", 1)
        assert set(store.rows()[0].missing_metrics) == {"psnr"}
        assert sweep("quality=3", "--limit", 1, "--retry-failed")[1]["measured"] == 0
    assert sweep("quality=3", "--limit", 1)[1]["measured"] == 0
    assert sweep("quality=3", "--limit", 1, "--retry-failed")[1]["measured"] == 1
    assert store.rows()[0].metrics["psnr"] > 10
    assert store.rows()[0].missing_metrics == {}
    assert len(lines(store)) == 2


def in_a_process(arguments: list[str]) -> multiprocessing.Process:
    """The command line in a fork of this process, which has loaded everything: killed, it is as dead as any other."""

    def run() -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        main(arguments, prog_name="idem")

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    return process


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_sweep_killed_again_and_again_ends_as_one_that_was_not(sweep, photos: Path, tmp_path: Path, workers) -> None:
    axes = ("quality=2..5", "solver=cell,mse", "seed=0..4", "--batch", "2")
    whole = comparable(sweep(*axes, store="whole")[2])
    store, rng, seen = Store(tmp_path / "killed"), random.Random(workers), []
    arguments = [*SWEEP, *axes, photos, "--store", store.root, *QUICK, "--set", f"engine.workers={workers}"]
    for _ in range(20 if workers == 1 else 5):
        process = in_a_process([str(argument) for argument in arguments])
        target = len(lines_so_far(store)) + rng.randrange(8)
        while process.is_alive() and len(lines_so_far(store)) <= target:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.02))
        process.kill()
        process.join()
        seen.append(len(store.rows()))
    assert sum(a < b for a, b in zip(seen, seen[1:], strict=False)) >= 1
    result, told, _ = sweep(*axes, store="killed")
    assert result.exit_code == 0
    assert (told["runs"], told["earlier"]) == (96, seen[-1])
    assert comparable(store) == whole
    assert len(lines(store)) == len(set(lines(store))) == 96
    names = {name for row in store.rows() for name in row.files.to_json().values()}
    assert all(read_bytes(store.path(name)).numel() for name in names)


def test_ctrl_c_keeps_what_is_done(photos: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    process = in_a_process([*map(str, (*SWEEP, "seed=0..199", photos, "--store", store.root, *QUICK, "--batch", 1))])
    interrupted_after(5, store, process.pid, process.is_alive)
    process.join()
    assert process.exitcode == 130
    assert 5 <= len(store.rows()) < 800


@pytest.mark.slow
def test_ctrl_c_leaves_no_worker(photos: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    words = [*SWEEP, "seed=0..199", photos, "--store", store.root, *QUICK, "--batch", 1, "--set", "engine.workers=2"]
    command = [sys.executable, "-m", "idemcore.cli", *map(str, words)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    interrupted_after(5, store, -process.pid, lambda: process.poll() is None)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command resumes from there" in told
    assert "Traceback" not in told
    deadline = time.monotonic() + 10  # multiprocessing's own helper ends a moment after its parent
    while is_there(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_there(process.pid)


def is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def interrupted_after(rows: int, store: Store, pid: int, alive: Callable[[], bool]) -> None:
    """SIGINT to a process, or to a group (-pid), once the store has that many rows."""
    while alive() and len(lines_so_far(store)) < rows:
        time.sleep(0.005)
    os.kill(pid, signal.SIGINT)
