"""What the nodes do, without chaiNNer.

Its images are float32 arrays [H,W,3] in [0,1], channels in the order blue, green, red; or [H,W], grey. Inputs are
read-only, and nodes change no file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import idemcore as idem

Array = npt.NDArray[np.float32]


def restored(path: Path, seed: int, naturalness: float) -> Array:
    """A natural picture of a JPEG or .idem file; `naturalness` in percent, 0 is nearest to the original."""
    return for_host(idem.decode(path, seed=seed, tradeoff=naturalness / 100))


def made_exact(image: Array, path: Path) -> Array:
    """The nearest picture to an image of the file's size that re-encodes to the file."""
    colours = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
    return for_host(idem.certify(np.ascontiguousarray(colours[..., 2::-1]), path))


def for_host(picture: Any) -> Array:
    """Of a `Picture`."""
    pixels = picture.image[0].permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(pixels[..., ::-1]).astype(np.float32) / np.float32(255)
