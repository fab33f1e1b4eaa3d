"""`idem store`: what stores hold, and how they are pruned, merged and filtered without losing a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from sweeping import comparable, lines

from idemcore.errors import IntegrityError, UsageError
from idemcore.sweeps.store import Store
from idemcore.sweeps.upkeep import condition, copy_runs, holding, prune


@pytest.fixture
def filled(sweep) -> Store:
    """Eight runs of four photos: `cell` and `mse`, quality 4."""
    return sweep("solver=cell,mse", "seed=0", "--set", "codec.quality=4")[2]


def test_list_tells_what_each_store_holds(filled: Store, idem) -> None:
    result = idem("store", "list", filled.root.parent, "--json")
    (told,) = json.loads(result.stdout)
    assert (told["runs"], told["failed"], told["configurations"], told["images"]) == (8, 0, 2, 4)
    assert told["bytes"] > 0
    assert told["is_written"] is False
    with filled.held():
        assert holding(filled).is_written


def test_list_of_a_folder_without_stores_says_so(idem, tmp_path: Path) -> None:
    result = idem("store", "list", tmp_path)
    assert result.exit_code == 2
    assert "no store" in result.stderr


def test_prune_says_first_and_deletes_only_what_nothing_needs(filled: Store, idem) -> None:
    before = comparable(filled)
    row = filled.rows()[0]
    filled.append(row)  # replaces its line
    filled.write_image("stray", b"x" * 100)
    own = filled.path("images/notes.txt")
    own.write_text("mine")
    told = json.loads(idem("store", "prune", filled.root, "--json").stdout)
    assert (told["lines"], told["pictures"], told["bytes"], told["deleted"]) == (1, 1, 100, False)
    assert len(lines(filled)) == 9
    idem("store", "prune", filled.root, "--yes")
    assert (len(lines(filled)), comparable(filled)) == (8, before)
    assert not filled.image("stray").exists()
    assert own.exists()
    assert prune(filled, only_say=False).pictures == ()


def test_prune_takes_out_failed_and_outdated_runs_with_their_pictures(filled: Store) -> None:
    first, second = filled.rows()[:2]
    filled.append(replace(first, id="later", versions={"idemcore": "9"}))
    filled.append(replace(second, id="broken", status="failed", error="no luck", seed=7))
    litter = prune(filled, failed=True, outdated=True, only_say=False)
    assert litter.rows == 2
    ids = {row.id for row in filled.rows()}
    assert "later" in ids
    assert not ids & {first.id, "broken"}


def test_a_run_of_another_device_is_not_outdated(filled: Store) -> None:
    first = filled.rows()[0]
    filled.append(replace(first, id="there", device="cuda:1"))
    filled.append(replace(first, id="there too", device="cuda:0"))
    assert prune(filled, outdated=True, only_say=False).rows == 1
    assert {first.id, "there too"} <= filled.ids("ok")


def test_a_failed_repetition_does_not_make_a_run_outdated(filled: Store) -> None:
    first = filled.rows()[0]
    filled.append(replace(first, id="later", status="failed", error="no luck"))
    prune(filled, outdated=True, only_say=False)
    assert first.id in filled.ids("ok")


def test_a_store_that_is_written_is_not_pruned(filled: Store) -> None:
    with filled.held(), pytest.raises(UsageError, match="Another sweep"):
        prune(filled)


def test_merge_has_every_run_once_and_reads_like_one_sweep(sweep, idem, tmp_path: Path) -> None:
    _, _, first = sweep("seed=0", store="first")
    _, _, second = sweep("seed=0..1", store="second")
    words = ("store", "merge", first.root, second.root, "-o", tmp_path / "both", "--json")
    told = json.loads(idem(*words).stdout)
    assert (told["added"], told["there already"]) == (8, 4)
    both = Store(tmp_path / "both")
    assert comparable(both) == comparable(second)
    assert len(both.meta()["sweeps"]) == 2
    names = sorted(path.name for path in both.path("images").iterdir())
    assert names == sorted(path.name for path in second.path("images").iterdir())
    assert json.loads(idem(*words).stdout)["added"] == 0


def test_merge_keeps_what_went_well(filled: Store, tmp_path: Path) -> None:
    target, row = Store(tmp_path / "target"), filled.rows()[0]
    with target.writing({}):
        target.append(replace(row, status="failed", error="no luck"))
    copy_runs([filled], target)
    assert row.id in target.ids("ok")
    filled.append(replace(row, status="failed", error="no luck"))
    copy_runs([filled], target)
    assert row.id in target.ids("ok")


def test_filter_copies_the_runs_of_every_key(filled: Store, idem, tmp_path: Path) -> None:
    words = ("solver=cell", "quality=3..5", "image=0.png,1.png", "status=ok")
    told = json.loads(idem("store", "filter", filled.root, *words, "-o", tmp_path / "part", "--json").stdout)
    assert told["added"] == 2
    assert {(r.solver["name"], r.image.name) for r in Store(tmp_path / "part").rows()} == {
        ("cell", "0.png"),
        ("cell", "1.png"),
    }


@pytest.mark.parametrize(
    ("word", "told"),
    [("solvr=cell", "Did you mean"), ("solver=dps", "No run"), ("x", "KEY="), ("image=a,solver=cell", "two keys")],
)
def test_a_filter_that_cannot_be_right_makes_no_store(filled: Store, idem, tmp_path: Path, word: str, told) -> None:
    result = idem("store", "filter", filled.root, word, "-o", tmp_path / "part")
    assert (result.exit_code, told in result.stderr) == (2, True)
    assert not (tmp_path / "part").exists()


def test_a_picture_that_is_gone_is_named(filled: Store, tmp_path: Path) -> None:
    filled.path(str(filled.rows()[0].files.reconstruction)).unlink()
    with pytest.raises(IntegrityError, match="lacks images/"):
        copy_runs([filled], Store(tmp_path / "copy"))


def test_a_store_is_not_merged_into_itself(filled: Store) -> None:
    with pytest.raises(UsageError, match="both read and written"):
        copy_runs([filled], Store(filled.root))


def test_conditions_are_those_of_axes(filled: Store) -> None:
    assert sum(map(condition(["seed=0..3", "codec=toy"]), filled.rows())) == 8
    assert sum(map(condition(["solver.steps=2"]), filled.rows())) == 4
