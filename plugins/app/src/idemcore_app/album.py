"""The photographs and what became of them, on the disk: a folder each, which a restart finds as it was left.

    FOLDER/photos/ID/photo.json                 what is known of it: the dataclasses below
                     file                       what the user gave, byte for byte
                     encoded                    its bitstream, of a picture that is none itself
                     before.png nearest.png     plain decode, and the estimate with nearest.certificate.json
                     draw-N.png                 version N, with draw-N.certificate.json
                     blend-N-40.png jpeg-N.jpg  made when they were downloaded first
                     view-*                     smaller copies for the page

Names that users give are shown, and are never part of a path.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Literal

from idemcore.io.files import atomic_write, json_bytes

State = Literal["waiting", "running", "done", "failed", "cancelled"]
Kind = Literal["jpeg", "idem", "picture"]
ID = re.compile(r"[0-9a-f]{16}")
LAYER = re.compile(r"before|nearest|draw-[1-9][0-9]{0,3}")


@dataclass(frozen=True)
class Choices:
    """What a version is drawn with, by the names of the command line."""

    generator: str = "ddpm-photo"
    solver: str = "cell"
    steps: int | None = None
    """None: the solver's default."""


@dataclass
class Version:
    """One picture drawn from a photograph."""

    number: int
    choices: Choices
    seed: int
    state: State = "waiting"
    error: str = ""
    hint: str = ""
    exact: bool | None = None
    passes: int | None = None
    seconds: float | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def layer(self) -> str:
        return f"draw-{self.number}"

    @property
    def unfinished(self) -> bool:
        return self.state in ("waiting", "running")


@dataclass
class Photo:
    """One file that a user gave."""

    id: str
    name: str
    """As the user has it, perhaps with folders; only shown."""
    kind: Kind
    bytes: int
    created: float
    """Seconds since 1970."""
    size: tuple[int, int] | None = None
    """(width, height) as it is shown, once known."""
    codec: str = "jpeg"
    """That encodes a picture which is not a bitstream."""
    quality: int | None = None
    salvage: bool = False
    versions: list[Version] = field(default_factory=list)
    drawn: int = 0
    """Versions so far, with those that were removed: no number is given twice."""
    revision: int = 0
    """Of the album, when this was changed last."""

    def version(self, number: int) -> Version | None:
        return next((version for version in self.versions if version.number == number), None)

    def alike(self, version: Version) -> list[Version]:
        """Finished versions with the same choices."""
        return [one for one in self.versions if one.state == "done" and one.choices == version.choices]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Photo:
        """Raises TypeError or KeyError for what is no such document."""
        versions = [Version(**{**one, "choices": Choices(**one["choices"])}) for one in content["versions"]]
        size = content["size"] and tuple(content["size"])
        return cls(**{**content, "versions": versions, "size": size})


class Album:
    """All photographs, by the time they came. Every change is on the disk before it is shown."""

    def __init__(self, folder: Path) -> None:
        self.place = folder / "photos"
        self.place.mkdir(parents=True, exist_ok=True)
        self.boot = secrets.token_hex(8)
        """Another for each start of the server: revisions count from 0 again."""
        self.revision = 0
        self.gone: dict[str, int] = {}
        """From removed photographs to the revision at which they went."""
        self.photos: dict[str, Photo] = {}
        self.unreadable = 0
        for photo in sorted(self._stored(), key=lambda photo: (photo.created, photo.id)):
            self.photos[photo.id] = photo
            self.touch(photo)

    def folder(self, photo: Photo) -> Path:
        return self.place / photo.id

    def add(self, name: str, kind: Kind, upload: Path, **facts: Any) -> Photo:
        """A photograph whose content is at `upload`, which is moved."""
        photo = Photo(secrets.token_hex(8), name, kind, upload.stat().st_size, time.time(), **facts)
        self.folder(photo).mkdir()
        upload.replace(self.folder(photo) / "file")
        self.photos[photo.id] = photo
        self.save(photo)
        return photo

    def draw(self, photo: Photo, choices: Choices, seed: int | None = None) -> Version:
        """Another version, that waits to be drawn: with `seed`, or the first that was not used with these choices."""
        used = {version.seed for version in photo.versions if version.choices == choices}
        photo.drawn = max(photo.drawn, *(version.number for version in photo.versions), 0) + 1
        free = next(seed for seed in count() if seed not in used)
        photo.versions.append(version := Version(photo.drawn, choices, free if seed is None else seed))
        self.save(photo)
        return version

    def save(self, photo: Photo) -> None:
        self.touch(photo)
        atomic_write(self.folder(photo) / "photo.json", json_bytes(photo.to_json()))

    def touch(self, photo: Photo) -> None:
        """Something of it is to be shown again."""
        self.revision += 1
        photo.revision = self.revision

    def remove(self, photo: Photo) -> None:
        """Forgets it, and removes its folder."""
        self.photos.pop(photo.id, None)
        self.revision += 1
        self.gone[photo.id] = self.revision
        shutil.rmtree(self.folder(photo), ignore_errors=True)

    def remove_version(self, photo: Photo, version: Version) -> None:
        """Forgets one of several versions, with its files."""
        photo.versions.remove(version)
        self.save(photo)
        for path in self.folder(photo).iterdir():
            if re.fullmatch(rf"(view-)?(draw|blend|jpeg)-{version.number}[-.].*|view-spread-.*", path.name):
                path.unlink(missing_ok=True)

    def _stored(self) -> list[Photo]:
        """What an earlier start left. What was half-written is removed; a folder that cannot be read stays unseen."""
        found = []
        for folder in self.place.iterdir():
            if not ID.fullmatch(folder.name) or not folder.is_dir():
                continue
            for left_over in folder.glob(".idem-*.tmp"):
                left_over.unlink(missing_ok=True)
            try:
                photo = Photo.from_json(json.loads((folder / "photo.json").read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError, KeyError):
                self.unreadable += 1
                continue
            for version in photo.versions:
                version.state = "waiting" if version.state == "running" else version.state
            found.append(photo)
        return found
