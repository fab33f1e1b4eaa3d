"""Evaluation of a configuration over a folder, and `idem eval` and `idem compare`: the toy codec, tiny images."""

from __future__ import annotations

import json
import weakref
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from idemcore.errors import IdemError, UsageError
from idemcore.evaluation.draws import case_of, encode, measure
from idemcore.evaluation.evaluation import Images, evaluate, score_sets
from idemcore.io.image_sets import Frame
from idemcore.io.images import read_bytes, to_float
from idemcore.metrics import Case, Metric, build, choose_metrics
from idemcore.pipeline.codec import Codec
from idemcore.pipeline.decoder import Decoder
from idemcore.plugins.catalogue import load_catalogue
from idemcore.runtime import Runtime

CPU = Runtime.choose("cpu", "fp32")
TOY = ("--codec", "toy", "--generator", "toy", "--device", "cpu", "--precision", "fp32", "--set", "solver.steps=2")


@pytest.fixture
def folder(tmp_path):
    """Three images of 24x20, and a text that is none."""
    place = tmp_path / "photos"
    place.mkdir()
    for k in range(3):
        rng = np.random.default_rng(k)
        pixels = np.kron(rng.integers(40, 200, (5, 6, 3)), np.ones((4, 4, 1))) + rng.normal(0, 6, (20, 24, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(place / f"{k}.png")
    (place / "notes.txt").write_text("not an image")
    return place


@pytest.fixture(scope="module")
def toys() -> tuple[Codec, Decoder]:
    return Codec.load("toy", CPU, quality=4), Decoder.load("toy", "cell", CPU, {"solver": {"steps": 2}})


def metrics(*names: str) -> list[Metric]:
    built, missing = build(choose_metrics(load_catalogue(), names), CPU)
    assert not missing
    return built


def test_rows_and_scores_are_those_of_each_image_alone(folder, toys):
    codec, decoder = toys
    found = evaluate(codec, decoder, Images(folder), metrics("bpp", "psnr", "exact", "nfe", "diversity"), seeds=(0, 3))
    assert [(row.image, row.seed) for row in found.rows] == [(f"{k}.png", s) for k in range(3) for s in (0, 3)]
    bitstream = codec.encode(read_bytes(folder / "1.png") / torch.tensor(255.0))
    alone = decoder.reconstruct(bitstream, 3)
    error = (alone.image.double() - read_bytes(folder / "1.png").double()).square().mean()
    assert found.rows[3].values["psnr"] == pytest.approx(float(10 * torch.log10(255**2 / error)))
    assert found.rows[3].values["bpp"] == bitstream.bits_per_pixel
    assert found.scores["psnr"].value == pytest.approx(np.mean([row.values["psnr"] for row in found.rows]))
    assert found.scores["psnr"].count == 3
    assert found.scores["diversity"].value > 1
    assert not found.errors


@pytest.mark.parametrize("batch", [2, 5, 100])
def test_draws_in_batches_are_those_of_each_image_alone(batch, folder, toys):
    Image.open(folder / "1.png").crop((0, 0, 16, 16)).save(folder / "11.png")  # between others of another size
    wanted = metrics("bpp", "psnr", "exact", "diversity", "spectrum")
    alone, found = (evaluate(*toys, Images(folder), wanted, (0, 3), batch=size) for size in (1, batch))
    assert [(row.image, row.seed) for row in found.rows] == [(row.image, row.seed) for row in alone.rows]
    assert len(found.rows) == 8
    for one, same in zip(alone.rows, found.rows, strict=True):
        assert same.values == pytest.approx(one.values, abs=0.05)
    for metric, score in alone.scores.items():
        assert found.scores[metric].value == pytest.approx(score.value, rel=0.02), metric


def test_an_image_that_fails_in_a_batch_takes_no_other_with_it(folder, toys):
    codec, decoder = toys
    bad = codec.encode(to_float(read_bytes(folder / "1.png"))).decoded
    batches = []

    class Choosy(type(decoder.solver)):
        def solve(self, cell, *others):
            batches.append(len(cell.centre))
            if any(torch.equal(centre, bad[0]) for centre in cell.centre):
                raise IdemError("not that one", "")
            return super().solve(cell, *others)

    choosy = replace(decoder, solver=Choosy(decoder.solver.config))
    found = evaluate(codec, choosy, Images(folder), metrics("psnr", "spectrum"), (0, 3), batch=6)
    assert [(row.image, row.seed) for row in found.rows] == [("0.png", 0), ("0.png", 3), ("2.png", 0), ("2.png", 3)]
    assert list(found.errors) == ["1.png"]
    assert batches == [6, 1, 1, 1, 1, 1, 1]


def test_a_device_without_memory_fails_the_image_alone(folder, toys):
    codec, decoder = toys

    class Hungry(type(decoder.solver)):
        def solve(self, cell, *others):
            if len(cell.centre) > 1:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return super().solve(cell, *others)

    hungry = replace(decoder, solver=Hungry(decoder.solver.config))
    found = evaluate(codec, hungry, Images(folder), metrics("psnr"), (0, 3), batch=6)
    assert len(found.rows) == 6
    assert not found.errors
    starved = replace(decoder, solver=SimpleNamespace(solve=lambda *_: torch.empty(2**58)))
    found = evaluate(codec, starved, Images(folder), metrics("psnr"))
    assert found.rows == []
    assert list(found.errors) == ["0.png", "1.png", "2.png"]
    assert all("Out of memory" in str(error) and "--batch" in error.hint for error in found.errors.values())


def test_recompression_is_measured_on_what_the_codec_makes_of_a_changed_image(folder, toys):
    codec, decoder = toys
    exact = evaluate(codec, decoder, Images(folder, limit=1), metrics("recompression-psnr", "exact"))
    assert [row.values for row in exact.rows] == [{"recompression-psnr": 100, "exact": 1}]
    bitstream = codec.encode(read_bytes(folder / "0.png") / torch.tensor(255.0))
    drawn = decoder.draw([bitstream], [0])
    drawn.certified.exact[0] = False
    drawn.certified.image[:] = drawn.certified.image.flip(2)
    case = replace(case_of([encode(codec, "0.png", read_bytes(folder / "0.png"))], drawn), original=None)
    (values,) = measure(metrics("recompression-psnr", "psnr"), case)
    assert 0 < values["recompression-psnr"] < 40
    assert np.isnan(values["psnr"])


def test_what_the_solver_gave_is_measured_before_certification(folder, toys):
    codec, decoder = toys
    image = encode(codec, "0.png", read_bytes(folder / "0.png"))
    drawn = decoder.draw([image.bitstream], [0])
    case, shown = case_of([image], drawn), to_float(drawn.certified.image)
    inside, outside = replace(case, solution=shown), replace(case, solution=shown.flip(2))
    asked = metrics("solver-exact", "solver-recompression-psnr", "exact", "recompression-psnr")
    (kept,), (moved,) = (measure(asked, one) for one in (inside, outside))
    assert kept == {"solver-exact": 1, "solver-recompression-psnr": 100, "exact": 1, "recompression-psnr": 100}
    assert moved["solver-exact"] == 0
    assert 0 < moved["solver-recompression-psnr"] < 40
    assert moved["recompression-psnr"] == 100


def test_crops_are_from_the_middle(folder):
    images = Images(folder, Frame(crop=8))
    whole = read_bytes(folder / "0.png")
    assert torch.equal(images.frame.read(images.sources[0]), whole[..., 6:14, 8:16])
    assert images.facts() == replace(Images(folder).facts(), crop="centre 8x8")
    assert images.facts().count == 3


def test_an_image_that_fails_stops_no_other_and_is_in_no_score(folder, toys):
    (folder / "1.png").write_bytes(b"broken")
    found = evaluate(*toys, Images(folder), metrics("psnr", "spectrum"))
    assert list(found.errors) == ["1.png"]
    assert [row.image for row in found.rows] == ["0.png", "2.png"]
    assert found.scores["psnr"].count == found.scores["spectrum"].count == 2


def test_a_folder_without_images_is_an_error(tmp_path):
    for place in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UsageError):
            _ = Images(place).sources


def test_no_more_than_one_image_is_held(toys):
    """Counts the cases alive while sets are scored."""
    alive = weakref.WeakSet()
    most = 0

    def cases():
        nonlocal most
        for k in range(12):
            image = torch.full((1, 3, 32, 32), k, dtype=torch.uint8)
            case = Case((str(k),), image, image)
            alive.add(image)
            yield case
            del case, image
            most = max(most, len(alive))

    score_sets(metrics("swd", "spectrum", "diversity"), cases())
    assert most <= 2


def test_a_set_holds_one_draw_an_image_but_for_what_is_about_draws():
    """Two draws of each of two images in one batch: the set is that of the first draws."""
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (4, 3, 32, 32), generator=rng, dtype=torch.uint8)
    both = Case(("a", "a", "b", "b"), images, images.flip(3))
    first = Case(("a", "b"), images[[0, 2]], images[[0, 2]].flip(3))
    found = score_sets(metrics("spectrum", "swd", "diversity"), [both])
    alone = score_sets(metrics("spectrum", "swd", "diversity"), [first])
    assert found["spectrum"] == alone["spectrum"]
    assert found["swd"] == alone["swd"]
    assert found["diversity"].count == 2
    assert np.isnan(alone["diversity"].value)


