"""What a browser sends, looked at before it is kept: is it a picture, how large, and what is it called? No torch."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image, UnidentifiedImageError

from idemcore.io.limits import RAISE, too_large

from .album import Kind

JPEG, CONTAINER = b"\xff\xd8\xff", b"\x1dem"
PICTURES = ("PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
BEGINNINGS = (JPEG, b"\x89PNG", b"RIFF", b"II*\0", b"MM\0*", b"BM", b"GIF8")
ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)
LONGEST_NAME = 200
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Looked:
    """What an upload is."""

    kind: Kind
    size: tuple[int, int] | None
    """(width, height) upright; None where only its codec can tell."""


class Refused(Exception):
    """An upload that is not kept, with what to do instead."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def look(path: Path, name: str) -> Looked:
    """Raises Refused for what is not a picture or too large."""
    with open(path, "rb") as file:
        begin = file.read(16)
    if not begin:
        raise Refused(f"{name} is empty.")
    if begin.startswith(CONTAINER):
        return Looked("idem", None)
    try:
        with warnings.catch_warnings(), Image.open(path, formats=("JPEG", *PICTURES)) as image:
            warnings.simplefilter("ignore")
            size = image.size
            if fault := too_large(size[1], size[0]):
                raise Refused(f"{name} is too large: {fault}.", RAISE)
            exif = image.getexif()  # of a PNG, which may have it at its end, this decodes the picture
    except Refused:
        raise
    except Image.DecompressionBombError:
        raise Refused(f"{name} is too large: it has more pixels than idem reads.", RAISE) from None
    except UnidentifiedImageError:
        kind = (
            "is damaged: only its first bytes are a picture's" if begin.startswith(BEGINNINGS) else "is not a picture"
        )
        hint = "Drop JPEG, PNG, WebP, TIFF or .idem files."
        raise Refused(f"{name} {kind}; it begins with {begin[:8]!r}.", hint) from None
    except Exception as error:  # Pillow raises whatever its parsing meets
        raise Refused(f"{name} is damaged: {error}.", "Fetch the file again.") from error
    turned = _orientation(exif) in TURNED
    return Looked("jpeg" if begin.startswith(JPEG) else "picture", size[::-1] if turned else size)


def _orientation(exif: Any) -> int:
    value = exif.get(ORIENTATION, 1)
    return value if isinstance(value, int) else 1


def clean_name(given: str) -> str:
    """What a file is called here: no way out of a folder, nothing that a terminal or a file system stumbles over.

    Folders in it are kept, as the user dropped them; it is never used as a path on this machine.
    """
    parts = [_clean(part) for part in re.split(r"[\\/]+", given)]
    kept = [part for part in parts if part not in ("", ".", "..")]
    name = "/".join(kept)[-LONGEST_NAME:].lstrip("/ ")
    return name or "photograph"


def _clean(part: str) -> str:
    part = "".join("_" if not letter.isprintable() or letter in '<>:"|?*' else letter for letter in part)
    part = part.strip().rstrip(".")
    return f"_{part}" if _RESERVED.fullmatch(part) else part


def with_suffix(name: str, suffix: str) -> str:
    """`holiday/a.jpg` -> `holiday/a.png`."""
    return str(PurePosixPath(name).with_suffix(suffix)) if PurePosixPath(name).stem else f"{name}{suffix}"
