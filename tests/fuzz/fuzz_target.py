"""What a fuzzing target is, and what targets share: pictures, a file to write to."""

from __future__ import annotations

import io
import random
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from idemcore.errors import IdemError

Run = Callable[[bytes], object]
Made = tuple[Run, Sequence[bytes], Sequence[bytes]]
"""What takes the bytes, whole inputs, and words that the parser looks for."""


@dataclass(frozen=True)
class Target:
    """Takes any bytes and either returns or raises an IdemError; anything else is a finding."""

    make: Callable[[], Made]
    repair: Callable[[random.Random, bytes], bytes] = lambda rng, data: data
    """Makes checksums right, now and then, so that what lies behind them is reached."""


def allowed(run: Run, data: bytes) -> IdemError | None:
    """What the target said to the bytes. Whatever else it raises passes through."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run(data)
    except IdemError as error:
        if not str(error).strip():
            raise ValueError("an error that says nothing") from error
        return error
    return None


@cache
def scratch(name: str) -> Path:
    """A file to write to, in memory where that is possible."""
    shared = Path("/dev/shm")
    folder = tempfile.mkdtemp(prefix="idem-fuzz-", dir=shared if shared.is_dir() else None)
    SCRATCH.append(folder)
    return Path(folder) / name


SCRATCH: list[str] = []
"""Folders to remove in the end."""


def as_file(read: Callable[[Path], object], name: str) -> Run:
    """A target that is given a file."""

    def run(data: bytes) -> object:
        path = scratch(name)
        path.write_bytes(data)
        return read(path)

    return run


def photo(side: int = 24, seed: int = 0) -> np.ndarray[Any, Any]:
    """Uint8 [side,side + 8,3]: shades and grain."""
    y, x = np.mgrid[0:side, 0 : side + 8]
    grain = np.random.default_rng(seed).integers(-40, 40, (side, side + 8, 3)) * (x > side // 2)[..., None]
    return (np.stack([6 * x, 9 * y, 128 + 3 * (x - y)], axis=-1) + grain).clip(0, 255).astype(np.uint8)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def one_in(chance: int, rng: random.Random) -> bool:
    return rng.randrange(chance) == 0
