"""Starts the app: its folder, its address, and the server."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
import socket
import webbrowser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import uvicorn
from filelock import FileLock, Timeout
from PIL import Image

from idemcore.errors import UsageError
from idemcore.io.files import atomic_write
from idemcore.io.limits import max_pixels

from .album import Album
from .guard import LOOPBACK, Guard
from .running import Queue
from .web import Limits, Site

TOKEN = re.compile(r"[\w-]{32,64}")
WILD = ("0.0.0.0", "::")


def default_folder() -> Path:
    """idem/app in the user's folder of data: XDG_DATA_HOME, %LOCALAPPDATA%, or ~/.local/share."""
    data = os.environ.get("XDG_DATA_HOME") or (os.environ.get("LOCALAPPDATA") if os.name == "nt" else "")
    return Path(data or Path.home() / ".local" / "share") / "idem" / "app"


@dataclass(frozen=True)
class Serving:
    """What `idem app` was asked for."""

    folder: Path
    host: str
    port: int | None
    """None: as last time, or a free one."""
    runtime: Mapping[str, Any]
    file_bytes: int

    def run(self, browser: bool = True) -> None:
        """Serves until it is interrupted. Raises UsageError for a folder or port that cannot be used."""
        Image.MAX_IMAGE_PIXELS = max_pixels()  # this process is the app's own
        folder = self._folder()
        lock = FileLock(folder / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            said = _read(folder / "address")
            raise UsageError(f"idem app runs in {folder} already.", f"Open {said}" if said else "") from None
        with lock:
            self._empty(folder / "uploads")
            asyncio.run(self._serve(folder, browser))

    def _folder(self) -> Path:
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o700)
        return self.folder

    def _empty(self, uploads: Path) -> None:
        """Of what was on its way when the app ended; only once no other runs here."""
        with self._writing():
            shutil.rmtree(uploads, ignore_errors=True)
            uploads.mkdir()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UsageError(f"Cannot write to {self.folder}: {error.strerror}.", "Name another --folder.") from error

    async def _serve(self, folder: Path, browser: bool) -> None:
        bound = self._bound(folder)
        token, port = _token(folder), bound.getsockname()[1]
        album = Album(folder)
        queue = Queue(album, self.runtime)
        site = Site(album, queue, Limits(self.file_bytes), folder / "uploads")
        wild = self.host in WILD
        hosts = LOOPBACK | {self.host} | ({socket.gethostname()} if wild else set())
        guarded = Guard(site.app(), token, hosts, any_address=wild)
        config = uvicorn.Config(
            guarded, log_level="warning", access_log=False, timeout_graceful_shutdown=2, lifespan="off",
            server_header=False, proxy_headers=False,
        )  # fmt: skip
        shown = "127.0.0.1" if self.host in (*WILD, "127.0.0.1", "localhost") else self.host
        address = f"http://[{shown}]:{port}/{token}/" if ":" in shown else f"http://{shown}:{port}/{token}/"
        _private(folder / "address", address)
        self._greet(address, folder, album)
        drawing = asyncio.ensure_future(queue.run())
        _ = site.choices_task  # the worker starts before the first photograph comes
        if browser:
            asyncio.get_running_loop().run_in_executor(None, webbrowser.open, address)
        try:
            await uvicorn.Server(config).serve(sockets=[bound])
        finally:
            drawing.cancel()
            with suppress(asyncio.CancelledError):
                await drawing
            await queue.end()
        click.echo("Closed. Photographs and results stay; `idem app` shows them again.", err=True)

    def _bound(self, folder: Path) -> socket.socket:
        """A socket at the port that was asked for; else at that of last time, or a free one."""
        last = re.search(r":(\d+)/", _read(folder / "address"))
        ports = [self.port] if self.port is not None else [*([int(last[1])] if last else []), 0]
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        for port in ports:
            bound = socket.socket(family)
            if os.name == "posix":
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                bound.bind((self.host, port))
            except OSError as error:
                bound.close()
                if port == ports[-1]:
                    why = error.strerror or str(error)
                    raise UsageError(f"--host {self.host}, port {port}: {why}.", "Name another --port.") from error
                continue
            return bound
        raise AssertionError("the last port is tried or refused")

    def _greet(self, address: str, folder: Path, album: Album) -> None:
        """Greets on stderr, where everything for people goes."""
        click.echo(address, err=True)
        click.echo(f"Photographs are kept in {folder}. Ctrl-C ends the app.", err=True)
        if self.host not in LOOPBACK:
            click.echo("note: other machines can reach this page; whoever has its address sees and changes all in it, "
                       "and the connection is not encrypted.", err=True)  # fmt: skip
        if album.unreadable:
            click.echo(f"note: {album.unreadable} folders in it cannot be read; they stay as they are.", err=True)


def _token(folder: Path) -> str:
    """The key in the address: the same at every start, so that open pages go on."""
    token = _read(folder / "token")
    if not TOKEN.fullmatch(token):
        token = secrets.token_urlsafe(32)
        _private(folder / "token", token)
    return token


def _private(path: Path, text: str) -> None:
    """A file that only its owner reads."""
    atomic_write(path, text.encode())
    path.chmod(0o600)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
