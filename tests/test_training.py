"""What recipes share: crops of a folder, and a training that stops, resumes and says what is wrong."""

from __future__ import annotations

import contextlib
import csv
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from idemcore.errors import IdemError, InputError, UsageError
from idemcore.training.crops import Crops
from idemcore.training.loop import Training, process_settings


def save(path: Path, height: int, width: int, seed: int = 0) -> np.ndarray:
    """A picture whose pixels all differ, so that a crop tells where it is from."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_crops_are_parts_of_the_pictures_some_of_them_flipped(tmp_path: Path) -> None:
    pixels = save(tmp_path / "deep" / "er" / "a.PNG", 20, 24)
    found = Crops(tmp_path, 16).batch(40, 16, rng())
    assert (found.shape, found.dtype) == ((40, 3, 16, 16), torch.float32)
    image = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
    windows = image.unfold(1, 16, 1).unfold(2, 16, 1).permute(1, 2, 0, 3, 4).reshape(-1, 3, 16, 16)
    straight = [any(torch.equal(crop, window) for window in windows) for crop in found]
    flipped = [any(torch.equal(crop.flip(2), window) for window in windows) for crop in found]
    assert all(a != b for a, b in zip(straight, flipped, strict=True))
    assert 8 < sum(straight) < 32


def test_crops_reach_every_edge(tmp_path: Path) -> None:
    pixels = save(tmp_path / "a.png", 17, 16)
    found = Crops(tmp_path, 16).batch(40, 16, rng())
    first_rows = {tuple(row) for row in (found[:, 0, 0] * 255).round().int().tolist()}
    for top in (0, 1):
        assert {tuple(pixels[top, :, 0].tolist()), tuple(pixels[top, ::-1, 0].tolist())} & first_rows


def test_the_same_seed_gives_the_same_crops(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 40, 40)
    crops, before = Crops(tmp_path, 16), torch.get_rng_state()
    assert torch.equal(crops.batch(4, 16, rng(1)), crops.batch(4, 16, rng(1)))
    assert not torch.equal(crops.batch(4, 16, rng(1)), crops.batch(4, 16, rng(2)))
    assert torch.equal(torch.get_rng_state(), before)


def test_pictures_are_kept_at_each_scale_at_which_they_are_large_enough(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 40, 60)
    save(tmp_path / "b.png", 16, 16)
    save(tmp_path / "c.png", 15, 90)
    sizes = [tuple(image.shape) for image in Crops(tmp_path, 16, (1.0, 0.5)).images]
    assert sizes == [(3, 40, 60), (3, 20, 30), (3, 16, 16)]


def test_a_file_that_cannot_be_read_is_left_out_with_a_warning(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 20, 20)
    (tmp_path / "b.jpg").write_bytes(b"no image")
    (tmp_path / "notes.txt").write_text("no image either, and none is expected")
    with pytest.warns(UserWarning, match=r"left out: .*b\.jpg") as caught:
        assert len(Crops(tmp_path, 16).images) == 1
    assert len(caught) == 2
    assert any("notes.txt" in str(warning.message) or "1 file" in str(warning.message) for warning in caught)


def test_an_unusable_folder_is_an_error_that_says_why(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no images"):
        Crops(tmp_path, 16)
    save(tmp_path / "a.png", 100, 15)
    with pytest.raises(InputError, match="has 16 pixels or more a side") as caught:
        Crops(tmp_path, 16)
    assert "train.crops" in caught.value.hint


def test_process_settings_end_with_the_block() -> None:
    before = torch.get_num_threads()
    threads = []
    with contextlib.suppress(KeyError), process_settings(before + 1):
        threads.append(torch.get_num_threads())
        raise KeyError
    assert threads == [before + 1]
    assert torch.get_num_threads() == before
    assert torch.tensor(1e-40) / 2 > 0, "denormals are not flushed"
    with process_settings(0):
        assert torch.get_num_threads() == before


class Countdown(Training):
    """Its loss is a number that halves; its weights are that number in a file."""

    def __init__(self, out: Path, minutes: float, save_minutes: float = 1.0, fail_at: int = -1) -> None:
        super().__init__(out, minutes, save_minutes)
        self.number, self.fail_at, self.saves = 1.0, fail_at, 0

    def update(self) -> dict[str, float]:
        if self.step == self.fail_at:
            raise KeyboardInterrupt
        self.number /= 2
        return {"loss": self.number}

    def state(self) -> dict[str, Any]:
        return {"number": self.number}

    def load(self, state: dict[str, Any]) -> None:
        self.number = state["number"]

    def write_weights(self) -> Path:
        self.saves += 1
        (self.out / "weights.txt").write_text(str(self.number))
        return self.out / "weights.txt"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step takes one second."""
    seconds = iter(range(10**6))
    monkeypatch.setattr("idemcore.training.loop.time", SimpleNamespace(monotonic=lambda: float(next(seconds))))


