"""The recipe: it learns, and goes on where it was stopped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from myplugin import TrainingConfig
from myplugin.train import train


def test_it_learns_and_goes_on(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    (tmp_path / "photos").mkdir()
    Image.fromarray(pixels).resize((96, 96)).save(tmp_path / "photos" / "a.png")
    told: list[dict[str, float]] = []
    for minutes in (0.02, 0.04):
        config = TrainingConfig(minutes=minutes, crop=16, batch=4)
        weights = train(tmp_path / "photos", tmp_path / "out", config, torch.device("cpu"), told.append)
        assert weights.is_file()
    steps = [record["step"] for record in told]
    assert steps == sorted(steps)
    assert told[-1]["loss"] < told[0]["loss"]
