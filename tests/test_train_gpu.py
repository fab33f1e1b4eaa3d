"""`benchmarks/train_gpu.sh`, which is for a GPU, in small on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "train_gpu.sh"
SMALL = ("channels=[8,8]", "blocks=1", "crops=[32]", "pixels=4096", "scales=[1.0]", "validate_minutes=0.02")


@pytest.mark.slow
def test_a_training_at_full_throughput_says_how_full_it_is_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for seed in range(3):
        pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{seed}.png")
    command = [str(SCRIPT), str(tmp_path / "photos"), str(tmp_path / "out"), *(f"train.{s}" for s in SMALL)]
    for minutes in (0.05, 0.1):
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {**os.environ, "MINUTES": str(minutes), "PATH": path, "CUDA_VISIBLE_DEVICES": ""}
        shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        assert "TFLOP/s in a large product of matrices" in shown
        assert "crops/s" in shown
        assert f"weights: {tmp_path / 'out' / 'weights.safetensors'}" in shown
    assert {"checkpoint.pt", "curves.png", "log.csv"} <= {path.name for path in (tmp_path / "out").iterdir()}