@pytest.mark.usefixtures("clock")
def test_a_training_ends_when_its_minutes_are_over(tmp_path: Path) -> None:
    told: list[dict[str, float]] = []
    path = Countdown(tmp_path / "new" / "out", 0.75).run(told.append)
    assert path.read_text() == str(0.5**45)
    assert [record["step"] for record in told] == [20, 40, 45]
    assert told[-1]["minutes"] == pytest.approx(0.75)
    assert told[0]["loss"] > told[-1]["loss"] > 0
    lines = (path.parent / "log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == told


@pytest.mark.usefixtures("clock")
def test_it_saves_now_and_then_and_at_the_end(tmp_path: Path) -> None:
    training = Countdown(tmp_path, 1.0, save_minutes=0.25)
    training.run(lambda record: None)
    assert training.saves == 4
    assert sorted(p.name for p in tmp_path.glob("[!.]*")) == [
        "checkpoint.pt",
        "curves.png",
        "log.csv",
        "log.jsonl",
        "weights.txt",
    ]


@pytest.mark.usefixtures("clock")
def test_two_trainings_do_not_write_to_one_folder(tmp_path: Path) -> None:
    refused: list[str] = []

    def another(record: dict[str, float]) -> None:
        with pytest.raises(UsageError, match="Another training is writing to") as error:
            Countdown(tmp_path, 1.0).run(lambda record: None)
        refused.append(error.value.hint)

    Countdown(tmp_path, 0.75).run(another)
    assert refused[0] == "Wait for its end, or choose another --out."
    Countdown(tmp_path, 1.0).run(lambda record: None)


@pytest.mark.usefixtures("clock")
def test_an_interrupted_training_goes_on_where_it_was(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        Countdown(tmp_path, 1.0, fail_at=7).run(lambda record: None)
    assert (tmp_path / "weights.txt").read_text() == str(0.5**7)
    again = Countdown(tmp_path, 1.0)
    again.run(lambda record: None)
    assert (again.step, again.elapsed, again.number) == (60, 60.0, 0.5**60)


@pytest.mark.usefixtures("clock")
def test_a_finished_training_goes_on_to_more_minutes_and_no_further(tmp_path: Path) -> None:
    for minutes, steps in ((0.5, 30), (0.5, 30), (0.6, 36), (0.1, 36)):
        Countdown(tmp_path, minutes).run(lambda record: None)
        assert (tmp_path / "weights.txt").read_text() == str(0.5**steps)


@pytest.mark.usefixtures("clock")
def test_a_training_that_diverges_keeps_its_last_checkpoint(tmp_path: Path) -> None:
    Countdown(tmp_path, 0.1).run(lambda record: None)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    wild = Countdown(tmp_path, 1.0)
    wild.load = lambda state: setattr(wild, "number", float("nan"))
    with pytest.raises(IdemError, match="diverged") as caught:
        wild.run(lambda record: None)
    assert "train.learning_rate" in caught.value.hint
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


class Scored(Countdown):
    """Validated after the first step and each five more: its score rises to that of step 16, and falls from there."""

    validate_minutes, peak = 4 / 60, 16

    def validate(self) -> dict[str, float]:
        return {"score": float(-abs(self.step - self.peak)), "number": self.number}


@pytest.mark.usefixtures("clock")
def test_the_weights_of_the_best_validation_are_kept_whatever_comes_after(tmp_path: Path) -> None:
    told: list[dict[str, float]] = []
    path = Scored(tmp_path, 1.0).run(told.append)
    assert path.read_text() == str(0.5**16)
    validations = [record for record in told if "score" in record]
    assert [record["step"] for record in validations] == [*range(1, 61, 5), 60]
    assert [record["best"] for record in validations][:5] == [-15, -10, -5, 0, 0]


@pytest.mark.usefixtures("clock")
def test_weights_to_start_from_are_kept_if_training_makes_them_worse(tmp_path: Path) -> None:
    training = Scored(tmp_path, 0.5)
    training.peak = 1
    assert training.run(lambda record: None).read_text() == str(0.5)


@pytest.mark.usefixtures("clock")
def test_a_resumed_training_knows_the_best_so_far(tmp_path: Path) -> None:
    Scored(tmp_path, 0.5).run(lambda record: None)
    again = Scored(tmp_path, 1.0)
    assert again.run(lambda record: None).read_text() == str(0.5**16)
    assert (again.best.score, again.best.stale, again.step) == (0.0, 9, 60)


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(("pictures", "kept"), [([torch.ones(1)], 16), ([torch.zeros(1)], 31), ([], 60)])
def test_a_best_score_counts_among_the_same_pictures_alone(
    tmp_path: Path, pictures: list[torch.Tensor], kept: int
) -> None:
    """On others the first validation after the resume is the best so far; on none, the last weights are."""
    for minutes, judges in ((0.5, [torch.ones(1)]), (1.0, pictures)):
        training = Scored(tmp_path, minutes)
        training.judge_by(judges, 4 / 60)
        path = training.run(lambda record: None)
    assert path.read_text() == str(0.5**kept)


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("score", [-math.inf, math.nan])
def test_a_score_that_is_no_number_is_worse_than_any_other(tmp_path: Path, score: float) -> None:
    class Odd(Scored):
        def validate(self) -> dict[str, float]:
            found = super().validate()
            return {**found, "score": score} if self.step < 14 else found

    told: list[dict[str, float]] = []
    path = Odd(tmp_path, 0.5).run(told.append)
    assert [record["step"] for record in told if "score" in record] == [1, 6, 11, 16, 21, 26, 30]
    assert path.read_text() == str(0.5**16)
    for line in (tmp_path / "log.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.mark.usefixtures("clock")
def test_it_stops_when_validations_bring_nothing_for_too_long(tmp_path: Path) -> None:
    training = Scored(tmp_path, 10.0)
    training.patience = 3
    training.run(lambda record: None)
    assert training.step == 31


@pytest.mark.usefixtures("clock")
def test_the_log_is_a_table_and_a_picture_too(tmp_path: Path) -> None:
    Scored(tmp_path, 0.5).run(lambda record: None)
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"step": 3')  # cut by a power failure
    again = Scored(tmp_path, 0.5)
    again.run(lambda record: None)
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert [row["step"] for row in rows if row["score"]] == ["1", "6", "11", "16", "21", "26", "30"]
    assert [float(row["loss"]) > 0 for row in rows if row["loss"]] == [True, True]
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (800, 600)


def test_photographs_are_held_out_evenly_and_not_trained_on(tmp_path: Path) -> None:
    pixels = [save(tmp_path / f"{k:02}.png", 20, 20, seed=k) for k in range(20)]
    crops = Crops(tmp_path, 16, held_out=0.1)
    found = [[int(np.flatnonzero([np.array_equal(p, image.permute(1, 2, 0)) for p in pixels])[0]) for image in part]
             for part in (crops.held_out, crops.images)]  # fmt: skip
    assert len(found[0]) == 2
    assert found[0][1] - found[0][0] == 10
    assert sorted(found[0] + found[1]) == list(range(20))


def test_one_or_two_photographs_are_all_trained_on(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 20, 20)
    assert Crops(tmp_path, 16, held_out=0.5).held_out == []


@pytest.mark.parametrize("content", [b"", b"no checkpoint", {"step": 1}, {"state": {}, "step": 1, "elapsed": 0.0}])
def test_a_checkpoint_that_cannot_be_resumed_is_an_error(tmp_path: Path, content: object) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"checkpoint\.pt cannot be resumed") as caught:
        Countdown(tmp_path, 1.0).run(lambda record: None)
    assert "another --out" in caught.value.hint
    assert path.read_bytes() == before


def test_a_checkpoint_is_read_without_running_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Surprise:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return print, ("executed",)

    torch.save({"state": Surprise()}, tmp_path / "checkpoint.pt")
    with pytest.raises(InputError, match="cannot be resumed"):
        Countdown(tmp_path, 1.0).run(lambda record: None)
    assert capsys.readouterr().out == ""
