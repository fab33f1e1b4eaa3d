"""Formats without a cell as curves: what is measured, on which images, and where reports take them."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sweeping import sweep_row

from idemcore.errors import MissingError, UsageError
from idemcore.evaluation.baselines import BASELINES, Baseline, baseline, baseline_curve, pixels_digest
from idemcore.evaluation.evaluation import Images
from idemcore.metrics.building import build, choose_metrics
from idemcore.plugins.catalogue import load_catalogue
from idemcore.report.references import given_curves
from idemcore.runtime import Runtime

METRICS = ["bpp", "psnr", "exact", "nfe", "occupancy"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two smooth images, of 40x24 and 17x9 pixels."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, (width, height) in enumerate(((40, 24), (17, 9))):
        y, x = np.mgrid[0:height, 0:width]
        pixels = np.stack([5 * x, 9 * y, 3 * (x + y) + 40 * number], -1).clip(0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return folder


def here(name: str) -> bool:
    try:
        BASELINES[name].version()
    except MissingError:
        return False
    return True


@pytest.mark.parametrize("name", [name for name in BASELINES if here(name)])
def test_a_curve_is_what_the_format_gives(name: str, photos: Path) -> None:
    metrics, _ = build(
        choose_metrics(load_catalogue(), ["bpp", "psnr", "exact", "nfe", "occupancy"]), Runtime.choose("cpu")
    )
    one = BASELINES[name]
    steps = (one.qualities[0], one.qualities[-1])
    found = baseline_curve(one, Images(photos), metrics, steps)
    assert [point["quality"] for point in found.meta.points] == list(steps)
    assert found.results["bpp"][0] < found.results["bpp"][1]
    assert found.results["psnr-rgb"][0] < found.results["psnr-rgb"][1]
    assert found.results["nfe"] == [0, 0]
    assert found.results["occupancy"] == [None, None]
    assert all(0 <= share <= 1 for share in found.results["exact"])
    assert len(found.rows) == 4
    assert found.source.startswith("measured with")
    pixels = np.array(Image.open(photos / "0.png"))
    data = one.bytes_of(pixels, steps[0])
    row = next(row for row in found.rows if row.image == "0.png")
    assert row.metrics["bpp"] == pytest.approx(8 * len(data) / pixels[..., 0].size)
    shown = np.array(Image.open(io.BytesIO(data)).convert("RGB")).astype(float)
    assert row.metrics["psnr"] == pytest.approx(10 * np.log10(255**2 / ((shown - pixels) ** 2).mean()))


def test_the_list_says_what_is_missing(idem, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    shown = idem("baseline", "list").stdout
    assert "webp" in shown
    assert "pip install pillow-jxl-plugin (its licence is GPL-3.0)" in shown


def test_the_file_is_a_curve_that_compares_and_names_its_images(photos: Path, idem, tmp_path: Path) -> None:
    for name in ("webp", "jpeg-pillow"):
        words = ("--quality", "10..90..40", "--metrics", "bpp,psnr", "-o", tmp_path / f"{name}.json")
        assert idem("baseline", name, photos, *words).exit_code == 0
    content = json.loads((tmp_path / "webp.json").read_text())
    assert content["results"]["bpp"] == sorted(content["results"]["bpp"])
    assert len(content["protocol"]["pixels_sha256"]) == 16
    result = idem("compare", tmp_path / "jpeg-pillow.json", tmp_path / "webp.json", "--metrics", "psnr-rgb")
    assert result.exit_code == 0
    assert "BD-rate" in result.stdout


def test_reports_draw_it_on_the_same_images_and_refuse_it_on_others(photos: Path, tmp_path: Path) -> None:
    metrics, _ = build(choose_metrics(load_catalogue(), ["bpp", "psnr"]), Runtime.choose("cpu"))
    found, file = baseline_curve(BASELINES["webp"], Images(photos), metrics, (10, 90)), tmp_path / "webp.json"
    found.write(file)
    rows = [sweep_row(image={"name": str(k), "sha256": sha, "width": 1, "height": 1}) for k, sha in enumerate("ab")]
    pixels = [row.image.sha256 for row in rows]
    with pytest.raises(UsageError, match="other images than these"):
        given_curves([file], pixels)
    own = replace(found, protocol={"pixels_sha256": pixels_digest(reversed(pixels))})
    own.write(file)
    (reference,) = given_curves([file], pixels)
    assert reference.points("psnr") == own.points("psnr")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("wepb", "x"), "Did you mean 'webp'"),
        (("webp",), "Name them"),
        (("webp", "nowhere"), "nowhere is not there"),
        (("webp", "photos", "--quality", "20,101"), "not 0 to 100"),
        (("jpeg-pillow", "photos", "--quality", "0"), "not 1 to 100"),
        (("webp", "photos", "-o", "nowhere/x.json"), "there is no folder nowhere"),
        (("webp", "photos", "--quality", "1.5"), "not a whole number"),
        (("webp", "photos", "--metrics", "psnrr"), "psnr"),
    ],
)
def test_what_cannot_be_right_is_said_before_anything_is_measured(
    photos: Path, idem, monkeypatch, words, told: str
) -> None:
    monkeypatch.chdir(photos.parent)
    monkeypatch.setattr(Baseline, "bytes_of", lambda *_: pytest.fail("it measured"))
    result = idem("baseline", *words)
    assert result.exit_code == 2, result.stderr
    assert told in result.stderr


def test_an_encoder_that_is_not_here_stops_before_it_measures(photos: Path, idem, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    assert idem("baseline", "jxl", photos).exit_code == 4
    with pytest.raises(UsageError):
        baseline("gif")


def test_jpeg_2000_is_given_the_colour_transform_that_pillow_leaves_out():
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    data = BASELINES["jpeg2000"].bytes_of(pixels, 30)
    style = data.index(b"\xff\x52") + 4  # the marker COD, its length, then Scod, progression, layers (2), transform
    assert data[style + 4] == 1
