"""The album as a zip file that is sent while it is packed, so that it needs neither memory nor disk."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from .album import Album
from .checking import with_suffix

_CHUNK = 2**20
Entry = tuple[str, Path]
"""A name in the zip file, and the file."""


def entries(album: Album) -> list[Entry]:
    """The first finished version of each photograph, with its certificate; no name occurs twice."""
    found: list[Entry] = []
    taken: set[str] = set()
    for photo in album.photos.values():
        version = next((version for version in photo.versions if version.state == "done"), None)
        if version is None:
            continue
        name = _free(with_suffix(photo.name, ".png"), taken)
        folder = album.folder(photo)
        found.append((name, folder / f"{version.layer}.png"))
        found.append((with_suffix(name, ".certificate.json"), folder / f"{version.layer}.certificate.json"))
    return found


def packed(files: Sequence[Entry]) -> Iterator[bytes]:
    """The zip file, piece by piece; a file that is gone meanwhile is left out. PNGs are stored as they are."""
    pipe = _Pipe()
    with ZipFile(pipe, "w", ZIP_STORED) as archive:
        for name, path in files:
            try:
                source = open(path, "rb")  # noqa: SIM115
            except OSError:
                continue
            with source, archive.open(_info(name, path), "w") as target:
                while chunk := source.read(_CHUNK):
                    target.write(chunk)
                    yield pipe.taken()
    yield pipe.taken()


def _info(name: str, path: Path) -> ZipInfo:
    stat = path.stat()
    info = ZipInfo(name, time.localtime(max(stat.st_mtime, 315619200))[:6])  # a zip file knows no time before 1980
    info.file_size = stat.st_size
    return info


def _free(name: str, taken: set[str]) -> str:
    """The name, or one with a number where files of several folders or suffixes have it; case does not tell apart."""
    stem, number, free = name.removesuffix(".png"), 1, name
    while free.casefold() in taken:
        number += 1
        free = f"{stem}-{number}.png"
    taken.add(free.casefold())
    return free


class _Pipe(io.RawIOBase):
    """Takes what is written, and gives it away; it cannot go back."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.parts.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        """What was written since the last call."""
        whole, self.parts = b"".join(self.parts), []
        return whole
