"""The images of a sweep: files, folders and zip files to pixels, which are what identifies an image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

from ..errors import IdemError, InputError
from ..io.image_sets import WHOLE, Frame, sources
from ..io.walking import Source
from ..pipeline.certificate import pixels_sha256
from ..results.rows import ImageFacts

Pixels = npt.NDArray[np.uint8]
"""[H,W,3], sRGB."""


@dataclass(frozen=True)
class Picture:
    """An image on disk, as `frame` shows it."""

    source: Source
    sha256: str
    """Of its pixels."""
    width: int
    height: int
    frame: Frame = WHOLE

    @property
    def facts(self) -> ImageFacts:
        """For a row."""
        return ImageFacts(self.source.name, self.sha256, self.width, self.height)

    @property
    def key(self) -> str:
        """What its file in a store is called."""
        return f"{self.sha256[:16]}-orig"

    def pixels(self) -> Pixels:
        """Read again, since a thousand images never sit in memory. Raises InputError if the file changed."""
        image = self.frame.read(self.source)
        if pixels_sha256(image) != self.sha256:
            raise InputError(f"{self.source} changed while the sweep ran.", "Type the sweep again.")
        return as_pixels(image)


def open_pictures(
    places: Iterable[str],
    frame: Frame = WHOLE,
    limit: int | None = None,
) -> tuple[list[Picture], list[IdemError]]:
    """The first `limit` images of files, folders and zip files, and the errors of those that cannot be read.

    Raises UsageError for a path that is not there, and for a folder or zip file without images.
    """
    found, errors = [], list[IdemError]()
    for source in list(chain.from_iterable(sources(Path(place)) for place in places))[:limit]:
        try:
            image = frame.read(source)
        except InputError as error:
            errors.append(error)
            continue
        found.append(Picture(source, pixels_sha256(image), image.shape[-1], image.shape[-2], frame))
    return found, errors


def as_pixels(image: Tensor) -> Pixels:
    """Wraps uint8 [1,3,H,W]."""
    return np.ascontiguousarray(image[0].permute(1, 2, 0).numpy())
