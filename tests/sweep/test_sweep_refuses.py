"""What `idem sweep` cannot do is told, and costs no other run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


def test_a_value_that_works_nowhere_stops_the_sweep_before_its_first_run(sweep) -> None:
    result, _, store = sweep("quality=4,9", "seed=0")
    assert result.exit_code == 2
    assert "toy has no quality 9" in result.stderr
    assert not store.root.exists()


def test_a_value_that_one_codec_lacks_is_a_combination_left_out(idem, photos: Path, tmp_path: Path) -> None:
    words = ("codec=toy,jpeg", "quality=4,50", "solver=mse", "--json", "--metrics", "bpp")
    result = idem("sweep", "-m", *words, photos, "--store", tmp_path / "store")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["runs"], told["failed"], told["refused"]) == (0, 12, 0, 1)
    assert "left out: Codec toy has no quality 50" in result.stderr


def test_a_wrong_value_names_the_part_that_refuses_it(idem, photos: Path, tmp_path: Path) -> None:
    words = ("codec=toy", "generator=toy", "solver=cell,dps", "solver.steps=0,4", "--metrics", "bpp")
    result = idem("sweep", "-m", *words, photos, "--store", tmp_path / "store")
    assert result.exit_code == 2
    assert "solver cell: steps must be " in result.stderr


@pytest.mark.parametrize(
    ("axis", "told"),
    [
        ("seed=-1", "seed is -1"),
        ("seed=1.5", "seed is 1.5"),
        ("seed=true", "seed is True"),
        ("seed=x", "seed is 'x'"),
        ("quality=4,0", "no quality 0"),
        ("quality=4,many", "codec.quality"),
        ("solver.relaxation=1,x", "solver.relaxation"),
        ("codec=toy,nothing", "no codec named 'nothing'"),
    ],
)
def test_every_value_of_every_axis_is_checked_first(idem, photos: Path, tmp_path: Path, axis: str, told: str) -> None:
    words = ["codec=toy", "generator=toy", "solver=cell,mse", axis]
    words = words[1:] if axis.startswith("codec=") else words
    result = idem("sweep", "-m", *words, photos, "--store", tmp_path / "store")
    assert result.exit_code == 2, result.stderr
    assert told in result.stderr
    assert not (tmp_path / "store").exists()


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


def test_a_trade_off_that_nothing_draws_from_or_that_is_none_is_an_error(sweep, idem, photos: Path) -> None:
    assert "no effect" in idem("sweep", "-m", "codec=toy", "solver=mse", "tradeoff=0.5", photos).stderr
    assert "0 to 1" in sweep("solver=cell", "tradeoff=1.5")[0].stderr
