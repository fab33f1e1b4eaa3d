"""The server's side of the worker process: starts it, talks to it, and ends it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

PATIENCE = 3.0
"""Seconds that a cancelled job gets to stop by itself, which keeps the networks loaded."""
LONGEST_LINE = 2**24
Told = Callable[[dict[str, Any]], None]


class Failed(Exception):
    """A request that came to nothing, with what to tell the user."""

    def __init__(self, message: str, hint: str = "", cancelled: bool = False) -> None:
        super().__init__(message)
        self.hint, self.cancelled = hint, cancelled


class Computer:
    """One worker process, started at its first request, and again after it was killed. One request at a time."""

    def __init__(self, runtime: Mapping[str, Any]) -> None:
        """`runtime`: what `worker.Work` takes."""
        self.runtime = runtime
        self.process: asyncio.subprocess.Process | None = None
        self.turn = asyncio.Lock()
        self.cancelling, self.cancellable = False, False

    async def ask(
        self, request: Mapping[str, Any], told: Told = lambda _: None, wanted: Callable[[], bool] | None = None
    ) -> dict[str, Any]:
        """What is done; `told` gets each message before. Raises Failed.

        A request with `wanted` can be cancelled; it is not begun if by its turn it is not wanted any more.
        """
        async with self.turn:
            if wanted and not wanted():
                raise Failed("", cancelled=True)
            self.cancelling, self.cancellable = False, wanted is not None
            process = await self._started()
            self._send(process, request)
            while line := await self._line(process):
                message = json.loads(line)
                if "done" in message:
                    return dict(message["done"])
                if "error" in message or "cancelled" in message:
                    raise Failed(message.get("error", ""), message.get("hint", ""), "cancelled" in message)
                told(message)
            await self.end()
            raise self._died()

    async def cancel(self) -> None:
        """Stops the request that is running, if there is one that can be cancelled: gently, then by force."""
        process = self.process
        if not process or not self.turn.locked() or not self.cancellable:
            return
        self.cancelling = True
        self._send(process, {"do": "cancel"})
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._free(), PATIENCE)
            return
        if self.process is process:
            await self.end()

    async def end(self) -> None:
        """Ends the process at once."""
        process, self.process = self.process, None
        if process and process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _free(self) -> None:
        async with self.turn:
            pass

    async def _started(self) -> asyncio.subprocess.Process:
        if self.process is None or self.process.returncode is not None:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "idemcore_app.worker", limit=LONGEST_LINE,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env={**os.environ},
            )  # fmt: skip
            self._send(self.process, self.runtime)
        return self.process

    def _send(self, process: asyncio.subprocess.Process, message: Mapping[str, Any]) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):
            assert process.stdin is not None
            process.stdin.write(json.dumps(message).encode() + b"\n")

    async def _line(self, process: asyncio.subprocess.Process) -> bytes:
        assert process.stdout is not None
        try:
            return await process.stdout.readline()
        except (ValueError, ConnectionError):
            return b""

    def _died(self) -> Failed:
        if self.cancelling:
            return Failed("", cancelled=True)
        hint = "Most often the memory was full: close other programs, or start `idem app --tile 512`."
        return Failed("The process that draws was ended by the system.", hint)
