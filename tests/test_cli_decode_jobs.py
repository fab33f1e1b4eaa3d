"""`idem decode FOLDER --jobs`: the same files as one process makes, and what becomes of a worker that fails."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from idemcore.pipeline.decode_file import Decoding
from idemcore.plugins.catalogue import load_catalogue
from idemcore.plugins.selection import select_decoder
from idemcore.protocols import Engine, MakeWork, WorkerDied
from idemcore.runtime import Runtime

TOY = ("--generator", "toy", "--set", "solver.steps=2")


@pytest.fixture
def photos(photo: Path, tmp_path: Path) -> Path:
    """Three JPEGs, one in a folder of its own, and a file that is none."""
    folder = tmp_path / "photos"
    (folder / "1998").mkdir(parents=True)
    for number, name in enumerate(("a.jpg", "b.jpg", "1998/c.jpg")):
        Image.open(photo).crop((number, 0, 30, 20)).save(folder / name, quality=30 + number)
    (folder / "bad.jpg").write_text("no image")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class InTurn(Engine):
    """Workers that are this process; the one that gets `b.jpg` dies each time."""

    def map(self, make: MakeWork[Any, Any], jobs: Iterable[Any]) -> Any:
        work = pickle.loads(pickle.dumps(make))()
        for job in jobs:
            yield job, WorkerDied("The worker was killed.") if job.source.name == "b.jpg" else work(job)


def test_two_workers_write_the_files_that_one_process_writes(idem: Any, photos: Path, tmp_path: Path) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    expected = idem("decode", photos, "-o", alone, *TOY)
    result = idem("decode", photos, "-o", together, *TOY, "--jobs", 2)
    assert result.exit_code == expected.exit_code != 0
    assert "bad.jpg" in result.stderr
    assert len(content(alone)) == 6
    assert content(together) == content(alone)


def test_a_worker_that_dies_costs_its_file_alone(
    idem: Any, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("idemcore.cli.sweep.make_engine", lambda *_: InTurn())
    result = idem("decode", photos, "-o", tmp_path / "out", *TOY, "--engine", "pretended", "--json")
    assert result.exit_code == 1
    assert "b.jpg: The worker was killed." in result.stderr
    tally = json.loads(result.stdout.splitlines()[-1])
    assert (tally["decoded"], tally["failed"]) == (2, 2)
    again = idem("decode", photos, "-o", tmp_path / "out", *TOY, "--json")
    tally = json.loads(again.stdout.splitlines()[-1])
    assert (tally["decoded"], tally["done_before"], tally["failed"]) == (1, 2, 1)


def test_a_prior_that_no_worker_can_load_is_said_once(
    idem: Any, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("idemcore.cli.sweep.make_engine", lambda *_: InTurn())
    missing = ("--set", f"generator.weights={tmp_path / 'none.safetensors'}", "--engine", "pretended")
    result = idem("decode", photos, "-o", tmp_path / "out", *missing)
    assert result.exit_code == 4
    assert result.stderr.count("none.safetensors") == 1


def test_a_decoding_is_chosen_again_where_it_is_unpickled() -> None:
    settings = {"solver": {"steps": 3}}
    catalogue = load_catalogue()
    decoding = Decoding(
        select_decoder(catalogue, "toy", "cell", settings), catalogue, Runtime.choose("cpu"), settings, seed=5
    )
    again = pickle.loads(pickle.dumps(decoding))
    assert again.asked == decoding.asked
    assert again.parts.solver.config.steps == 3
    assert again.seed == 5
