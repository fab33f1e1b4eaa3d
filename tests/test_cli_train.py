"""`idem train` with a recipe that trains nothing: settings, progress and result."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from idemcore.cli.train import line
from idemcore.hookspecs import RecipeSpec
from idemcore.plugins.catalogue import Catalogue, Plugin

RECIPE = """
from dataclasses import dataclass

@dataclass
class Config:
    minutes: float = 9.0
    rate: float = 0.5

def train(data, out, config, device, progress):
    progress({"step": 1, "minutes": config.minutes / 2, "loss": 0.25})
    out.mkdir()
    (out / "weights.txt").write_text(f"{data.name} {config} {device.type}")
    return out / "weights.txt"
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    (tmp_path / "demo_recipe.py").write_text(RECIPE)
    monkeypatch.syspath_prepend(tmp_path)
    spec = RecipeSpec("demo", "demo_recipe:train", "a recipe", "demo_recipe:Config")
    catalogue = Catalogue([Plugin("demo", "1", "ok", "", (("recipe", spec),))])
    monkeypatch.setattr("idemcore.plugins.catalogue.load_catalogue", lambda: catalogue)
    (tmp_path / "photos").mkdir()


@pytest.mark.usefixtures("recipe")
def test_train_passes_settings_and_tells_loss(idem, tmp_path):
    out = tmp_path / "out"
    arguments = ("train", "demo", tmp_path / "photos", "--out", out, "--minutes", 2, "--device", "cpu")
    result = idem(*arguments, "--set", "train.rate=0.125", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == {"weights": str(out / "weights.txt"), "step": 1, "minutes": 1.0, "loss": 0.25}
    assert (out / "weights.txt").read_text() == "photos Config(minutes=2.0, rate=0.125) cpu"
    assert "loss 0.25" in result.stderr


@pytest.mark.usefixtures("recipe")
def test_train_refuses_unknown_settings(idem, tmp_path):
    result = idem("train", "demo", tmp_path / "photos", "--out", tmp_path / "out", "--set", "train.rat=1")
    assert result.exit_code == 2
    assert "train.rate" in result.stderr
    result = idem("train", "demo", tmp_path / "photos", "--out", tmp_path / "out", "--set", "solver.steps=1")
    assert result.exit_code == 2
    assert "train" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("recipe")
def test_resume_refuses_to_begin_anew(idem, tmp_path):
    arguments = ("train", "demo", tmp_path / "photos", "--out", tmp_path / "out", "--resume", "--device", "cpu")
    result = idem(*arguments)
    assert result.exit_code == 2
    assert "holds no checkpoint.pt to resume from" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_line_of_progress_fits_a_terminal():
    record = {"step": 123456, "minutes": 1234.5678, "crops": 98765432, "loss": -7.654321, "gain": 1.2345678}
    record |= {"score": 1.23456789, "best": 1.23456789, "4:2:0_10": 27.87654321, "grey_10": 29.87654321}
    assert (
        line({key: record[key] for key in ("step", "minutes", "loss")}, 60) == "1234.6/60 min  step 123456  loss -7.654"
    )
    assert len(line(record, 100000)) <= 80
    assert len(line(record, 100000, 44)) <= 44


@pytest.mark.usefixtures("recipe")
def test_train_takes_a_zip_file_and_refuses_other_files(idem, tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("photo.png", b"")
    result = idem("train", "demo", tmp_path / "photos.zip", "--out", tmp_path / "out", "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "out" / "weights.txt").read_text().startswith("photos.zip ")
    for data in (tmp_path / "demo_recipe.py", tmp_path / "absent"):
        result = idem("train", "demo", data, "--out", tmp_path / "other")
        assert result.exit_code == 2
        assert "neither a folder nor a zip file" in result.stderr


def test_the_bundled_recipe_refuses_a_folder_without_images(idem, tmp_path):
    result = idem("train", "ddpm", tmp_path, "--out", tmp_path / "out", "--device", "cpu")
    assert result.exit_code == 2
    assert "holds no images" in result.stderr


def test_the_bundled_recipe_trains_resumes_and_leaves_the_process_as_it_was(idem, tmp_path):
    (tmp_path / "photos").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photos" / "noise.png")
    small = ("train.channels=[8,8]", "train.crops=[16]", "train.scales=[1.0]", "train.pixels=1024", "train.blocks=1")
    arguments = ("train", "ddpm", tmp_path / "photos", "--out", tmp_path / "out", "--device", "cpu", "--json")
    arguments += tuple(word for setting in small for word in ("--set", setting))
    before = (torch.get_num_threads(), torch.get_rng_state())
    first = idem(*arguments, "--minutes", 0.001)
    assert first.exit_code == 0, first.stderr
    again = idem(*arguments, "--minutes", 0.04)
    assert json.loads(again.stdout)["minutes"] >= 0.04
    assert json.loads(again.stdout)["step"] > json.loads(first.stdout)["step"]
    assert {"checkpoint.pt", "samples.png", "weights.safetensors"} <= {p.name for p in (tmp_path / "out").iterdir()}
    assert torch.get_num_threads() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])
    assert torch.tensor(1e-40) / 2 > 0, "denormals are not flushed"
