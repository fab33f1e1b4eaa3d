"""`idem train elic`: a few seconds of it, from a folder of photographs to a file decoded with what it wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from idemcore.io.images import read_bytes, write_png


@pytest.fixture
def photos(tmp_path: Path, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two photographs; the network that is trained is the tiny one, and starts from a few crops."""
    monkeypatch.setattr("idemcore_elic.encoder.Elic", make.untrained)
    monkeypatch.setattr("idemcore.learned.training.KLT_CROPS", 8)
    (tmp_path / "photos").mkdir()
    for index, image in enumerate(make.picture(2, 96, 80)):
        write_png(image[None], tmp_path / "photos" / f"{index}.png")
    return tmp_path / "photos"


def test_what_training_writes_encodes_and_decodes(
    idem: Callable[..., Any], photos: Path, tmp_path: Path, photo: Path
) -> None:
    out = tmp_path / "out"
    words = ("train", "elic", photos, "--out", out, "--device", "cpu", "--json")
    words += (
        "--set",
        "train.crops=64",
        "--set",
        "train.batch=1",
        "--set",
        "train.lambdas=[0.01]",
        "--set",
        "train.first=1",
    )
    before = torch.get_num_threads(), torch.get_rng_state()
    first = idem(*words, "--minutes", 0.01)
    assert first.exit_code == 0, first.stderr
    again = idem(*words, "--minutes", 0.02)
    assert again.exit_code == 0, again.stderr
    told = json.loads(again.stdout)
    assert told["step"] > json.loads(first.stdout)["step"] > 0
    assert told["minutes"] >= 0.02
    assert told.keys() >= {"loss", "bpp", "psnr", "quality", "weights"}
    assert {path.name for path in out.glob("[!.]*")} == {
        "checkpoint.pt",
        "log.jsonl",
        "log.csv",
        "curves.png",
        "elic-1.safetensors",
    }
    assert torch.get_num_threads() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])

    chosen = ("--set", f"codec.weights={out}", "--device", "cpu")
    encoded = idem("encode", photo, "-o", tmp_path / "photo.idem", "--codec", "elic", "--quality", 1, *chosen)
    assert encoded.exit_code == 0, encoded.stderr
    decoded = idem("decode", tmp_path / "photo.idem", "-o", tmp_path / "decoded.png", "--mse", *chosen)
    assert decoded.exit_code in (0, 3), decoded.stderr
    assert read_bytes(tmp_path / "decoded.png").shape == read_bytes(photo).shape


def test_what_cannot_be_trained_is_refused_in_words(idem: Callable[..., Any], photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "none").mkdir()
    for data, words, code, told in (
        (tmp_path / "none", (), 2, "holds no images"),
        (photos, (), 1, "has 128 pixels or more a side"),
        (photos, ("--set", "train.crops=100"), 2, "multiple of 16"),
        (photos, ("--set", "train.first=9"), 2, "first must be a quality from 1 to 4"),
        (photos, ("--set", "train.lambda=1"), 2, "train.lambdas"),
    ):
        result = idem("train", "elic", data, "--out", out, "--device", "cpu", *words)
        assert result.exit_code == code, result.stderr
        assert told in " ".join(result.stderr.split())
        assert not out.exists()
