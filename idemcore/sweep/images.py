"""The images of a sweep: files and folders to pixels, which are what identifies an image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from ..errors import IdemError, InputError, UsageError
from ..imageio import read_bytes
from ..pictures import IMAGE_SUFFIXES
from ..pipeline import pixels_sha256

Pixels = npt.NDArray[np.uint8]
"""[H,W,3], sRGB."""


@dataclass(frozen=True)
class Picture:
    """An image on disk, cropped and resized to `size` if that is given."""

    path: Path
    name: str
    """Its path within the folder that was named."""
    sha256: str
    """Of its pixels."""
    width: int
    height: int
    size: int | None = None

    @property
    def facts(self) -> dict[str, str | int]:
        """For a row."""
        return {"name": self.name, "sha256": self.sha256, "width": self.width, "height": self.height}

    @property
    def key(self) -> str:
        """What its file in a store is called."""
        return f"{self.sha256[:16]}-orig"

    def pixels(self) -> Pixels:
        """Read again, since a thousand images never sit in memory. Raises InputError if the file changed."""
        pixels = load(self.path, self.size)
        if _sha256(pixels) != self.sha256:
            raise InputError(f"{self.path} changed while the sweep ran.", "Type the sweep again.")
        return pixels


def open_pictures(
    places: Iterable[str], size: int | None = None, limit: int | None = None
) -> tuple[list[Picture], list[IdemError]]:
    """The first `limit` images of files and folders, and the errors of those that cannot be read.

    Raises UsageError for a path that is not there or a folder without images.
    """
    found, errors = [], list[IdemError]()
    for path, name in list(_files(places))[:limit]:
        try:
            pixels = load(path, size)
        except InputError as error:
            errors.append(error)
            continue
        found.append(Picture(path, name, _sha256(pixels), pixels.shape[1], pixels.shape[0], size))
    return found, errors


def load(path: Path, size: int | None = None) -> Pixels:
    """With `size`, the middle square, resized (bicubic) as the paper does. Raises InputError."""
    pixels: Pixels = read_bytes(path)[0].permute(1, 2, 0).contiguous().numpy()
    if size is None:
        return pixels
    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(pixels).crop((left, top, left + side, top + side))
    return np.array(square.resize((size, size), Image.Resampling.BICUBIC))


def _sha256(pixels: Pixels) -> str:
    return pixels_sha256(torch.from_numpy(pixels).permute(2, 0, 1)[None])


def _files(places: Iterable[str]) -> Iterator[tuple[Path, str]]:
    """Path and name of each image, by name within a folder."""
    for place in map(Path, places):
        if not place.is_dir():
            yield place, place.name
            continue
        inside = [path for path in sorted(place.rglob("*")) if path.suffix.lower() in IMAGE_SUFFIXES]
        if not inside:
            hint = f"Expected are {', '.join(sorted(IMAGE_SUFFIXES))} files."
            raise UsageError(f"The folder {place} holds no images.", hint)
        yield from ((path, path.relative_to(place).as_posix()) for path in inside)
