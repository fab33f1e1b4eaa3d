"""What is drawn next, how far it is, and how long it will still take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from idemcore.errors import IdemError

from .album import Album, Photo, Version
from .computing import Computer, Failed

BEFORE, AFTER = 0.1, 0.2
"""Shares of a photograph's time before the first step and after the last, about."""
FIRST_GUESS = 16.0
"""Seconds a megapixel until a photograph was drawn here: 12 passes of the bundled prior on two cores."""


@dataclass
class Progress:
    """The progress of the version that is drawn now."""

    photo: Photo
    version: Version
    begin: float
    stage: str = "starting"
    share: float = 0.0
    """Done, of 1."""
    stepped: float | None = None
    """When the first step ended."""


class Queue:
    """Draws versions that wait, one at a time, in the order in which photographs came."""

    def __init__(self, album: Album, runtime: Mapping[str, Any]) -> None:
        self.album = album
        self.drawing, self.quick = Computer(runtime), Computer(runtime)
        """Two processes: a blend does not wait for photographs. The second starts when it is needed first."""
        self.now: Progress | None = None
        self.rates: dict[str, float] = {}
        """Seconds a megapixel, by choices."""
        self.wake = asyncio.Event()

    def waiting(self) -> list[tuple[Photo, Version]]:
        """In the order in which they are drawn: the first version of every photograph before further ones."""
        found = [(photo, v) for photo in self.album.photos.values() for v in photo.versions if v.state == "waiting"]
        return sorted(found, key=lambda pair: pair[1].number > 1 and len(pair[0].alike(pair[1])) > 0)

    async def run(self) -> None:
        """Never ends, until it is cancelled."""
        while True:
            if not (waiting := self.waiting()):
                self.wake.clear()
                await self.wake.wait()
                continue
            photo, version = waiting[0]
            try:
                await self._draw(photo, version)
            except Exception as error:  # whatever is wrong with one photograph, the next is drawn
                version.state, version.error = "failed", f"{type(error).__name__}: {error}"
                self.album.touch(photo)

    async def end(self) -> None:
        """Ends both processes; what was being drawn is drawn again at the next start."""
        await self.drawing.end()
        await self.quick.end()

    async def cancel(self, photo: Photo, version: Version) -> None:
        """A version that waits or is being drawn is not drawn."""
        running = self.now is not None and self.now.version is version
        if version.unfinished:
            version.state = "cancelled"
            self.album.save(photo)
        if running:
            await self.drawing.cancel()

    async def make(self, photo: Photo, do: str, output: str, **details: Any) -> None:
        """A file of a photograph's folder that is there in a second, unless it is there already. Raises Failed."""
        folder = self.album.folder(photo)
        if not any((folder / f"{output}{suffix}").exists() for suffix in (".png", ".jpg")):
            await self.quick.ask({**self._request(photo), "do": do, "output": output, **details})

    def lefts(self) -> dict[tuple[str, int], float]:
        """Seconds until each version that waits or is being drawn is there, about, by photograph and number."""
        found, ahead = {}, 0.0
        if self.now and self.now.version.state == "running":
            ahead = found[self.now.photo.id, self.now.version.number] = self._left_now(self.now)
        for photo, version in self.waiting():
            ahead += self._whole(photo, version)
            found[photo.id, version.number] = ahead
        return found

    def _left_now(self, now: Progress) -> float:
        spent = time.monotonic() - now.begin
        if now.stepped is None or now.share <= BEFORE:
            return max(1.0, self._whole(now.photo, now.version) - spent)
        return max(0.5, spent * (1 - now.share) / now.share)

    def _whole(self, photo: Photo, version: Version) -> float:
        width, height = photo.size or (1500, 1000)
        guess = FIRST_GUESS * (version.choices.steps or 12) / 12
        return 2.0 + self.rates.get(_key(version), guess) * width * height / 1e6

    def _request(self, photo: Photo) -> dict[str, Any]:
        return {
            "folder": str(self.album.folder(photo)),
            "name": photo.name,
            "picture": photo.kind == "picture",
            "codec": photo.codec,
            "quality": photo.quality,
            "salvage": photo.salvage,
        }

    async def _draw(self, photo: Photo, version: Version) -> None:
        now = self.now = Progress(photo, version, time.monotonic())
        version.state, version.error, version.hint = "running", "", ""
        self.album.touch(photo)
        choices = {"generator": version.choices.generator, "solver": version.choices.solver,
                   "steps": version.choices.steps}  # fmt: skip
        request = {**self._request(photo), "do": "draw", "choices": choices, "seed": version.seed}
        try:
            request = {**request, "layer": version.layer}
            found = await self.drawing.ask(request, lambda told: self._told(now, told), lambda: _wanted(version))
            self._done(now, found)
        except Failed as failed:
            if version.state == "running":
                version.state = "cancelled" if failed.cancelled else "failed"
                version.error, version.hint = str(failed), failed.hint
        finally:
            self.now = None
        if photo.id in self.album.photos and version in photo.versions:
            with suppress(IdemError):  # of a full disk, or a folder that was removed: the page shows what is known
                self.album.save(photo)

    def _told(self, now: Progress, told: Mapping[str, Any]) -> None:
        now.stage = told.get("stage", now.stage)
        if "size" in told and now.photo.size is None:
            now.photo.size = (int(told["size"][0]), int(told["size"][1]))
            self.album.touch(now.photo)
        if "step" in told:
            now.share = BEFORE + (1 - BEFORE - AFTER) * told["step"] / told["of"]
            now.stepped = now.stepped or time.monotonic()

    def _done(self, now: Progress, found: Mapping[str, Any]) -> None:
        version, (width, height) = now.version, found["size"]
        if version.state != "running":
            return
        version.state, version.exact, version.passes = "done", found["exact"], found["passes"]
        version.seconds, version.notes = round(time.monotonic() - now.begin, 1), list(found["notes"])
        now.photo.size = (width, height)
        self.rates[_key(version)] = max(0.0, version.seconds - 2.0) / (width * height / 1e6)


def _wanted(version: Version) -> bool:
    return version.state == "running"


def _key(version: Version) -> str:
    return f"{version.choices.generator}:{version.choices.solver}:{version.choices.steps}"
