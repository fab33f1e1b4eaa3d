"""A stand-in for the worker, which draws at once, and the page's requests to a server around it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from idemcore_app.album import Album
from idemcore_app.computing import Failed
from idemcore_app.guard import Guard
from idemcore_app.running import Queue
from idemcore_app.web import Limits, Site

TOKEN = "a-token-that-nobody-guesses-0123456789"


class QuickComputer:
    """In the place of a worker: writes what it would write, or fails as the photograph's name says."""

    def __init__(self) -> None:
        self.asked: list[dict] = []

    async def ask(self, request, told=lambda _: None, wanted=None):
        self.asked.append(request)
        if request["do"] == "choices":
            return {"codec": [], "generator": [], "solver": []}
        if "bad" in request["name"]:
            raise Failed(f"{request['name']} is damaged.", "Try --salvage.")
        folder = Path(request["folder"])
        outputs = [request.get("output"), request.get("layer"), "before", "nearest"]
        for number, name in enumerate(filter(None, outputs)):
            if not (folder / f"{name}.png").exists():
                pixels = np.full((40, 60, 3), 50 * number + 9 * len(self.asked), np.uint8)
                Image.fromarray(pixels).save(folder / f"{name}.png")
                (folder / f"{name}.certificate.json").write_text(json.dumps(CERTIFICATE))
        if request["do"] == "jpeg":
            (folder / f"{request['output']}.jpg").write_bytes((folder / "file").read_bytes())
        return {"exact": True, "passes": 2, "size": [60, 40], "notes": []}

    async def cancel(self) -> None: ...

    async def end(self) -> None: ...


CERTIFICATE = {
    "exact": True, "differing_symbols": 0, "reason": None, "psnr_moved": 70.0, "generator": {"name": "toy"},
    "codec": {"name": "jpeg", "stream": {"quality": 10}}, "bitstream": {"bytes": 900},
}  # fmt: skip


class Client:
    """The page's requests. `site` is behind it."""

    def __init__(self, folder: Path, **limits: int) -> None:
        (folder / "uploads").mkdir(parents=True, exist_ok=True)
        self.queue = Queue(Album(folder), {})
        self.computer = self.queue.drawing = self.queue.quick = QuickComputer()
        self.site = Site(self.queue.album, self.queue, Limits(**limits), folder / "uploads")
        guarded = Guard(self.site.app(), TOKEN, {"127.0.0.1"})
        self.http = TestClient(guarded, base_url="http://127.0.0.1:8000", raise_server_exceptions=False)

    def get(self, path: str, **more):
        return self.http.get(f"/{TOKEN}/{path}", **more)

    def post(self, path: str, content: bytes = b"", **more):
        return self.http.post(f"/{TOKEN}/{path}", content=content, **more)

    def upload(self, name: str, content: bytes, **choices) -> dict:
        answer = self.post("photos", content, params={"name": name, **choices})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def draw_all(self) -> None:
        """What the queue does meanwhile, in a real server."""

        async def run() -> None:
            while waiting := self.queue.waiting():
                await self.queue._draw(*waiting[0])

        asyncio.run(run())
