"""The pages and what they ask for. Everything is below the token that `guard` checks."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from idemcore.io.files import write_json

from . import pictures, words, zipping
from .album import LAYER, Album, Choices, Photo, Version
from .checking import Refused, clean_name, look, with_suffix
from .computing import Failed
from .running import Queue

PAGE = files(__package__) / "page"
TYPES = {"index.html": "text/html", "style.css": "text/css", "app.js": "text/javascript", "icon.svg": "image/svg+xml"}
KEPT = {"cache-control": "private, max-age=86400, immutable"}
"""Pictures never change: another version is another file."""
SPARE = 2**29
"""Bytes of the disk that uploads leave free."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+:-]{0,99}")
Handler = Callable[[Request], Awaitable[Response]]


class Problem(Exception):
    """What the page shows, with the status."""

    def __init__(self, message: str, hint: str = "", status: int = 400) -> None:
        super().__init__(message)
        self.hint, self.status = hint, status


@dataclass(frozen=True)
class Limits:
    """What the app takes."""

    file_bytes: int = 2**28
    photos: int = 5000
    versions: int = 100
    """Of one photograph."""


@dataclass(frozen=True)
class Site:
    """The album, the queue that draws it, and the page."""

    album: Album
    queue: Queue
    limits: Limits
    uploads: Path
    """A folder for what is on its way."""

    def app(self) -> Starlette:
        routes = [
            ("/", self.page, "GET"),
            ("/state", self.state, "GET"),
            ("/choices", self.choices, "GET"),
            ("/photos", self.upload, "POST"),
            ("/cancel", self.cancel_all, "POST"),
            ("/album.zip", self.zip, "GET"),
            ("/photos/{id}/remove", self.remove, "POST"),
            ("/photos/{id}/versions", self.draw, "POST"),
            ("/photos/{id}/salvage", self.salvage, "POST"),
            ("/photos/{id}/versions/{number:int}/cancel", self.cancel, "POST"),
            ("/photos/{id}/versions/{number:int}/again", self.again, "POST"),
            ("/photos/{id}/versions/{number:int}/remove", self.remove_version, "POST"),
            ("/photos/{id}/versions/{number:int}/facts", self.facts, "GET"),
            ("/photos/{id}/versions/{number:int}/spread", self.spread, "GET"),
            ("/photos/{id}/versions/{number:int}/file", self.download, "GET"),
            ("/photos/{id}/thumb", self.thumb, "GET"),
            ("/photos/{id}/view/{layer}", self.view, "GET"),
            ("/photos/{id}/view/{layer}/{column:int}/{row:int}", self.tile, "GET"),
            ("/{name}", self.asset, "GET"),
        ]
        return Starlette(
            routes=[Route(path, _answering(handler), methods=[method]) for path, handler, method in routes]
        )

    @cached_property
    def choices_task(self) -> asyncio.Task[dict[str, Any]]:
        return asyncio.ensure_future(self.queue.drawing.ask({"do": "choices"}))

    async def page(self, _: Request) -> Response:
        return _asset("index.html")

    async def asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in TYPES:
            raise Problem("There is no such page.", status=404)
        return _asset(name)

    async def choices(self, _: Request) -> Response:
        """Codecs, priors and solvers that are installed."""
        try:
            return JSONResponse(await asyncio.shield(self.choices_task))
        except Failed as failed:
            self.__dict__.pop("choices_task", None)  # the next request asks again
            raise Problem(str(failed) or "The process that draws was stopped.", failed.hint, 503) from failed

    async def state(self, request: Request) -> Response:
        """What changed since the revision that the page has, and how far everything is."""
        query, album, now = request.query_params, self.album, self.queue.now
        known = query.get("boot") == album.boot
        since = int(query.get("since", "0")) if known and query.get("since", "0").isdigit() else 0
        running: dict[str, Any] | None = None
        if now and now.version.state == "running":
            running = {
                "id": now.photo.id,
                "number": now.version.number,
                "stage": now.stage,
                "share": round(now.share, 3),
            }
        lefts: dict[str, dict[str, float]] = {}
        for (photo, number), seconds in self.queue.lefts().items():
            lefts.setdefault(photo, {})[str(number)] = round(seconds, 1)
        return JSONResponse({
            "boot": album.boot, "revision": album.revision, "running": running, "left": lefts, "known": known,
            "photos": [_shown(photo) for photo in album.photos.values() if photo.revision > since],
            "gone": [id for id, revision in album.gone.items() if revision > since and known],
        })  # fmt: skip

    async def upload(self, request: Request) -> Response:
        """One file, as the body. Its name and the choices are in the query."""
        query = request.query_params
        name, choices, seed = clean_name(query.get("name", "")), _choices_of(query), _whole(query, "seed", 0, 2**31)
        encoding = {"codec": _name(query, "codec", "jpeg"), "quality": _whole(query, "quality", 0, 1000)}
        if len(self.album.photos) >= self.limits.photos:
            raise Problem(f"There are {self.limits.photos:,} photographs here.", "Remove some first.", 409)
        place = self.uploads / secrets.token_hex(8)
        try:
            await self._receive(request, place, name)
            looked = await run_in_threadpool(look, place, name)
            photo = self.album.add(name, looked.kind, place, size=looked.size, **encoding)
        except Refused as refused:
            raise Problem(str(refused), refused.hint, 415) from refused
        finally:
            place.unlink(missing_ok=True)
        self.album.draw(photo, choices, seed)
        self.queue.wake.set()
        return JSONResponse(_shown(photo), 201)

    async def _receive(self, request: Request, place: Path, name: str) -> None:
        """Writes the body to a file; raises Problem for one that is too large, or would fill the disk."""
        limit = min(self.limits.file_bytes, shutil.disk_usage(self.uploads).free - SPARE)
        claimed, received = request.headers.get("content-length", "0"), 0
        too_large = Problem(f"{name} has more than {max(limit, 0) / 1e6:,.0f} MB.", "That is the limit here.", 413)
        if claimed.isdigit() and int(claimed) > limit:
            raise too_large
        with open(place, "xb") as file:
            async for part in request.stream():
                received += len(part)
                if received > limit:
                    raise too_large
                file.write(part)

    async def draw(self, request: Request) -> Response:
        """Another version: the next seed, or the one that is named."""
        photo = self._photo(request)
        if len(photo.versions) >= self.limits.versions:
            raise Problem(f"This photograph has {self.limits.versions} versions.", "Remove some first.", 409)
        query = request.query_params
        self.album.draw(photo, _choices_of(query), _whole(query, "seed", 0, 2**31))
        self.queue.wake.set()
        return JSONResponse(_shown(photo), 201)

    async def again(self, request: Request) -> Response:
        """A version that failed or was cancelled waits again."""
        photo, version = self._version(request)
        if version.state in ("failed", "cancelled"):
            version.state, version.error, version.hint = "waiting", "", ""
            self.album.save(photo)
            self.queue.wake.set()
        return JSONResponse(_shown(photo))

    async def salvage(self, request: Request) -> Response:
        """Reads a damaged file as far as it goes, and draws what failed again."""
        photo = self._photo(request)
        photo.salvage = True
        for version in (version for version in photo.versions if version.state == "failed"):
            version.state, version.error, version.hint = "waiting", "", ""
        self.album.save(photo)
        self.queue.wake.set()
        return JSONResponse(_shown(photo))

    async def cancel(self, request: Request) -> Response:
        photo, version = self._version(request)
        await self.queue.cancel(photo, version)
        return JSONResponse(_shown(photo))

    async def cancel_all(self, _: Request) -> Response:
        for photo, version in self.queue.waiting():
            await self.queue.cancel(photo, version)
        if self.queue.now:
            await self.queue.cancel(self.queue.now.photo, self.queue.now.version)
        return JSONResponse({})

    async def remove(self, request: Request) -> Response:
        photo = self._photo(request)
        for version in photo.versions:
            await self.queue.cancel(photo, version)
        self.album.remove(photo)
        return JSONResponse({})

    async def remove_version(self, request: Request) -> Response:
        photo, version = self._version(request)
        if len(photo.versions) == 1:
            raise Problem("This is the only version.", "Remove the photograph instead.", 409)
        await self.queue.cancel(photo, version)
        if version in photo.versions:
            self.album.remove_version(photo, version)
        return JSONResponse(_shown(photo))

    async def facts(self, request: Request) -> Response:
        """What is known of a version, in plain words, and the command that would draw it."""
        photo, version = self._version(request)
        found = await run_in_threadpool(words.facts, photo, version, self.album.folder(photo))
        share = _share(request)
        return JSONResponse({"facts": found, "command": words.command(photo, version, share)})

    async def spread(self, request: Request) -> Response:
        """Where versions with the same choices differ, as a picture, with what it says in a header."""
        photo, version = self._version(request)
        alike, folder = photo.alike(version), self.album.folder(photo)
        if len(alike) < 2:
            raise Problem("One version does not show how sure it is.", "Draw another version first.", 409)
        target = folder / f"view-spread-{'-'.join(str(one.number) for one in alike)[:100]}.png"
        note = target.with_suffix(".json")
        if not note.exists():
            found = await run_in_threadpool(pictures.spread, [folder / f"{one.layer}.png" for one in alike], target)
            write_json(found, note)
        mean, most = json.loads(note.read_text(encoding="utf-8"))
        said = words.spread_words(mean, most, len(alike))
        return FileResponse(target, headers={"x-words": quote(said)})

    async def download(self, request: Request) -> Response:
        """A version, or a blend of it with the nearest picture, which is certified now; PNG, JPEG or certificate."""
        photo, version = self._version(request, done=True)
        kind, share = request.query_params.get("kind", "png"), _share(request)
        if kind not in ("png", "jpeg", "certificate"):
            raise Problem(f"There is no download of the kind {kind!r:.40}.", status=404)
        try:
            path = await self._made(photo, version, kind, share)
        except Failed as failed:
            raise Problem(str(failed), failed.hint, 409) from failed
        suffix = {"png": ".png", "jpeg": path.suffix, "certificate": ".certificate.json"}[kind]
        return FileResponse(path, filename=Path(with_suffix(photo.name, suffix)).name, headers=KEPT)

    async def _made(self, photo: Photo, version: Version, kind: str, share: float) -> Path:
        """The file, which is made first if it is a blend or a JPEG."""
        folder, percent = self.album.folder(photo), round(100 * share)
        if kind == "jpeg":
            if photo.kind == "idem" or (photo.kind == "picture" and photo.codec != "jpeg"):
                raise Problem("This photograph did not come from a JPEG file.", "Take the PNG.", 409)
            await self.queue.make(photo, "jpeg", f"jpeg-{version.number}", layer=version.layer)
            return folder / f"jpeg-{version.number}.jpg"
        name = {0: "nearest", 100: version.layer}.get(percent, f"blend-{version.number}-{percent}")
        if name.startswith("blend"):
            await self.queue.make(photo, "blend", name, layer=version.layer, tradeoff=share)
        return folder / (f"{name}.certificate.json" if kind == "certificate" else f"{name}.png")

    async def zip(self, request: Request) -> Response:
        """All photographs' first finished versions with their certificates; as it is packed, it is sent."""
        entries = zipping.entries(self.album)
        if not entries:
            raise Problem("Nothing is restored yet.", "Wait for the first photograph.", 409)
        headers = {"content-disposition": 'attachment; filename="idem-album.zip"'}
        return StreamingResponse(zipping.packed(entries), media_type="application/zip", headers=headers)

    async def thumb(self, request: Request) -> Response:
        found = await run_in_threadpool(pictures.thumb, self.album.folder(self._photo(request)))
        if found is None:
            raise Problem("There is no picture yet.", status=404)
        return FileResponse(found, headers=KEPT)

    async def view(self, request: Request) -> Response:
        """A picture, or a smaller copy of it; of a photograph that was not read yet, its file as it came."""
        photo = self._photo(request)
        given = self.album.folder(photo) / "file"
        early = request.path_params["layer"] == "before" and not given.with_name("before.png").exists()
        try:
            path = await run_in_threadpool(pictures.preview, given if early else self._layer(request))
        except OSError as error:
            raise Problem("This photograph cannot be shown yet.", status=404) from error
        return FileResponse(path, headers={} if early else KEPT)

    async def tile(self, request: Request) -> Response:
        place = request.path_params["column"], request.path_params["row"]
        content = await run_in_threadpool(pictures.tile, self._layer(request), *place)
        if content is None:
            raise Problem("The picture ends before.", status=404)
        return Response(content, media_type="image/png", headers=KEPT)

    def _photo(self, request: Request) -> Photo:
        photo = self.album.photos.get(request.path_params["id"])
        if photo is None:
            raise Problem("This photograph is not here any more.", status=404)
        return photo

    def _version(self, request: Request, done: bool = False) -> tuple[Photo, Version]:
        photo = self._photo(request)
        version = photo.version(request.path_params["number"])
        if version is None or (done and version.state != "done"):
            raise Problem("This version is not here.", status=404)
        return photo, version

    def _layer(self, request: Request) -> Path:
        """A picture by its name, one of a few."""
        photo, layer = self._photo(request), request.path_params["layer"]
        path = self.album.folder(photo) / f"{layer}.png"
        if not LAYER.fullmatch(layer) or not path.is_file():
            raise Problem("There is no such picture.", status=404)
        return path


