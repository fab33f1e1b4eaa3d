"""What the computing process does, in this one: it draws, blends and rewrites, and says why it cannot."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import idemcore as idem
from idemcore_app.worker import Work, answer

CHOICES = {"generator": "toy", "solver": "cell", "steps": 2}


class Worker:
    """Requests about one photograph, and all that was said meanwhile."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder, self.said, self.cancelled = folder, [], threading.Event()
        self.work = Work(self.said.append, self.cancelled, {"device": "cpu", "precision": "fp32", "tile": None})

    def do(self, what: str, **more) -> dict:
        about = {"folder": str(self.folder), "name": "old.jpg", "picture": False, "codec": "jpeg", "quality": None,
                 "salvage": False, "choices": CHOICES, "seed": 0, "layer": "draw-1"}  # fmt: skip
        return answer(self.work, {**about, "do": what, **more})


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    return Worker(tmp_path / "photo")


def test_a_photograph_is_drawn_blended_and_written_anew(worker, picture):
    picture(0, 40, 24).save(worker.folder / "file", "JPEG", quality=10)
    drawn = worker.do("draw")["done"]
    assert (drawn["exact"], drawn["passes"], drawn["size"]) == (True, 2, [40, 24])
    assert [one["stage"] for one in worker.said if "stage" in one] == ["opening", "drawing", "certifying"]
    assert [one["step"] for one in worker.said if "step" in one] == [1, 2]
    for name in ("nearest", "draw-1"):
        assert idem.verify(worker.folder / f"{name}.png", worker.folder / "file")
    assert not idem.verify(worker.folder / "before.png", worker.folder / "file"), "it is the plain decode"
    assert worker.do("blend", tradeoff=0.3, output="blend-1-30")["done"]["exact"]
    names = ("nearest", "draw-1", "blend-1-30")
    low, high, blend = (np.asarray(Image.open(worker.folder / f"{name}.png")).astype(float) for name in names)
    assert np.abs(blend - (0.7 * low + 0.3 * high)).mean() < 2
    certificate = json.loads((worker.folder / "blend-1-30.certificate.json").read_text())
    assert (certificate["tradeoff"], certificate["seed"], certificate["solver"]["name"]) == (0.3, 0, "cell")
    assert worker.do("jpeg", output="jpeg-1")["done"]["exact"]
    assert (worker.folder / "jpeg-1.jpg").read_bytes() == (worker.folder / "file").read_bytes()


def test_a_picture_that_is_no_jpeg_is_compressed_first(worker, picture):
    picture(0, 40, 24).save(worker.folder / "file", "PNG")
    assert worker.do("draw", picture=True, quality=20, name="a.png")["done"]["exact"]
    assert idem.verify(worker.folder / "draw-1.png", (worker.folder / "encoded").read_bytes())
    assert worker.said[1] == {"stage": "encoding"}


def test_a_turned_photograph_is_restored_upright(worker, picture):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(0, 40, 24).save(worker.folder / "file", "JPEG", quality=10, exif=exif)
    assert worker.do("draw")["done"]["size"] == [24, 40]
    assert {Image.open(worker.folder / f"{n}.png").size for n in ("before", "nearest", "draw-1")} == {(24, 40)}
    assert worker.do("blend", tradeoff=0.5, output="blend-1-50")["done"]["exact"]
    assert idem.verify(worker.folder / "blend-1-50.png", worker.folder / "file")


def test_what_cannot_be_drawn_is_said_without_a_path(worker, picture):
    picture(0, 40, 24).save(worker.folder / "file", "JPEG", quality=10)
    whole = (worker.folder / "file").read_bytes()
    (worker.folder / "file").write_bytes(whole[:-20])
    cut = worker.do("draw")
    assert cut["error"].startswith("old.jpg: The JPEG file is truncated")
    assert "--salvage" in cut["hint"]
    assert worker.do("draw", salvage=True)["done"]["notes"]
    (worker.folder / "file").write_bytes(whole)
    wrong = worker.do("draw", choices={**CHOICES, "solver": "no-such"})
    assert "no-such" in wrong["error"]
    impossible = worker.do("draw", choices={"generator": "toy", "solver": "pulse", "steps": 0})
    assert "error" in impossible
    assert str(worker.folder) not in json.dumps([cut, wrong, impossible])


def test_a_cancelled_drawing_stops_at_its_next_step(worker, picture):
    picture(0, 40, 24).save(worker.folder / "file", "JPEG", quality=10)
    worker.cancelled.set()
    assert worker.do("draw") == {"cancelled": True}
    assert not (worker.folder / "draw-1.png").exists()


def test_choices_have_the_names_of_the_command_line(worker):
    found = answer(worker.work, {"do": "choices"})["done"]
    assert {one["name"] for one in found["solver"]} >= {"cell", "mean"}
    assert {one["name"] for one in found["codec"]} >= {"jpeg", "toy"}
    assert json.loads(json.dumps(found)) == found
