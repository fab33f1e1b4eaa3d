"""`idem sweep` with the toy codec: what it records, how it goes on after anything, and that nothing runs twice."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from PIL import Image

from idemcore.cli import main
from idemcore.errors import IdemError, MissingError
from idemcore.imageio import read_bytes
from idemcore.sweep.store import Store

SWEEP = ("sweep", "-m", "codec=toy", "generator=toy", "solver.steps=2")
QUICK = ("--metrics", "bpp,psnr,exact", "--json")
VARIES = ("seconds", "batch")
"""Keys of a row that differ from one time to the next."""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three images of 16x16 pixels and one of 16x24."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, height in enumerate((16, 16, 24, 16)):
        pixels = np.random.default_rng(number).integers(0, 256, (height, 16, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def sweep(idem, photos: Path, tmp_path: Path):
    """`sweep("seed=0..1", store="a", ...)`: exit code, the summary, and the store."""

    def call(*arguments: object, store: str = "store", images: Path = photos):
        result = idem(*SWEEP, images, "--store", tmp_path / store, *QUICK, *arguments)
        told = json.loads(result.stdout) if result.stdout else {}
        return result, told, Store(tmp_path / store)

    return call


def comparable(store: Store) -> dict[str, dict[str, object]]:
    """The rows by id, without what varies."""
    return {row["id"]: {key: value for key, value in row.items() if key not in VARIES} for row in store.rows()}


def lines(store: Store) -> list[str]:
    """The ids in the file, each time that they are there."""
    return [json.loads(line)["id"] for line in store.path("rows.jsonl").read_text().splitlines()]


def test_every_combination_has_a_row_with_images_that_are_there(sweep, photos: Path) -> None:
    result, told, store = sweep("quality=3,4", "solver=cell,mse", "seed=0..1")
    assert result.exit_code == 0
    none = dict.fromkeys(("earlier", "measured", "failed", "refused", "unreadable"), 0)
    assert told == {"store": str(store.root), "runs": 32, **none}
    rows = store.rows()
    assert len(rows) == len({row["id"] for row in rows}) == 32
    shown = {(r["codec"]["quality"], r["solver"]["name"], r["seed"], r["image"]["name"]) for r in rows}
    assert len(shown) == 32
    for row in rows:
        assert row["status"] == "ok"
        assert row["exact"] is True
        assert set(row["metrics"]) == {"bpp", "psnr", "exact"}
        images = {kind: read_bytes(store.path(name)) for kind, name in row["files"].items()}
        assert torch.equal(images["original"], read_bytes(photos / row["image"]["name"]))
        assert {tuple(image.shape[-2:]) for image in images.values()} == {
            (row["image"]["height"], row["image"]["width"])
        }
    of_kind = {kind: len({row["files"][kind] for row in rows}) for kind in ("original", "decoded", "reconstruction")}
    assert of_kind == {"original": 4, "decoded": 8, "reconstruction": 32}
    assert len(list(store.path("images").iterdir())) == 44


def test_a_row_is_what_idem_run_gives_by_its_command(sweep, idem, tmp_path: Path, monkeypatch) -> None:
    _, _, store = sweep("quality=3", "solver=cell", "seed=5")
    row = store.rows()[1]
    monkeypatch.chdir(store.root)
    words = shlex.split(row["command"])
    assert words[:2] == ["idem", "run"]
    result = idem(*words[1:], "--out", tmp_path / "runs", "--json")
    report = json.loads(result.stdout)
    assert (report["bpp"], report["bytes"]) == (row["metrics"]["bpp"], row["bytes"])
    mine, theirs = store.path(row["files"]["reconstruction"]), Path(report["folder"]) / "reconstruction.png"
    assert torch.equal(read_bytes(mine), read_bytes(theirs))
    assert torch.equal(read_bytes(store.path(row["files"]["decoded"])), read_bytes(theirs.with_name("decoded.png")))


def test_results_do_not_depend_on_batches_or_workers(sweep) -> None:
    stores = [
        sweep("seed=0..2", "--batch", batch, "--set", f"engine.workers={workers}", store=f"{batch}-{workers}")[2]
        for batch, workers in ((1, 1), (5, 1), (2, 2))
    ]
    first, *others = [comparable(store) for store in stores]
    assert len(first) == 12
    for other in others:
        assert other == first
    images = [sorted((p.name, p.read_bytes()) for p in store.path("images").iterdir()) for store in stores]
    assert images[0] == images[1] == images[2]


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
    failed = [row for row in store.rows() if row["status"] == "failed"]
    assert {row["error"] for row in failed} == {"This image is cursed. Bless it."}
    assert all(row["files"] == {} and row["metrics"] == {} for row in failed)

    result, told, _ = sweep("seed=0..1")
    assert (result.exit_code, told["earlier"], told["failed"]) == (5, 8, 2)
    result, told, _ = sweep("seed=0..1", "--retry-failed")
    assert (result.exit_code, told["earlier"], told["failed"]) == (0, 6, 0)
    assert comparable(store) == comparable(sweep("seed=0..1", store="unflawed")[2])


def first_original(sweep) -> str:
    """Of an image of 16x16."""
    rows = sweep("seed=0", store="other")[2].rows()
    return next(row["files"]["original"] for row in rows if row["image"]["name"] == "0.png")


def test_a_codec_without_that_quality_fails_its_runs_and_no_others(sweep) -> None:
    result, told, store = sweep("quality=4,9", "seed=0")
    assert (result.exit_code, told["failed"]) == (5, 4)
    assert {row["codec"]["quality"] for row in store.rows() if row["status"] == "failed"} == {9}
    assert "retry-failed" in result.stderr


def test_combinations_that_cannot_work_are_told_and_left_out(sweep) -> None:
    result, told, _ = sweep("generator=toy", "solver=mse", "seed=0", "--set", "codec.quality=4")
    assert result.exit_code == 2  # generator is there twice
    result, told, _ = sweep("codec.quality=4", "solver=mse,nothing")
    assert result.exit_code == 2
    assert "no solver named 'nothing'" in result.stderr


def test_an_image_that_cannot_be_read_is_told_and_the_others_run(sweep, photos: Path) -> None:
    (photos / "torn.png").write_bytes((photos / "0.png").read_bytes()[:60])
    result, told, store = sweep("seed=0")
    assert (result.exit_code, told["unreadable"], told["runs"]) == (5, 1, 4)
    assert "torn.png" in result.stderr
    assert len(store.rows()) == 4


def test_size_crops_to_the_middle_square_and_resizes(sweep) -> None:
    _, _, store = sweep("seed=0", "--size", 8, "--limit", 3)
    assert {(row["image"]["width"], row["image"]["height"]) for row in store.rows()} == {(8, 8)}
    assert len(store.rows()) == 3


def test_a_file_is_a_sweep_and_the_command_line_wins(idem, photos: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("two.yaml").write_text(
        "images: photos\nlimit: 1\nmetrics: [psnr]\nbase: {codec: toy, generator: toy, solver.steps: 2}\n"
        "axes: {solver: [cell, mse], seed: 0..3}\nexclude: [{solver: mse, seed: 1..3}]\n"
    )
    result = idem("sweep", "two.yaml", "seed=0..1", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["runs"] == 3
    rows = Store.open("runs/two").rows()
    assert [row["solver"]["name"] for row in rows].count("cell") == 2
    assert set(rows[0]["metrics"]) == {"psnr"}


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ((), 2, "needs images"),
        (("a.yaml", "b.yaml"), 2, "two sweeps"),
        (("-m", "codec=toy", "nowhere.png"), 2, "nowhere.png"),
        (("-m", "codec=toy", "--metrics", "psnrr", "photos"), 2, "psnr"),
        (("-m", "codec=toy", "--engine", "cloud", "photos"), 2, "no engine named 'cloud'"),
        (("-m", "codec=toy", "--set", "engine.workers=0", "photos"), 2, "at least 1"),
        (("-m", "codec=toy", "--export", "rows.xls", "photos"), 2, ".csv"),
        (("--store", "nowhere", "--export", "rows.csv"), 2, "not the store"),
    ],
)
def test_what_cannot_be_right_is_told_before_anything_runs(
    idem, photos: Path, tmp_path: Path, monkeypatch, arguments, code: int, told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = idem("sweep", *arguments)
    assert result.exit_code == code
    assert told in result.stderr
    assert not Path("runs").exists()


def test_a_trade_off_is_an_axis_between_the_plain_decode_and_the_solvers_image(
    sweep, idem, tmp_path, monkeypatch
) -> None:
    _, _, store = sweep("quality=3", "solver=cell,mse", "tradeoff=0,0.5,1", "--limit", 1)
    rows = {(row["solver"]["name"], row["tradeoff"]): row for row in store.rows()}
    assert set(rows) == {("mse", 1), ("cell", 0), ("cell", 0.5), ("cell", 1)}
    least, half, most = (
        read_bytes(store.path(rows["cell", a]["files"]["reconstruction"])).float() for a in (0, 0.5, 1)
    )
    assert (half - (least + most) / 2).abs().mean() < 2
    assert (most - least).abs().mean() > 4
    monkeypatch.chdir(store.root)
    row = rows["cell", 0.5]
    report = json.loads(idem(*shlex.split(row["command"])[1:], "--out", tmp_path / "runs", "--json").stdout)
    again = read_bytes(Path(report["folder"]) / "reconstruction.png")
    assert torch.equal(again, read_bytes(store.path(row["files"]["reconstruction"])))


def test_a_trade_off_that_nothing_draws_from_or_that_is_none_is_an_error(sweep, idem, photos: Path) -> None:
    assert "no effect" in idem("sweep", "-m", "codec=toy", "solver=mse", "tradeoff=0.5", photos).stderr
    assert "0 to 1" in sweep("solver=cell", "tradeoff=1.5")[0].stderr


def test_rows_tell_how_symbols_fill_their_intervals(sweep) -> None:
    _, _, store = sweep("quality=3", "solver=cell,mse", "--limit", 1)
    drawn, plain = (row["positions"] for row in sorted(store.rows(), key=lambda row: row["solver"]["name"]))
    assert sum(plain["counts"]) == sum(plain["original"]) == sum(drawn["counts"]) == 3 * 16 * 16
    middle = slice(len(plain["counts"]) // 2 - 2, len(plain["counts"]) // 2 + 2)
    assert sum(plain["counts"][middle]) > 0.9 * sum(plain["counts"]) > sum(drawn["counts"][middle])
    assert drawn["outside"] == 0


def test_metrics_are_added_to_rows_from_their_pictures(sweep, photos: Path) -> None:
    _, _, store = sweep("quality=3", "solver=cell,mse", "seed=0..1")
    before = comparable(store)
    more = ("--metrics", "bpp,psnr,exact,occupancy,recompression-psnr,nfe,peak-memory")
    _, told, _ = sweep("quality=3", "solver=cell,mse", "seed=0..1", *more)
    assert (told["earlier"], told["measured"]) == (16, 16)
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
        assert set(store.rows()[0]["missing_metrics"]) == {"psnr"}
        assert sweep("quality=3", "--limit", 1, "--retry-failed")[1]["measured"] == 0
    assert sweep("quality=3", "--limit", 1)[1]["measured"] == 0
    assert sweep("quality=3", "--limit", 1, "--retry-failed")[1]["measured"] == 1
    assert store.rows()[0]["metrics"]["psnr"] > 10
    assert store.rows()[0]["missing_metrics"] == {}
    assert len(lines(store)) == 2


def test_images_of_a_zip_file_are_cropped_as_those_of_its_folder(sweep, photos: Path, tmp_path: Path) -> None:
    with ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in photos.iterdir():
            archive.write(path, f"inside/{path.name}")
    _, _, zipped = sweep("quality=3", "--crop", 8, images=tmp_path / "photos.zip")
    _, _, plain = sweep("quality=3", "--crop", 8, store="plain")
    assert {row["id"] for row in zipped.rows()} == {row["id"] for row in plain.rows()}
    assert {row["image"]["name"] for row in zipped.rows()} == {f"inside/{k}.png" for k in range(4)}
    tall = read_bytes(plain.path(next(r for r in plain.rows() if r["image"]["name"] == "2.png")["files"]["original"]))
    assert torch.equal(tall, read_bytes(photos / "2.png")[..., 8:16, 4:12])
    assert "exclude each other" in sweep("quality=3", "--crop", 8, "--size", 8)[0].stderr
    assert "smaller than the crop" in sweep("quality=3", "--crop", 20, store="none")[0].stderr


def test_exports_have_a_line_a_run(sweep, idem, tmp_path: Path) -> None:
    _, _, store = sweep("quality=3", "solver=cell,mse", "--export", tmp_path / "rows.csv")
    header, *body = (tmp_path / "rows.csv").read_text().splitlines()
    assert len(body) == 8
    assert {"codec.quality", "generator.name", "metrics.psnr", "image.name"} <= set(header.split(","))
    assert "generator" not in header.split(",")
    assert idem("sweep", "--store", store.root, "--export", tmp_path / "rows.jsonl").exit_code == 0
    exported = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["metrics.psnr"] for row in exported] == [row["metrics"]["psnr"] for row in store.rows()]


def test_parquet_has_the_same_columns(sweep, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    _, _, store = sweep("quality=3", "solver=cell,mse", "--export", tmp_path / "rows.parquet")
    table = parquet.read_table(tmp_path / "rows.parquet").to_pydict()
    assert table["metrics.psnr"] == [row["metrics"]["psnr"] for row in store.rows()]
    assert set(table["generator.name"]) == {"toy", None}


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
    assert (told["runs"], told["earlier"]) == (160, seen[-1])
    assert comparable(store) == whole
    assert len(lines(store)) == len(set(lines(store))) == 160
    names = {name for row in store.rows() for name in row["files"].values()}
    assert all(read_bytes(store.path(name)).numel() for name in names)


def lines_so_far(store: Store) -> list[str]:
    path = store.path("rows.jsonl")
    return path.read_text().splitlines() if path.exists() else []


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
    assert "the same command goes on from there" in told
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