def _answering(handler: Handler) -> Handler:
    """The handler, whose problems are answers that the page shows."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except Problem as problem:
            return JSONResponse({"message": str(problem), "hint": problem.hint}, problem.status)
        except ClientDisconnect:
            return Response(status_code=499)

    return answer


def _asset(name: str) -> Response:
    return Response((PAGE / name).read_bytes(), media_type=TYPES[name], headers={"cache-control": "no-cache"})


def _shown(photo: Photo) -> dict[str, Any]:
    """What the page knows of a photograph."""
    return photo.to_json()


def _choices_of(query: Any) -> Choices:
    default = Choices()
    steps = _whole(query, "steps", 1, 10000)
    return Choices(_name(query, "generator", default.generator), _name(query, "solver", default.solver), steps)


def _name(query: Any, key: str, default: str) -> str:
    """A plugin's name. Raises Problem for what cannot be one."""
    value = query.get(key) or default
    if not NAME.fullmatch(value):
        raise Problem(f"{key}: {value!r:.60} is no name.")
    return str(value)


def _whole(query: Any, key: str, low: int, high: int) -> int | None:
    """A number, None if it is not given. Raises Problem for one that cannot be right."""
    value = query.get(key) or ""
    if not value:
        return None
    if not value.isascii() or not value.isdigit() or not low <= int(value) <= high:
        raise Problem(f"{key}: {value!r:.60} is not a whole number from {low} to {high}.")
    return int(value)


def _share(request: Request) -> float:
    """The dial, in hundredths."""
    percent = _whole(request.query_params, "dial", 0, 100)
    return 1.0 if percent is None else percent / 100
