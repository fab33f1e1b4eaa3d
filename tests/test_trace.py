"""What `--trace` and `--save-steps` write, and the callbacks behind them."""

from __future__ import annotations

import io
import json

import pytest
import torch
from PIL import Image

from idemcore.errors import MissingError
from idemcore.io.images import read_bytes
from idemcore.observe.filmstrip import GAP, FilmStrip, spread
from idemcore.observe.trace import Trace, check_plots
from idemcore.protocols import Step

TOY = ("--codec", "toy", "--generator", "toy", "--set", "solver.steps=5")


def step(index: int, total: int = 5, sigma: float = 0.5, residual: float = 0.1, shade: float = 0.0) -> Step:
    return Step(index, total, sigma, torch.full((1, 3, 6, 4), shade), residual, 2 * index + 2)


def test_run_writes_trace_and_film_strip_with_the_result(idem, photo, tmp_path):
    result = idem("run", photo, *TOY, "--out", tmp_path / "out", "--trace", "--save-steps", 3, "--json")
    assert result.exit_code == 0, result.stderr
    folder = tmp_path / "out" / "photo"
    rows = [json.loads(line) for line in (folder / "trace.jsonl").read_text().splitlines()]
    assert all(list(row) == ["index", "total", "sigma", "residual", "nfe", "seconds"] for row in rows)
    assert [row["index"] for row in rows] == list(range(5))
    assert rows[-1]["nfe"] == json.loads(result.stdout)["nfe"]
    assert rows[0]["sigma"] > rows[-1]["sigma"] > 0
    assert 0 < rows[0]["seconds"] < rows[-1]["seconds"] < 60
    assert Image.open(folder / "trace.png").width > 500
    assert Image.open(folder / "steps.png").size == (3 * 40 + 2 * GAP, 24)


def test_each_image_and_each_sample_has_a_trace_of_its_own(idem, photo, tmp_path):
    twin = tmp_path / "twin.png"
    twin.write_bytes(photo.read_bytes())
    result = idem("run", photo, twin, *TOY, "--samples", 2, "--out", tmp_path / "out", "--trace")
    assert result.exit_code == 0, result.stderr
    for stem in ("photo", "twin"):
        names = sorted(path.name for path in (tmp_path / "out" / stem).glob("trace*"))
        assert names == ["trace-1.jsonl", "trace-1.png", "trace-2.jsonl", "trace-2.png"]
        for name in names[::2]:
            first = json.loads((tmp_path / "out" / stem / name).read_text().splitlines()[0])
            assert (first["index"], first["nfe"]) == (0, 1)


def test_decode_writes_them_beside_the_image(idem, photo, tmp_path):
    stream = tmp_path / "y.idem"
    idem("encode", photo, "-o", stream, "--codec", "toy")
    photo.unlink()
    decode = ("decode", stream, "-o", tmp_path / "x.png", "--generator", "toy", "--set", "solver.steps=9")
    result = idem(*decode, "--save-steps", "--trace")
    assert "x.trace.jsonl, x.trace.png, x.steps.png" in result.stdout, result.stderr
    names = "x.certificate.json x.png x.steps.png x.trace.jsonl x.trace.png y.idem"
    assert sorted(path.name for path in tmp_path.iterdir()) == names.split()
    strip = read_bytes(tmp_path / "x.steps.png")
    assert strip.shape[-1] == 8 * 40 + 7 * GAP
    assert torch.equal(strip[..., 40 : 40 + GAP], torch.full((1, 3, 24, GAP), 255, dtype=torch.uint8))


def test_without_matplotlib_a_trace_has_its_numbers_and_says_what_the_plot_needs(idem, photo, tmp_path, monkeypatch):
    monkeypatch.setattr("idemcore.observe.trace.find_spec", lambda name: None)
    result = idem("run", photo, *TOY, "--out", tmp_path / "out", "--trace")
    assert result.exit_code == 0, result.stderr
    assert [path.name for path in (tmp_path / "out" / "photo").glob("trace*")] == ["trace.jsonl"]
    assert result.stderr.count('pip install "idemcore[plots]"') == 1
    with pytest.raises(MissingError):
        check_plots()


def test_the_plain_decode_has_no_steps_to_show(idem, tmp_path):
    for option in ("--trace", "--save-steps"):
        result = idem("decode", "y.idem", "-o", tmp_path / "x.png", "--mse", option)
        assert result.exit_code == 2
        assert "--mse takes no steps" in result.stderr


def test_trace_holds_what_json_can(idem):
    trace = Trace()
    trace(step(0, residual=float("nan")))
    trace(step(1, residual=float("inf")))
    assert [json.loads(line)["residual"] for line in trace.jsonl().splitlines()] == [None, None]
    assert Image.open(io.BytesIO(trace.plot("nothing finite"))).format == "PNG"


def test_plot_leaves_out_the_noise_level_where_there_is_none():
    def height(sigma: float) -> int:
        trace = Trace()
        for index in range(3):
            trace(step(index, sigma=sigma))
        return Image.open(io.BytesIO(trace.plot("a solve"))).height

    assert height(0.0) < height(0.5)


@pytest.mark.parametrize(("total", "count"), [(1000, 8), (8, 8), (3, 8), (1, 2), (2, 2)])
def test_frames_are_spread_from_the_first_step_to_the_last(total, count):
    film = FilmStrip(count)
    for index in range(total):
        film(step(index, total, shade=index / total))
        assert len(film.frames) <= count
    chosen = sorted(film.frames)
    assert set(chosen) == spread(total, count)
    assert (chosen[0], chosen[-1], len(chosen)) == (0, total - 1, min(total, count))
    gaps = [b - a for a, b in zip(chosen, chosen[1:], strict=False)]
    assert max(gaps, default=1) - min(gaps, default=1) <= 1
    strip = film.image()
    assert strip.shape == (1, 3, 6, len(chosen) * (4 + GAP) - GAP)
    assert strip[0, 0, 0, :: 4 + GAP].tolist() == [round(255 * i / total) for i in chosen]


def test_a_solver_that_stops_early_shows_where_it_stopped():
    film = FilmStrip(5)
    for index in range(38):
        film(step(index, 101))
        assert len(film.frames) <= 5
    assert sorted(film.frames) == [0, 25, 37]


def test_a_strip_of_large_frames_is_no_larger_than_what_idem_reads(monkeypatch):
    film = FilmStrip(4)
    for index in range(4):
        film(Step(index, 4, 0.1, torch.full((1, 3, 90, 120), index / 4), 0.0, index))
    assert film.image().shape[-2:] == (90, 4 * 124 - 4)
    monkeypatch.setenv("IDEM_MAX_PIXELS", "9000")
    small = film.image()
    height, width = small.shape[-2:]
    assert 6000 < height * width <= 9000
    assert small[0, 0, height // 2, [2, width - 2]].tolist() == [0, 191]


def test_a_batch_is_shown_row_by_row():
    film = FilmStrip(2)
    images = torch.stack([torch.full((3, 6, 4), value) for value in (0.0, 1.0)])
    film(Step(0, 1, 0.0, images, 0.0, 1))
    strip = film.image()
    assert strip.shape == (1, 3, 12 + GAP, 4)
    assert (int(strip[0, 0, 0, 0]), int(strip[0, 0, -1, 0])) == (0, 255)
