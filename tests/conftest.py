"""Small images and the command line in process, for all tests of the core."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from idemcore.cli import main

Idem = Callable[..., Result]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A 40x24 PNG with a smooth part and a textured one."""
    y, x = np.mgrid[0:24, 0:40]
    texture = np.random.default_rng(0).integers(-40, 40, (24, 40, 3)) * (x > 20)[..., None]
    pixels = np.stack([6 * x, 10 * y, 128 + 3 * (x - y)], axis=-1) + texture
    path = tmp_path / "photo.png"
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def idem() -> Idem:
    """`idem("run", path, ...)`: the command line with these arguments; `.stdout`, `.stderr`, `.exit_code`."""

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="idem")

    return call
