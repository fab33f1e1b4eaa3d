"""What the command line of a sweep says before it runs: forecasts, presets, grids by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from idemcore.cli.forecast import in_words
from idemcore.errors import UsageError
from idemcore.plugins.catalogue import load_catalogue
from idemcore.sweeps.combinations import resolve_all, trial
from idemcore.sweeps.grid import parse_definition
from idemcore.sweeps.presets import preset, presets

TWO = {"axes": [{"name": "drawn", "axes": {"solver": "cell"}}, {"axes": {"solver": "mse", "solver.steps": 3}}]}


def test_a_dry_run_says_runs_hours_and_disk_and_writes_nothing(sweep) -> None:
    result, told, store = sweep("quality=3,4", "seed=0..1", "--dry-run")
    assert (result.exit_code, told["runs"], told["earlier"]) == (0, 16, 0)
    assert told["seconds"] > 0
    assert told["bytes"] > 0
    assert told["paces"][0]["passes_second"] > 0
    assert not store.root.exists()


def test_a_dry_run_is_read_by_people(idem, photos: Path, tmp_path: Path) -> None:
    words = ("sweep", "-m", "codec=toy", "generator=toy", "solver.steps=2", photos, "--metrics", "psnr", "--dry-run")
    result = idem(*words, "--store", tmp_path / "store", "--set", "engine.workers=2", "--until", "psnr=0.5")
    assert "passes a second" in result.stdout
    assert "at most 4, 0 of them in the store already" in result.stdout
    assert "2: " in result.stdout
    assert "seconds by one worker" in result.stdout
    assert "nothing was run" in result.stderr


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.31, "0.31 seconds"), (45, "45 seconds"), (300, "5 minutes"), (5000, "83 minutes"), (9000, "2.5 hours"),
     (3.6e6, "1,000 hours")],
)  # fmt: skip
def test_times_are_in_a_unit_that_suits_them(seconds: float, text: str) -> None:
    assert in_words(seconds) == text


def test_what_draws_nothing_runs_once_whatever_the_seeds(sweep) -> None:
    _, told, store = sweep("solver=cell,mse", "seed=1..3")
    assert told["new"] == told["runs"] == len(store.rows()) == 4 * 3 + 4
    assert {row.seed for row in store.rows() if row.solver["name"] == "mse"} == {1}
    again = sweep("solver=cell,mse", "seed=1..4")[1]
    assert (again["runs"], again["new"]) == (20, 4)


def test_people_read_counts_without_zeros(idem, photos: Path, tmp_path: Path) -> None:
    words = ("sweep", "codec=toy", "solver=mse", photos, "--metrics", "psnr", "--store", tmp_path / "store")
    first, again = idem(*words).stdout, idem(*words).stdout
    assert [line.split(":")[0].strip() for line in first.splitlines()] == ["store", "runs", "new", "failed"]
    assert "in the store already: 4" in again


def test_runs_that_are_not_needed_are_counted(sweep) -> None:
    _, told, store = sweep("seed=0", "--until", "psnr=1000")
    assert (told["runs"], told["spared"]) == (4, 0)  # a round has eight images, here are four
    assert len(store.rows()) == 4
    result, _, _ = sweep("seed=0", "--until", "lpips=1000", store="other")
    assert "does not measure 'lpips'" in result.stderr


def test_a_grid_is_changed_by_its_name_or_number() -> None:
    definition = parse_definition(TWO)
    by_name = definition.with_axes({"drawn:solver.steps": (4, 8), "quality": (5,)}, {})
    assert by_name.points() == [
        {"solver": "cell", "solver.steps": 4, "quality": 5},
        {"solver": "cell", "solver.steps": 8, "quality": 5},
        {"solver": "mse", "solver.steps": 3, "quality": 5},
    ]
    by_number = definition.with_axes({"2:solver.steps": (7,)}, {})
    assert by_number.points()[1] == {"solver": "mse", "solver.steps": 7}
    assert by_number.points()[0] == {"solver": "cell"}
    with pytest.raises(UsageError, match=r"no grid 'plain'. Its grids are: drawn, 2"):
        definition.with_axes({"plain:quality": (1,)}, {})


def test_the_command_line_changes_one_grid(idem, photos: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("two.yaml").write_text(json.dumps({"base": {"codec": "toy", "generator": "toy"}, "images": "photos", **TWO}))
    words = ("sweep", "two.yaml", "drawn:solver.steps=2", "--metrics", "psnr", "--limit", 1, "--dry-run", "--json")
    assert json.loads(idem(*words).stdout)["runs"] == 2
    assert "no grid 'drwn'" in idem("sweep", "two.yaml", "drwn:solver.steps=2", "--limit", 1).stderr


def test_every_preset_is_a_sweep_whose_values_are_right() -> None:
    assert set(presets()) >= {"steps", "solvers", "jpeg-rates", "elic-rates", "tradeoff"}
    for name, definition in presets().items():
        points = definition.points()
        found, refused = resolve_all(load_catalogue(), points, attempt=trial())
        assert (len(found), refused) == (len(points), []), name
        assert definition.title, name


def test_presets_are_listed_and_take_images_and_changes(idem, photos: Path, tmp_path: Path) -> None:
    assert "steps" in idem("sweep", "--preset", "list").stdout
    assert {one["name"] for one in json.loads(idem("sweep", "--preset", "list", "--json").stdout)} == set(presets())
    told = idem("sweep", "--preset", "step", photos)
    assert (told.exit_code, "Did you mean 'steps'" in told.stderr) == (2, True)
    assert "needs images" in idem("sweep", "--preset", "steps").stderr
    assert "two sweeps" in idem("sweep", "--preset", "steps", "a.yaml", photos).stderr
    assert preset("steps").with_axes({"cell:solver.steps": (4,)}, {}).points()[-1]["solver.steps"] == 4
