"""The images of a folder or a zip file, for recipes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from zipfile import BadZipFile, ZipFile
from zlib import error as ZlibError

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from .errors import InputError
from .files import read_file
from .imageio import Colour, decode_bytes

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
WHITE: Colour = (255, 255, 255)


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
    try:
        with ZipFile(data) as archive:
            for name in sorted(archive.namelist()):
                if Path(name).suffix.lower() in IMAGE_SUFFIXES:
                    yield data / name, archive.read(name)
    except (BadZipFile, ZlibError, RuntimeError) as error:  # RuntimeError: it is encrypted
        raise InputError(f"The zip file {data} cannot be read: {error}.") from error
