"""A disk that is full and a folder that cannot be written to: one line, the exit code, nothing half-written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TOY = ("--codec", "toy", "--generator", "toy")
SWEEP = ("sweep", "-m", "codec=toy", "generator=toy", "solver=mse", "seed=0")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with a picture whose results need some room."""
    folder = tmp_path / "photos"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    return folder


def commands(photos: Path, out: Path) -> dict[str, tuple[object, ...]]:
    """Each writes something under `out`."""
    return {
        "encode": ("encode", photos / "a.png", "-o", out / "x.idem", "--codec", "toy"),
        "run": ("run", photos / "a.png", *TOY, "--solver", "mse", "--out", out / "runs"),
        "sweep": (*SWEEP, photos, "--store", out / "store"),
        "eval": ("eval", photos, *TOY, "--solver", "mse", "--metrics", "psnr", "--out", out / "results"),
        "train": ("train", "ddpm", photos, "--out", out / "prior", "--minutes", 0.02, "--device", "cpu",
                  "--set", "train.crops=[16]", "--set", "train.channels=[8,8]", "--set", "train.blocks=1"),
    }  # fmt: skip


COMMANDS = ("encode", "run", "sweep", "eval", "train")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_without_permission_is_told_in_one_line(stop, photos, command) -> None:
    out = photos.parent / "out"
    out.mkdir(mode=0o555)
    told = stop(*commands(photos, out)[command], powerless=os.geteuid() == 0)  # root may write anywhere
    line = told.stderr.strip().splitlines()[-1]
    assert (told.code, line[:7], "ermission denied" in line) == (2, "error: ", True), told
    assert "Traceback" not in told.stderr
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_disk_that_is_full_is_told_in_one_line_and_nothing_is_half_written(stop, photos, command) -> None:
    """No file may grow beyond 700 bytes: larger ones fail in the middle, as they do on a full disk."""
    out = photos.parent / "out"
    out.mkdir()
    told = stop(*commands(photos, out)[command], largest_file=700)
    line = told.stderr.strip().splitlines()[-1]
    assert told.code in (1, 5), told
    assert "Traceback" not in told.stderr
    assert "File too large" in line or told.code == 5, told
    for path in out.rglob("*"):
        assert not path.name.endswith((".tmp", ".partial", ".former")), path
        if path.suffix == ".png":
            Image.open(path).load()


@pytest.mark.parametrize(
    "arguments", [("plugins", "list"), ("codecs", "list", "--json"), ("models", "list"), ("--help",)]
)
def test_a_full_disk_behind_stdout_is_told_once(stop, arguments) -> None:
    told = stop(*arguments, stdout="/dev/full")
    assert (told.code, told.stderr.count("\n")) == (1, 1), told
    assert "no space left to write standard output" in told.stderr


def test_a_reader_that_leaves_is_no_error_worth_a_word() -> None:
    """`idem models list --json | true`, with a reader that is gone before the first byte."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "idemcore.cli", "models", "list"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
