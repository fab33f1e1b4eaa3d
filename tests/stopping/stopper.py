"""Runs `idem` in forked children that wait at a known place until a signal has come: `python stopper.py`.

Requests come as JSON lines on stdin; each is answered by a line on stdout. All is imported once, before the forks.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import tempfile
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any

from idemcore.cli import main

BEFOREHAND = (
    "idemcore.cli.run", "idemcore.cli.decode", "idemcore.cli.sweep", "idemcore.cli.eval", "idemcore.cli.train",
    "idemcore.pipeline.decode_file", "idemcore.evaluation.evaluation", "idemcore.report.site",
    "idemcore.pipeline.run_image", "idemcore.sweeps.run",
    "idemcore_ddpm.train_photo", "idemcore_dps.cell", "idemcore_toy.encoder", "idemcore_toy.generator",
)  # fmt: skip
"""Imported once, so that a child need not."""

SECONDS = 120


def wait_at(place: str, number: int, reached: int) -> None:
    """The call number `number` of `module:name` says on the pipe that it is reached, and waits for a signal."""
    module, _, name = place.partition(":")
    *path, last = name.split(".")
    owner: Any = reduce(getattr, path, import_module(module))
    original, calls = getattr(owner, last), 0
    arrived, noted = os.pipe()
    os.set_blocking(noted, False)
    signal.set_wakeup_fd(noted)

    def waiting(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            os.write(reached, b"!")
            os.read(arrived, 1)  # until a signal came, whose handler raises KeyboardInterrupt unless signals are held
        return original(*arguments, **named)

    setattr(owner, last, waiting)


def child(request: dict[str, Any], reached: int, out: int, err: int) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(request["stdout"], os.O_WRONLY) if request.get("stdout") else out, 1)
    os.dup2(err, 2)
    os.environ.update(request.get("environment", {}))
    if registry := request.get("registry"):
        cards = import_module("idemcore.weights.cards")
        cards.registry_folder = lambda: Path(registry)  # type: ignore[attr-defined]
        sys.path.insert(0, str(Path(registry).parent))
    if request.get("place"):
        wait_at(request["place"], request.get("number", 1), reached)
    if limit := request.get("largest_file"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if request.get("powerless"):
        header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        assert ctypes.CDLL(None).capset(header, none) == 0  # root without the right to write where it may not
    try:
        main([str(argument) for argument in request["arguments"]], prog_name="idem")
    except SystemExit as error:
        sys.stdout.flush()
        os._exit(error.code if isinstance(error.code, int) else 0)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                os.close(reading)
                signal.alarm(SECONDS)
                child(request, writing, out.fileno(), err.fileno())
            finally:
                os._exit(99)
        os.close(writing)
        reached = os.read(reading, 1) == b"!"
        if reached:
            os.kill(pid, signal.Signals[request.get("signal", "SIGINT")])
        os.close(reading)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        out.seek(0)
        err.seek(0)
        return {"reached": reached, "code": code, "stdout": out.read().decode(), "stderr": err.read().decode()}


if __name__ == "__main__":
    for module in BEFOREHAND:
        import_module(module)
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
