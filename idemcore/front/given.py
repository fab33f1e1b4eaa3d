"""The images of a study, from wherever they are: folders, zip files, files, arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..evaluation.evaluation import Images
from ..io.arrays import as_images
from ..io.image_sets import Frame, sources
from ..io.images import png_bytes, to_bytes
from ..io.walking import Source


@dataclass(frozen=True)
class Held(Source):
    """An image of this process."""

    data: bytes = b""

    def content(self) -> bytes:
        """A PNG."""
        return self.data


@dataclass(frozen=True)
class ByPath(Source):
    """One of several of one name, called by its path: a name says which draws are of one image."""

    other: Source | None = None

    def content(self) -> bytes:
        assert self.other
        return self.other.content()


@dataclass(frozen=True)
class Given(Images):
    """A list of images: paths, tensors, arrays, Pillow images."""

    given: tuple[Source, ...] = ()

    @property
    def sources(self) -> list[Source]:
        """In the order in which they were given."""
        return list(self.given)[: self.limit]


def images_of(given: Any, crop: int | None = None, size: int | None = None, limit: int | None = None) -> Images:
    """The images in a folder, a zip file or a list, or a single one. Raises UsageError for anything else."""
    frame = Frame(crop, size)
    if isinstance(given, str | PathLike):
        return Images(Path(given), frame, limit)
    listed = given if isinstance(given, Sequence) else [given]
    found = [source for number, one in enumerate(listed) for source in _sources(one, number)]
    if not found:
        raise UsageError("There are no images.", "Give a folder, a zip file, or a list of images.")
    names = Counter(source.name for source in found)
    apart = (source if names[source.name] == 1 else ByPath(source.path, str(source), other=source) for source in found)
    return Given(Path("images"), frame, limit, tuple(apart))


def _sources(one: Any, number: int) -> list[Source]:
    if isinstance(one, str | PathLike):
        return sources(Path(one))
    batch = to_bytes(as_images(one, f"image {number}"))
    names = [f"image-{number}"] if len(batch) == 1 else [f"image-{number}-{k}" for k in range(len(batch))]
    return [Held(Path(name), name, data=png_bytes(image)) for name, image in zip(names, batch, strict=True)]
