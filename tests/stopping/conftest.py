"""`stop(...)`: a command line that is stopped at a known place, and what it left."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

Stop = Callable[..., "Stopped"]


@dataclass(frozen=True)
class Stopped:
    """How it ended."""

    reached: bool
    code: int
    stdout: str
    stderr: str


@pytest.fixture(scope="session")
def stopper() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, Path(__file__).with_name("stopper.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def stop(stopper: subprocess.Popen[str]) -> Stop:
    """`stop("run", path, place="module:function", number=2, signal="SIGTERM")`: waits at that call, then the signal."""

    def call(*arguments: object, **request: object) -> Stopped:
        assert stopper.stdin is not None
        assert stopper.stdout is not None
        asked = {"arguments": [str(argument) for argument in arguments], **request}
        stopper.stdin.write(json.dumps(asked, default=str) + "\n")
        stopper.stdin.flush()
        return Stopped(**json.loads(stopper.stdout.readline()))

    return call
