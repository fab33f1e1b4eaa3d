"""What recipes share: crops of a folder of images, and a training, here of a number, that logs, stops and resumes."""

from __future__ import annotations

import json
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from idemcore.errors import IdemError, InputError, UsageError
from idemcore.training import loop as training
from idemcore.training.crops import Crops
from idemcore.training.loop import Training, process_settings


@pytest.fixture
def photos(tmp_path):
    """Three PNGs, 96x80, with a red that grows to the right and a blue that tells them apart."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rows, columns = np.mgrid[:80, :96]
    for k in range(3):
        pixels = np.stack([columns * 2, rows * 2, np.full_like(rows, 100 * k)], -1).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")
    return folder


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(UsageError, match="holds no images"):
        Crops(tmp_path, 16)


def test_images_that_are_too_small_are_refused(photos):
    with pytest.raises(InputError, match="has 81 pixels or more a side"):
        Crops(photos, 81)


def test_each_photograph_is_kept_at_the_scales_that_hold_a_crop(photos):
    images = Crops(photos, 32, (1.0, 0.5, 0.3)).images
    assert [tuple(image.shape) for image in images] == 3 * [(3, 80, 96), (3, 40, 48)]


def test_a_broken_image_is_left_out_and_told(photos):
    (photos / "broken.png").write_bytes(b"no image")
    with pytest.warns(UserWarning, match=r"broken\.png"):
        crops = Crops(photos, 16)
    assert len(crops.images) == 3


def test_crops_are_drawn_from_their_generator_alone(photos):
    crops = Crops(photos, 16)
    first, again = (crops.batch(4, 16, seeded(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, crops.batch(4, 16, seeded(4)))


def test_crops_are_patches_of_the_photographs_flipped_half_of_the_time(photos):
    batch = Crops(photos, 80).batch(200, 16, seeded(0))
    assert batch.shape == (200, 3, 16, 16)
    red, green, blue = (255 * batch).round().int().unbind(1)
    assert green.diff(dim=1).eq(2).all()
    rightwards = red.diff(dim=2)
    assert rightwards.abs().eq(2).all()
    assert 70 < (rightwards[:, 0, 0] < 0).sum() < 130
    assert set(blue.unique().tolist()) == {0, 100, 200}
    assert green.min() == 0
    assert green.max() == 158


def test_a_crop_may_be_the_whole_image(photos):
    crops = Crops(photos, 80)
    assert crops.batch(8, 80, seeded(0)).shape == (8, 3, 80, 80)


def test_process_settings_last_as_long_as_their_block():
    before, denormal = torch.get_num_threads(), torch.tensor([1e-40])
    with process_settings(before + 1):
        assert torch.get_num_threads() == before + 1
        assert not (denormal * 1).any()
    with process_settings(0):
        assert torch.get_num_threads() == before
    assert torch.get_num_threads() == before
    assert (denormal * 1).all()


class Halving(Training):
    """Halves a number at every step; a weights file holds it as text."""

    value = 1.0

    def update(self):
        self.value /= 2
        return {"loss": self.value, "examples": 4 * (self.step + 1)}

    def state(self):
        return {"value": torch.tensor(self.value)}

    def load(self, state):
        self.value = state["value"].item()

    def write_weights(self):
        path = self.out / "weights.txt"
        path.write_text(str(self.value))
        return path


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Each look at the clock takes one second: an update lasts one second of training."""
    seconds = count()
    monkeypatch.setattr(training, "time", SimpleNamespace(monotonic=lambda: float(next(seconds))))


def halving(out, seconds, save_seconds=1e9):
    return Halving(out, seconds / 60, save_seconds / 60)


def test_a_run_ends_in_time_with_weights_and_a_log(tmp_path):
    told = []
    weights = halving(tmp_path / "out", 50).run(told.append)
    assert weights.read_text() == str(2.0**-50)
    assert [record["step"] for record in told] == [20, 40, 50]
    assert told[-1]["minutes"] == pytest.approx(50 / 60)
    assert [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()] == told


def test_the_log_averages_numbers_and_keeps_counts(tmp_path):
    told = []
    halving(tmp_path, 20).run(told.append)
    average = 0.5
    for step in range(2, 21):
        average = 0.98 * average + 0.02 * 2.0**-step
    assert told[-1]["loss"] == pytest.approx(average)
    assert told[-1]["examples"] == 80


def test_a_run_goes_on_to_a_longer_total(tmp_path):
    halving(tmp_path, 20).run(lambda _: None)
    longer = halving(tmp_path, 30)
    longer.run(lambda _: None)
    assert (longer.step, longer.elapsed, longer.value) == (30, 30, 2.0**-30)
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 2


def test_a_training_without_a_checkpoint_starts_anew(tmp_path):
    assert not halving(tmp_path, 9).resume()
    halving(tmp_path, 9).save()
    assert halving(tmp_path, 9).resume()


def test_checkpoints_are_written_now_and_then(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(Halving, "write_weights", lambda self: saved.append(self.step))
    halving(tmp_path, 20, save_seconds=7).run(lambda _: None)
    assert saved == [8, 16, 20]


def test_an_interrupt_leaves_a_checkpoint(tmp_path):
    def interrupt(record):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        halving(tmp_path, 100).run(interrupt)
    resumed = halving(tmp_path, 100)
    resumed.resume()
    assert (resumed.step, resumed.elapsed) == (20, 20)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_diverged_training_keeps_its_last_checkpoint(loss, tmp_path, monkeypatch):
    halving(tmp_path, 20).run(lambda _: None)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    monkeypatch.setattr(Halving, "update", lambda self: {"loss": loss})
    with pytest.raises(IdemError, match="diverged") as caught:
        halving(tmp_path, 40).run(lambda _: None)
    assert "train.learning_rate" in caught.value.hint
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04" + bytes(60), "truncated", "flat", "list"])
def test_an_unreadable_checkpoint_is_an_error(content, tmp_path):
    path = tmp_path / "checkpoint.pt"
    halving(tmp_path, 9).save()
    if content == "truncated":
        path.write_bytes(path.read_bytes()[:-200])
    elif isinstance(content, str):
        torch.save({"value": torch.tensor(1.0)} if content == "flat" else [1], path)
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"checkpoint\.pt cannot be resumed: \w+") as caught:
        halving(tmp_path, 9).resume()
    assert "--out" in caught.value.hint
