"""The images of files, folders and zip files: listed, read one by one, framed alike; all at once for recipes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile, ZipFile, ZipInfo

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ..errors import IdemError, InputError, UsageError
from .files import read_file
from .images import Colour, decode_bytes
from .limits import max_file_bytes

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
WHITE: Colour = (255, 255, 255)


@dataclass(frozen=True)
class Source:
    """Where an image is: a file, or a member of a zip file."""

    path: Path
    name: str
    """Within the folder or zip file that was named, with slashes."""
    zipped: bool = False

    def __str__(self) -> str:
        return f"{self.path}/{self.name}" if self.zipped else str(self.path)

    def content(self) -> bytes:
        """The file's bytes. Raises UsageError for a path that cannot be right, InputError for a damaged zip file."""
        if not self.zipped:
            return read_file(self.path)
        with _opened(self.path) as archive:
            return _unzipped(archive, archive.getinfo(self.name))


def sources(place: Path) -> list[Source]:
    """The images of a folder (and those in it) or a zip file, by name; a file of another kind stands for itself.

    Raises UsageError for a path that is not there, and for a folder or zip file without images.
    """
    if not place.exists():
        raise UsageError(f"{place} is not there.", "Name an image, a folder of images or a zip file of images.")
    if place.is_dir():
        found = [Source(path, path.relative_to(place).as_posix()) for path in sorted(place.rglob("*"))]
    elif place.suffix.lower() == ".zip":
        with _opened(place) as archive:
            found = [Source(place, name, zipped=True) for name in sorted(archive.namelist())]
    else:
        return [Source(place, place.name)]
    found = [source for source in found if Path(source.name).suffix.lower() in IMAGE_SUFFIXES]
    if not found:
        raise UsageError(f"{place} holds no images.", f"Expected are {', '.join(sorted(IMAGE_SUFFIXES))} files.")
    return found


@dataclass(frozen=True)
class Frame:
    """Which part of an image is used; at most one of the two is given."""

    crop: int | None = None
    """Side of the square cut from the middle, pixels."""
    size: int | None = None
    """Side to which the largest square in the middle is resized (bicubic), pixels; the paper's rule, with 256."""

    def __post_init__(self) -> None:
        if self.crop and self.size:
            raise UsageError("--crop and --size exclude each other.", "--size N cuts out the middle square itself.")

    @property
    def rule(self) -> str:
        """For people."""
        if self.size:
            return f"middle square resized to {self.size}x{self.size}"
        return f"centre {self.crop}x{self.crop}" if self.crop else "whole images"

    def read(self, source: Source) -> Tensor:
        """Uint8 [1,3,H,W]. Raises InputError for a file that is no image, or is smaller than the crop."""
        image = decode_bytes(source.content(), str(source))
        height, width = image.shape[-2:]
        if self.crop and min(height, width) < self.crop:
            hint = f"Use --crop {min(height, width)}, or leave it out."
            raise InputError(f"{source} is {width}x{height}, smaller than the crop.", hint)
        if not (side := self.crop or (self.size and min(height, width))):
            return image
        top, left = (height - side) // 2, (width - side) // 2
        square = image[..., top : top + side, left : left + side].contiguous()
        return _resized(square, self.size) if self.size else square


WHOLE = Frame()


def _resized(square: Tensor, size: int) -> Tensor:
    rgb = Image.fromarray(square[0].permute(1, 2, 0).numpy()).resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(rgb)).permute(2, 0, 1)[None].contiguous()


def pictures(data: Path) -> Iterator[Tensor]:
    """Uint8 [3,H,W] of each image in a folder (and those in it) or a zip file, by name; transparent ones on white.

    One that cannot be read is left out with a warning. Raises InputError if there are none, or the zip is damaged.
    """
    found = False
    for name, content in _files(data):
        found = True
        try:
            yield decode_bytes(content, name, WHITE)[0]
        except InputError as error:
            warnings.warn(f"left out: {error.message}", stacklevel=2)
    if not found:
        raise InputError(f"{data} holds no images.", f"Expected are {', '.join(sorted(IMAGE_SUFFIXES))} files.")


def squares(data: Path, side: int) -> Tensor:
    """Uint8 [N,C,side,side]: the middle square of each image, resized; C is 1 if all are grey, else 3.

    Images smaller than `side` are left out with a warning. Raises InputError if no image is left.
    """
    kept = [_square(image, side) for image in pictures(data) if _large_enough(image, side)]
    if not kept:
        raise InputError(f"Every image under {data} is smaller than {side} pixels.", "Bring larger images.")
    images = torch.stack(kept)
    return images[:, :1].contiguous() if (images == images[:, :1]).all() else images


def _large_enough(image: Tensor, side: int) -> bool:
    if min(image.shape[1:]) < side:
        warnings.warn(f"left out: an image of {image.shape[2]}x{image.shape[1]} pixels", stacklevel=3)
        return False
    return True


def _square(image: Tensor, side: int) -> Tensor:
    rgb = Image.fromarray(image.permute(1, 2, 0).numpy())
    fitted = ImageOps.fit(rgb, (side, side), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(fitted)).permute(2, 0, 1)


def _files(data: Path) -> Iterator[tuple[Path, bytes]]:
    """Path and content of each file that is named like an image."""
    if data.is_dir():
        for path in sorted(data.rglob("*")):
            if path.suffix.lower() in IMAGE_SUFFIXES:
                yield path, read_file(path)
        return
    with _opened(data) as archive:
        for entry in sorted(archive.infolist(), key=lambda entry: entry.filename):
            if Path(entry.filename).suffix.lower() in IMAGE_SUFFIXES:
                yield data / entry.filename, _unzipped(archive, entry)


def _unzipped(archive: ZipFile, entry: ZipInfo) -> bytes:
    """Of an entry that does not claim, nor turns out, to be larger than any file that is read."""
    limit = max_file_bytes()
    with archive.open(entry) as file:
        content = file.read(limit + 1) if entry.file_size <= limit else b""
    if entry.file_size > limit or len(content) > limit:
        raise BadZipFile(f"{entry.filename} in it has more than {limit:,} bytes")
    return content


@contextmanager
def _opened(data: Path) -> Iterator[ZipFile]:
    """Raises InputError if it is damaged."""
    try:
        with ZipFile(data) as archive:
            yield archive
    except IdemError:
        raise
    except Exception as error:  # zipfile and its decompressors raise whatever their parsing meets
        raise InputError(f"The zip file {data} cannot be read: {error}.", "Pack it anew.") from error
