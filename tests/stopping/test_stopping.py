"""A signal in any stage of any command: exit 130, one line, earlier results as they were, nothing half-written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TOLD = "interrupted; nothing was left half-written."
TOY = ("--codec", "toy", "--generator", "toy")
SWEEP = ("sweep", "-m", "codec=toy", "generator=toy", "solver.steps=2", "seed=0..1")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_whole(folder: Path) -> None:
    """Every file can be read as what its name says, and none is a temporary one."""
    for path in folder.rglob("*"):
        assert not path.name.startswith(".idem-"), path
        assert not path.name.endswith((".partial", ".former")), path
        if path.suffix == ".png":
            Image.open(path).load()
        elif path.suffix == ".json":
            json.loads(path.read_bytes())


@pytest.fixture
def stream(idem, photo, tmp_path) -> Path:
    path = tmp_path / "photo.idem"
    assert idem("encode", photo, "-o", path, "--codec", "toy").exit_code == 0
    return path


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def check(stopped, folder: Path) -> None:
    assert stopped.reached, stopped
    assert (stopped.code, stopped.stderr.strip().splitlines()[-1]) == (130, TOLD), stopped
    assert_whole(folder)


RUN_STAGES = [
    ("idemcore.pipeline.run_image:read_image", 1), ("idemcore_toy.encoder:ToyEncoder.encode", 1),
    ("idemcore.pipeline.decoder:certify", 1),
    ("idemcore.pipeline.run_image:certificate", 1), ("idemcore.pipeline.run_image:compare", 1), ("os:replace", 1),
    ("os:replace", 4),
]  # fmt: skip


@pytest.mark.parametrize(("place", "number"), RUN_STAGES)
def test_run_stopped_in_any_stage_keeps_the_earlier_result(idem, stop, photo, tmp_path, place, number) -> None:
    out = tmp_path / "out"
    assert idem("run", photo, *TOY, "--out", out).exit_code == 0
    before = contents(out)
    signal = "SIGTERM" if number % 2 else "SIGINT"
    check(stop("run", photo, *TOY, "--seed", 1, "--out", out, place=place, number=number, signal=signal), out)
    assert contents(out) == before


def test_run_stopped_between_two_renames_ends_with_the_whole_new_result(idem, stop, photo, tmp_path) -> None:
    out = tmp_path / "out"
    assert idem("run", photo, *TOY, "--out", out).exit_code == 0
    renames = 1 + len(contents(out))  # of each file, then of the folder that gives way
    check(stop("run", photo, *TOY, "--seed", 1, "--out", out, place="os:replace", number=renames), out)
    assert json.loads((out / "photo" / "report.json").read_bytes())["seed"] == 1


@pytest.mark.parametrize("signal", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("place", ["idemcore_toy.encoder:ToyEncoder.encode", "os:replace"])
def test_encode_stopped_writes_nothing(stop, photo, tmp_path, place, signal) -> None:
    before = contents(tmp_path)
    check(stop("encode", photo, "-o", tmp_path / "x.idem", "--codec", "toy", place=place, signal=signal), tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "place",
    [
        "idemcore_toy.encoder:ToyEncoder.cell",
        "idemcore.pipeline.decoder:certify",
        "idemcore.pipeline.decode_file:json_bytes",
    ],
)
def test_decode_stopped_writes_nothing(stop, stream, tmp_path, place) -> None:
    before = contents(tmp_path)
    check(stop("decode", stream, "-o", tmp_path / "x.png", "--generator", "toy", place=place), tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("number", [1, 2])
def test_decode_stopped_while_it_renames_leaves_all_files(stop, stream, tmp_path, number) -> None:
    before = contents(tmp_path)
    arguments = ("decode", stream, "-o", tmp_path / "x.png", "--generator", "toy")
    check(stop(*arguments, place="os:replace", number=number), tmp_path)
    assert contents(tmp_path).keys() - before.keys() == {"x.png", "x.certificate.json"}


@pytest.mark.parametrize(
    ("place", "number"),
    [("idemcore.pipeline.decoder:certify", 1), ("idemcore.sweeps.store:Store.append", 2), ("os:replace", 3)],
)
def test_a_sweep_stopped_in_any_stage_goes_on_where_it_was(idem, stop, photos, tmp_path, place, number) -> None:
    store, whole = tmp_path / "store", tmp_path / "whole"
    stopped = stop(*SWEEP, photos, "--store", store, "--batch", 1, place=place, number=number, signal="SIGTERM")
    check(stopped, store)
    assert idem(*SWEEP, photos, "--store", store).exit_code == 0
    assert idem(*SWEEP, photos, "--store", whole).exit_code == 0
    assert contents(store / "images") == contents(whole / "images")


@pytest.mark.slow
def test_a_sweep_of_several_processes_leaves_none_behind(stop, photos, tmp_path) -> None:
    store = tmp_path / "store"
    stopped = stop(*SWEEP, photos, "--store", store, "--batch", 1, "--set", "engine.workers=2",
                   place="idemcore.sweeps.store:Store.append", signal="SIGTERM")  # fmt: skip
    check(stopped, store)
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert str(store) not in listed


@pytest.mark.parametrize(("place", "number"), [("idemcore.evaluation.evaluation:measure", 1), ("os:replace", 1)])
def test_eval_stopped_writes_nothing(stop, photos, tmp_path, place, number) -> None:
    out = tmp_path / "results"
    arguments = ("eval", photos, *TOY, "--metrics", "psnr", "--out", out)
    check(stop(*arguments, place=place, number=number), tmp_path)
    assert contents(tmp_path).keys() == {"photos/0.png", "photos/1.png"}


@pytest.mark.parametrize(
    ("place", "number"), [("idemcore_toy.generator:ToyGenerator.denoise", 2), ("os:replace", 1), ("os:replace", 3)]
)
def test_sample_stopped_leaves_the_earlier_images(idem, stop, tmp_path, place, number) -> None:
    out, grid = tmp_path / "images", tmp_path / "grid.png"
    small = ("--generator", "toy", "-n", 2, "--size", "16x16", "--steps", 2)
    arguments = ("sample", *small, "--separate", out, "-o", grid)
    assert idem(*arguments).exit_code == 0
    before = contents(tmp_path)
    check(stop(*arguments, "--seed", 1, place=place, number=number), tmp_path)
    assert {path: data for path, data in contents(tmp_path).items() if path.startswith("images")} == {
        path: data for path, data in before.items() if path.startswith("images")
    }


def test_bench_stopped_leaves_no_process(stop, photo) -> None:
    stopped = stop(
        "bench", photo, *TOY, "--solver", "mse", "--size", 16, place="idemcore.evaluation.bench:measure_alone"
    )
    assert stopped.reached
    assert (stopped.code, stopped.stderr.strip().splitlines()[-1]) == (130, TOLD)
    assert stopped.stdout == ""


@pytest.mark.parametrize(("place", "number"), [("idemcore.report.site:page_data", 1), ("os:replace", 2)])
def test_report_stopped_can_be_written_again(idem, stop, photos, tmp_path, place, number) -> None:
    store, out = tmp_path / "store", tmp_path / "report"
    assert idem(*SWEEP, photos, "--store", store).exit_code == 0
    check(stop("report", store, "-o", out, place=place, number=number), out)
    assert not (out / "index.html").exists()
    assert idem("report", store, "-o", out).exit_code == 0
    assert (out / "index.html").is_file()


def test_training_stopped_saves_and_goes_on(idem, stop, photos, tmp_path) -> None:
    out = tmp_path / "prior"
    tiny = [f"train.{setting}" for setting in ("crops=[16]", "channels=[8,8]", "blocks=1", "pixels=1024")]
    arguments = ["train", "ddpm", photos, "--out", out, "--minutes", 60, "--device", "cpu"]
    arguments += [word for setting in tiny for word in ("--set", setting)]
    place = "idemcore_ddpm.train_photo:PhotoTraining.update"
    check(stop(*arguments, place=place, number=3, signal="SIGTERM"), out)
    assert {"checkpoint.pt", "weights.safetensors"} <= contents(out).keys()
    check(stop(*arguments, place=place, number=2), out)


@pytest.mark.parametrize(
    "place", ["idemcore.weights.checkpoints:torch.load", "idemcore.weights.checkpoints:save_file", "os:replace"]
)
@pytest.mark.usefixtures("demo")
def test_an_import_of_weights_stopped_stores_nothing(stop, published, in_cache, tmp_path, place) -> None:
    stopped = stop("models", "import", "demo", published, place=place, registry=tmp_path / "registry")
    check(stopped, tmp_path)
    assert in_cache() == []


def test_a_command_stopped_while_it_opens_its_input(tmp_path) -> None:
    """A process of its own, from its start on: a pipe that nobody has opened for writing tells where it is."""
    pipe, out = tmp_path / "photo.png", tmp_path / "x.idem"
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "idemcore.cli", "encode", pipe, "-o", out, "--codec", "toy"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with open(pipe, "wb"):  # opens once it is opened for reading
        process.terminate()
        told = process.communicate()[1]
    assert (process.returncode, told.strip()) == (130, TOLD)
    assert list(tmp_path.iterdir()) == [pipe]
