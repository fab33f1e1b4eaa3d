"""The process that computes, beside the one that answers the browser: a request a line, then answers, in JSON.

    {"do": "draw", ...} -> {"stage": "opening"} {"step": 1, "of": 12} ... {"stage": "certifying"} {"done": {...}}

It writes into the photograph's folder alone. It ends when its input does, so that it never outlives the server.
"""

from __future__ import annotations

import io
import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import idemcore as idem
from idemcore.errors import IdemError, named
from idemcore.io.exif import Metadata, turn
from idemcore.io.files import atomic_write, json_bytes, parse_json, read_file
from idemcore.io.images import decode_bytes, png_bytes, to_float
from idemcore.protocols import Step

KINDS = ("codec", "generator", "solver")
MOST_DECODERS = 2
"""Loaded at a time."""
Tell = Callable[[Mapping[str, Any]], None]


class Cancelled(Exception):
    """The user does not want the result any more."""


class Work:
    """Carries out requests, one after another; keeps the decoders that it loaded last."""

    def __init__(self, tell: Tell, cancelled: threading.Event, runtime: Mapping[str, Any]) -> None:
        """`runtime`: device, precision and tile, as `load_decoder` takes them."""
        self.tell, self.cancelled, self.runtime = tell, cancelled, runtime
        self.decoders: dict[str, Any] = {}

    def choices(self) -> dict[str, Any]:
        """What can be chosen on the page."""
        return {kind: idem.available(kind) for kind in KINDS}

    def draw(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The plain decode and the estimate of a photograph, once, and a version of it."""
        folder, chosen = Path(request["folder"]), request["choices"]
        with named(request["name"]) as notes:
            self.tell({"stage": "opening"})
            bitstream = self._bitstream(folder, request)
            self.tell({"size": bitstream.size[::-1]})
            self._once(folder / "before.png", lambda path: atomic_write(path, shown(bitstream)))
            mean = {**chosen, "solver": "mean", "steps": None}
            self._once(
                folder / "nearest.png", lambda path: idem.decode(bitstream, decoder=self._decoder(mean)).save(path)
            )
            self.tell({"stage": "drawing"})
            decoder, seed = self._decoder(chosen), request["seed"]
            picture = idem.decode(
                bitstream, decoder=decoder, seed=seed, salvage=request["salvage"], callback=self._callback
            )
        picture.save(folder / f"{request['layer']}.png")
        height, width = picture.image.shape[-2:]
        return {"exact": picture.exact, "passes": picture.nfe, "size": [width, height], "notes": notes}

    def blend(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """A picture between the estimate and a version, certified, with a certificate that says so."""
        folder, layer, share = Path(request["folder"]), request["layer"], request["tradeoff"]
        bitstream = self._bitstream(folder, request)
        pictures = [np.asarray(Image.open(folder / f"{name}.png").convert("RGB")) for name in ("nearest", layer)]
        low, high = (picture.astype(np.float32) for picture in pictures)
        mixed = (low + np.float32(share) * (high - low)) / np.float32(255)
        picture = idem.certify(mixed.clip(0, 1), bitstream)
        drawn = parse_json(read_file(folder / f"{layer}.certificate.json"))
        kept = {key: drawn[key] for key in PARTS if key in drawn}
        output = folder / f"{request['output']}.png"
        content = {**picture.certificate.to_json(), **kept, "tradeoff": share}
        atomic_write(output.with_name(f"{output.stem}.certificate.json"), json_bytes(content))
        atomic_write(output, picture.decoded.png)
        return {"exact": picture.exact}

    def jpeg(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The file that a version re-encodes to, as the photograph's file was written."""
        folder = Path(request["folder"])
        bitstream = self._bitstream(folder, request)
        picture = idem.certify(folder / f"{request['layer']}.png", bitstream)
        content = bitstream.codec.encoder.rewrite(bitstream.stream, picture.decoded.result.image.cpu())
        atomic_write(folder / f"{request['output']}.jpg", content)
        return {"exact": picture.exact}

    def _bitstream(self, folder: Path, request: Mapping[str, Any]) -> Any:
        """The bitstream of the photograph's file; a picture that is none is encoded once, with the chosen codec."""
        name, encoded = request["name"], folder / "encoded"
        if request["picture"] and not encoded.exists():
            self.tell({"stage": "encoding"})
            pixels = to_float(decode_bytes(read_file(folder / "file"), name))
            quality = {} if request["quality"] is None else {"quality": request["quality"]}
            where = {key: self.runtime[key] for key in ("device", "precision") if key in self.runtime}
            codec = idem.load_codec(request["codec"], **where, **quality)
            atomic_write(encoded, codec.encode(pixels).data)
        data = read_file(encoded if request["picture"] else folder / "file")
        return idem.open_bitstream(data, salvage=request["salvage"], name=name, **self.runtime)

    def _once(self, path: Path, write: Callable[[Path], Any]) -> None:
        if not path.exists():
            write(path)

    def _decoder(self, chosen: Mapping[str, Any]) -> Any:
        key = json.dumps([chosen["generator"], chosen["solver"], chosen["steps"]])
        if key not in self.decoders:
            settings = {} if chosen["steps"] is None else {"solver": {"steps": chosen["steps"]}}
            while len(self.decoders) >= MOST_DECODERS:
                self.decoders.pop(next(iter(self.decoders)))
            self.decoders[key] = idem.load_decoder(
                chosen["generator"], chosen["solver"], settings=settings, **self.runtime
            )
        return self.decoders[key]

    def _callback(self, step: Step) -> None:
        if self.cancelled.is_set():
            raise Cancelled
        last = step.index + 1 == step.total
        self.tell({"step": step.index + 1, "of": step.total, **({"stage": "certifying"} if last else {})})


PARTS = ("generator", "solver", "adapter", "restorer", "seed", "sample", "tile", "special", "notes")
"""What a certificate of a blend has from its version's."""


def shown(bitstream: Any) -> bytes:
    """A PNG of the plain decode, as any viewer shows the file: upright, with its colour profile."""
    metadata = bitstream.codec.encoder.metadata(bitstream.stream) or Metadata()
    return png_bytes(turn(bitstream.byte_image, metadata.orientation), metadata.upright)


def answer(work: Work, request: Mapping[str, Any]) -> dict[str, Any]:
    """What one request comes to: `done`, `cancelled`, or `error` in one sentence, with a `hint`."""
    try:
        doing = {"choices": work.choices} if request["do"] == "choices" else {}
        return {"done": doing["choices"]() if doing else getattr(work, request["do"])(request)}
    except Cancelled:
        return {"cancelled": True}
    except IdemError as error:
        return {"error": error.message, "hint": error.hint}
    except MemoryError:
        return {"error": "There is not enough memory for this photograph.", "hint": "Close other programs."}
    except Exception as error:
        traceback.print_exc()
        hint = "The terminal in which `idem app` runs shows more."
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())}", "hint": hint}


def listen(requests: queue.Queue[dict[str, Any]], cancelled: threading.Event) -> None:
    """Reads the input: a cancellation takes effect at once, the end of the input ends the process."""
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "cancel":
            cancelled.set()
        else:
            requests.put(request)
    os._exit(0)


def main() -> None:
    """Answers requests; the first line of the input is the runtime. What libraries print goes to stderr."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then ends this process
    out = io.TextIOWrapper(os.fdopen(os.dup(1), "wb"), encoding="utf-8", write_through=True)
    os.dup2(2, 1)
    requests: queue.Queue[dict[str, Any]] = queue.Queue()
    cancelled = threading.Event()

    def tell(message: Mapping[str, Any]) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    runtime = json.loads(sys.stdin.readline() or "{}")
    threading.Thread(target=listen, args=(requests, cancelled), daemon=True).start()
    work = Work(tell, cancelled, runtime)
    while True:
        request = requests.get()
        cancelled.clear()
        tell(answer(work, request))


if __name__ == "__main__":
    main()
