"""Four small photos, and `idem sweep` over them with the toy codec."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sweeping import QUICK, SWEEP

from idemcore.sweeps.store import Store


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three images of 16x16 pixels and one of 16x24."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, height in enumerate((16, 16, 24, 16)):
        pixels = np.random.default_rng(number).integers(0, 256, (height, 16, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def sweep(idem, photos: Path, tmp_path: Path):
    """`sweep("seed=0..1", store="a", ...)`: exit code, the summary, and the store."""

    def call(*arguments: object, store: str = "store", images: Path = photos):
        result = idem(*SWEEP, images, "--store", tmp_path / store, *QUICK, *arguments)
        told = json.loads(result.stdout) if result.stdout else {}
        return result, told, Store(tmp_path / store)

    return call
