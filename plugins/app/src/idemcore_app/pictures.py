"""Smaller copies and pieces of a photograph's pictures, for the page; and where its versions differ. No torch."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from idemcore.io.files import atomic_write

PREVIEW = 1600
"""Longest side of the copy that the page shows first."""
THUMB = 192
TILE = 1024
"""Side of the pieces in which the page fetches what is larger, pixels."""
STRIP = 256
"""Rows that are looked at together."""
LEAST_BLOCK = 4
"""Side of what the map of the spread averages over, pixels."""
FULL_SPREAD = 24.0
"""Standard deviation, in levels of 255, that the map shows in its strongest colour."""
_COLOURS = ((0, (20, 24, 60, 0)), (0.15, (60, 40, 140, 90)), (0.4, (190, 50, 120, 170)), (0.7, (250, 130, 60, 215)),
            (1, (255, 235, 120, 240)))  # fmt: skip
"""Of the map, from no difference (transparent) to `FULL_SPREAD`."""


def preview(picture: Path, size: int = PREVIEW) -> Path:
    """A copy with no side longer than `size`, made once; a PNG of ours itself where it is no larger."""
    if picture.suffix == ".png":
        with Image.open(picture) as image:
            if max(image.size) <= size:
                return picture
    return _once(picture.with_name(f"view-{picture.stem}-{size}.webp"), partial(_smaller, picture, size))


def thumb(folder: Path) -> Path | None:
    """A small copy of a photograph, whatever of it is there; None if nothing is."""
    sources = [folder / name for name in ("before.png", "file")]
    target = folder / "view-thumb.webp"
    for source in (path for path in sources if path.exists()):
        try:
            return _once(target, partial(_smaller, source, THUMB))
        except Exception:  # Pillow raises whatever its parsing meets: a damaged file has no small copy
            continue
    return None


def tile(picture: Path, column: int, row: int) -> bytes | None:
    """A PNG of one piece; None if the picture ends before it."""
    pixels, icc = _pixels(picture, picture.stat().st_mtime_ns)
    top, left = row * TILE, column * TILE
    if top >= pixels.shape[0] or left >= pixels.shape[1]:
        return None
    return _png(Image.fromarray(pixels[top : top + TILE, left : left + TILE]), icc)


def spread(pictures: Sequence[Path], target: Path) -> tuple[float, float]:
    """Writes a map of the standard deviation over pictures of one size; returns its mean and 99.9th percentile.

    In levels of 255: the root of the variance (n - 1 in its denominator), averaged over the three channels and over
    blocks of pixels: of few pictures, that of a single pixel is mostly chance.
    """
    stack = [np.asarray(Image.open(path).convert("RGB")) for path in pictures]
    height, width = stack[0].shape[:2]
    block = max(LEAST_BLOCK, math.ceil(max(height, width) / PREVIEW))
    rows = [_deviation([one[top : top + STRIP * block] for one in stack], block)
            for top in range(0, height, STRIP * block)]  # fmt: skip
    deviation = np.concatenate(rows)
    mapped = _coloured(np.minimum(deviation / FULL_SPREAD, 1))
    atomic_write(target, _png(Image.fromarray(mapped, "RGBA"), b""))
    return float(deviation.mean()), float(np.percentile(deviation, 99.9))


def _deviation(stack: Sequence[npt.NDArray[np.uint8]], block: int) -> npt.NDArray[np.float32]:
    values = np.stack(stack).astype(np.float32)
    variance = values.var(axis=0, ddof=1).mean(axis=-1)
    rows, columns = (math.ceil(side / block) for side in variance.shape)
    padding = [(0, count * block - side) for count, side in zip((rows, columns), variance.shape, strict=True)]
    padded = np.pad(variance, padding, mode="edge")
    found: npt.NDArray[np.float32] = np.sqrt(padded.reshape(rows, block, columns, block).mean(axis=(1, 3)))
    return found


def _coloured(share: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    places = [place for place, _ in _COLOURS]
    channels = [np.interp(share, places, [colour[c] for _, colour in _COLOURS]) for c in range(4)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


@lru_cache(maxsize=4)
def _pixels(picture: Path, _changed: int) -> tuple[npt.NDArray[np.uint8], bytes]:
    """uint8 [H,W,3] and the colour profile. A few pictures are kept: pieces of one are asked for together."""
    with Image.open(picture) as image:
        return np.asarray(image.convert("RGB")), image.info.get("icc_profile") or b""


def _smaller(picture: Path, size: int) -> bytes:
    with Image.open(picture) as opened:
        icc = opened.info.get("icc_profile") or b""
        if opened.format in ("JPEG", "MPO"):
            opened.draft("RGB", (2 * size, 2 * size))
        image = ImageOps.exif_transpose(opened).convert("RGB")
    image.thumbnail((size, size), Image.Resampling.LANCZOS, reducing_gap=3)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=92, method=2, icc_profile=icc)
    return buffer.getvalue()


def _png(image: Image.Image, icc: bytes) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1, icc_profile=icc or None)
    return buffer.getvalue()


def _once(target: Path, make: Callable[[], bytes]) -> Path:
    if not target.exists():
        atomic_write(target, make())
    return target
