"""The images of files, folders and zip files: listed, read one by one, framed alike; all at once for recipes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ..errors import IdemWarning, InputError, UsageError
from .images import Colour, decode_bytes
from .inputs import declare_input
from .walking import IMAGE_SUFFIXES, Source, contents, walk

WHITE: Colour = (255, 255, 255)


def sources(place: Path) -> list[Source]:
    """The images of a folder (and those in it) or a zip file, by name; a file of another kind stands for itself.

    Raises UsageError for a path that is not there, and for a folder or zip file without images.
    """
    if not place.exists():
        raise UsageError(f"{place} is not there.", "Name an image, a folder of images or a zip file of images.")
    if place.is_dir() or place.suffix.lower() == ".zip":
        return walk(place, IMAGE_SUFFIXES)
    declare_input(place)
    return [Source(place, place.name)]


@dataclass(frozen=True)
class Frame:
    """The part of an image that is used; at most one of the two is given."""

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
        """Uint8 [1,3,H,W]. Raises InputError for a file that is not an image, or is smaller than the crop."""
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

    One that cannot be read is left out with a warning. Raises UsageError if there are none, InputError for a damaged
    zip file.
    """
    for source, content in contents(walk(data, IMAGE_SUFFIXES)):
        try:
            yield decode_bytes(content, str(source), WHITE)[0]
        except InputError as error:
            warnings.warn(f"left out: {error.message.rstrip('.')}", IdemWarning, stacklevel=2)


def squares(data: Path, side: int) -> Tensor:
    """Uint8 [N,C,side,side]: the middle square of each image, resized; C is 1 if all are grey, else 3.

    Images smaller than `side` are left out with a warning. Raises InputError if no image is left.
    """
    kept = [_square(image, side) for image in pictures(data) if _large_enough(image, side)]
    if not kept:
        raise InputError(
            f"No image under {data} can be read and has {side} pixels or more a side.", "Bring larger ones."
        )
    images = torch.stack(kept)
    return images[:, :1].contiguous() if (images == images[:, :1]).all() else images


def _large_enough(image: Tensor, side: int) -> bool:
    if min(image.shape[1:]) < side:
        warnings.warn(f"left out: an image of {image.shape[2]}x{image.shape[1]} pixels", IdemWarning, stacklevel=3)
        return False
    return True


def _square(image: Tensor, side: int) -> Tensor:
    rgb = Image.fromarray(image.permute(1, 2, 0).numpy())
    fitted = ImageOps.fit(rgb, (side, side), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(fitted)).permute(2, 0, 1)
