"""The files of a folder or zip file that a command takes: one rule and one list of suffixes for all commands.

Hidden files and the companions that macOS adds (`._name`, `__MACOSX/`) are passed over, and so is what the same command
writes. Files of other kinds are counted, so that none is left out without a word.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from glob import glob, has_magic
from os.path import lexists
from pathlib import Path, PurePosixPath, PureWindowsPath
from zipfile import BadZipFile, ZipFile, ZipInfo

from ..errors import IdemError, IdemWarning, InputError, UsageError
from . import remote
from .files import read_file
from .inputs import declare_input, result_folders
from .limits import max_file_bytes

JPEG_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jps", ".mpo"})
"""JPEG files; .jps and .mpo hold a second picture, which is not read."""
IMAGE_SUFFIXES = JPEG_SUFFIXES | {".png", ".webp", ".bmp", ".tif", ".tiff"}
BITSTREAM_SUFFIXES = JPEG_SUFFIXES | {".idem"}
"""What is taken for a bitstream, beside the suffixes of installed codecs."""
MOST_KINDS = 5
"""Suffixes that the note of what is left out names."""


@dataclass(frozen=True)
class Source:
    """Where a file is: on the disk, or a member of a zip file."""

    path: Path
    name: str
    """Within the folder or zip file that was named, with slashes."""
    zipped: bool = False
    address: str = ""
    """Such as s3://bucket/a.jpg, of a file that is on no disk here; `path` is then its name alone."""
    length: int = 0
    """Bytes of a file at an address."""

    def __str__(self) -> str:
        return self.address or (f"{self.path}/{self.name}" if self.zipped else str(self.path))

    @property
    def size(self) -> int:
        """Bytes; 0 if it cannot be told without reading."""
        try:
            return self.length if self.zipped or self.address else self.path.stat().st_size
        except OSError:
            return 0

    def content(self) -> bytes:
        """The file's bytes. Raises UsageError for a path that cannot be right, InputError for a damaged zip file."""
        if self.address:
            return remote.read(self.address)
        if not self.zipped:
            return read_file(self.path)
        with opened(self.path) as archive:
            return _unzipped(archive, archive.getinfo(self.name))


def expanded(given: Sequence[str]) -> list[Path]:
    """The paths, each once; a pattern such as `photos/*.jpg` or `**/*.jpg` gives what it matches, by name.

    Most shells have done so before; that of Windows, and quotes, leave it to us. Hidden files are matched by their own
    dots only. Raises UsageError for a pattern that matches nothing.
    """
    found: dict[Path, None] = {}
    for text in given:
        if not has_magic(text) or lexists(text):
            found[Path(text)] = None
            continue
        matched = [path for path in map(Path, sorted(glob(text, recursive=True))) if not path.is_dir()]
        if not matched:
            raise UsageError(f"No file matches {text}.", "Check the pattern, or name a folder.")
        found |= dict.fromkeys(matched)
    declare_input(*found)
    return list(found)


def contents(found: Sequence[Source]) -> Iterator[tuple[Source, bytes]]:
    """Each file with its bytes; a zip file is opened once. Raises as `Source.content`."""
    if not found or not found[0].zipped:
        yield from ((source, source.content()) for source in found)
        return
    with opened(found[0].path) as archive:
        for source in found:
            yield source, _unzipped(archive, archive.getinfo(source.name))


def walk(place: Path | str, suffixes: Collection[str], what: str = "images") -> list[Source]:
    """The files with these suffixes (lower case) in a folder, and those in it, or in a zip file, by name.

    A string is an address, of a folder unless it ends with one of the suffixes. Files here are declared as inputs. A
    note counts the files that are left out. Raises UsageError if none is found, or for a place that is neither;
    InputError for a damaged zip file.
    """
    if isinstance(place, Path):
        declare_input(place)
    everything = _everything(place) if isinstance(place, Path) else _everything_at(place, suffixes)
    found = [source for source in _safe(everything, place) if not is_hidden(source.name)]
    taken = [source for source in found if _suffix(source.name) in suffixes]
    others = Counter(_suffix(source.name) or "no suffix" for source in found if _suffix(source.name) not in suffixes)
    if not taken:
        seen = f" It has {_counted(others)}." if others else ""
        raise UsageError(f"{place} holds no {what}.{seen}", f"Expected are {', '.join(sorted(suffixes))} files.")
    if others:
        warnings.warn(f"{place}: left out {_counted(others)}", IdemWarning, stacklevel=2)
    declare_input(*(source.path for source in taken if not (source.zipped or source.address)))
    return taken


def is_hidden(name: str) -> bool:
    """Is it, or a folder that it is in, hidden, or a companion that macOS made? `name` has slashes."""
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def _safe(found: Iterable[Source], place: Path | str) -> Iterator[Source]:
    """All but what a zip file or a server names so that a result of that name would lie outside of its folder."""
    for source in found:
        if (source.zipped or source.address) and _leads_outside(source.name):
            warnings.warn(f"{place}: left out {source.name!r}, which leads elsewhere", IdemWarning, stacklevel=3)
        else:
            yield source


def _leads_outside(name: str) -> bool:
    """On any system: /a, ../a, C:a, and so on."""
    windows = PureWindowsPath(name)
    return bool(PurePosixPath(name).root or windows.anchor or ".." in windows.parts)


def _everything(place: Path) -> Iterator[Source]:
    if place.is_dir():
        own = result_folders(place)
        for path in sorted(place.rglob("*")):
            if path.is_file() and not (own and set(own) & set(path.resolve().parents)):
                yield Source(path, path.relative_to(place).as_posix())
        return
    with opened(place) as archive:
        for name in sorted(archive.namelist()):
            if not name.endswith("/"):
                yield Source(place, name, zipped=True)


def _everything_at(address: str, suffixes: Collection[str]) -> Iterator[Source]:
    if _suffix(address) in suffixes:
        name = PurePosixPath(address).name
        yield Source(Path(name), name, address=address, length=remote.size(address))
        return
    for name, length in remote.listed(address):
        yield Source(Path(name), name, address=remote.below(address, name), length=length)


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _counted(kinds: Counter[str]) -> str:
    """`3 files: 2 .txt, 1 .nef`."""
    named = [f"{count} {kind}" for kind, count in kinds.most_common(MOST_KINDS)]
    more = [f"{sum(kinds.values()) - sum(count for _, count in kinds.most_common(MOST_KINDS))} others"]
    total = sum(kinds.values())
    files = "1 file" if total == 1 else f"{total} files"
    return f"{files}: {', '.join(named + (more if len(kinds) > MOST_KINDS else []))}"


def _unzipped(archive: ZipFile, entry: ZipInfo) -> bytes:
    """Unzips an entry, unless it claims or turns out to be larger than any file that idem reads."""
    limit = max_file_bytes()
    with archive.open(entry) as file:
        content = file.read(limit + 1) if entry.file_size <= limit else b""
    if entry.file_size > limit or len(content) > limit:
        raise BadZipFile(f"{entry.filename} in it has more than {limit:,} bytes")
    return content


@contextmanager
def opened(archive: Path) -> Iterator[ZipFile]:
    """Raises InputError if it is damaged."""
    try:
        with ZipFile(archive) as file:
            yield file
    except IdemError:
        raise
    except Exception as error:  # zipfile and its decompressors raise whatever their parsing meets
        raise InputError(f"The zip file {archive} cannot be read: {error}.", "Pack it again.") from error