def test_eval_prints_a_table_with_intervals(idem, folder):
    result = idem("eval", folder, *TOY, "--quality", "3..5", "--solver", "mse,cell", "--metrics", "bpp,psnr,exact")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["curve", "quality", "bpp", "psnr", "exact"]
    assert len(lines) == 7
    assert lines[1].startswith("toy, mse")
    assert lines[4].startswith("toy, toy + cell")
    assert "±" in lines[1]


def test_eval_writes_curves_that_compare_tells_apart(idem, folder, tmp_path):
    out = tmp_path / "results"
    arguments = ("--quality", "3,4,5", "--solver", "mse,cell", "--metrics", "bpp,psnr,spectrum,lpips", "--out", out)
    result = idem("eval", folder, *TOY, *arguments, "--seeds", 2, "--json")
    assert result.exit_code == 0, result.stderr
    printed = [json.loads(line) for line in result.stdout.splitlines()]
    written = [json.loads((out / name).read_text()) for name in ("toy-mse.json", "toy-toy-cell.json")]
    assert printed == written
    first = written[1]
    assert set(first["results"]) - {"lpips"} == {"bpp", "psnr-rgb", "spectrum"}
    assert [len(values) for values in first["results"].values()] == [3] * len(first["results"])
    assert len(first["rows"]) == 3 * 3 * 2
    meta = first["meta"]
    assert [point["quality"] for point in meta["points"]] == [3, 4, 5]
    assert (meta["images"]["count"], meta["images"]["crop"]) == (3, "whole images")
    assert (meta["seeds"], meta["device"], meta["dtype"]) == ([0, 1], "cpu", "float32")
    assert {"idemcore", "torch", "idemcore-toy"} <= set(meta["versions"])
    assert len(meta["images"]["files_sha256"]) == 64
    assert meta["solver"]["steps"] == 2

    told = idem("compare", out / "toy-mse.json", out / "toy-toy-cell.json", "--metrics", "psnr,spectrum", "--json")
    assert told.exit_code == 0, told.stderr
    found = json.loads(told.stdout)
    psnr = found["metrics"][0]
    assert psnr["bd_metric"] != 0
    assert [pair["count"] for pair in psnr["paired"]] == [3, 3, 3]
    assert found["metrics"][1]["paired"] == []
    table = idem("compare", out / "toy-mse.json", out / "toy-toy-cell.json")
    assert "BD-rate" in table.stdout
    assert "toy 4" in table.stdout


def test_eval_says_what_is_missing_and_goes_on(idem, folder, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    result = idem("eval", folder, *TOY, "--metrics", "lpips,bpp")
    assert result.exit_code == 0
    assert "lpips is missing" in result.stderr
    assert "curl" in result.stderr
    assert "lpips" not in result.stdout


def test_eval_tells_a_broken_image_and_exits_1(idem, folder):
    (folder / "1.png").write_bytes(b"broken")
    result = idem("eval", folder, *TOY, "--metrics", "bpp")
    assert result.exit_code == 1
    assert "1.png" in result.stderr
    assert result.stdout.splitlines()[1].startswith("toy")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--metrics", "psrn"), "psnr"),
        (("--metrics", ","), "--metrics"),
        (("--solver", "cel"), "cell"),
        (("--set", "solver.stepz=3"), "stepz"),
        (("--quality", "1..x"), "quality"),
    ],
)
def test_what_cannot_be_right_is_told_before_any_work(idem, folder, arguments, words):
    result = idem("eval", folder, "--codec", "toy", "--generator", "toy", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stdout == ""
