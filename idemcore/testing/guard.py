"""What a plugin must leave alone: the state of the process, and the network."""

from __future__ import annotations

import os
import random
import signal
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Watched:
    """What a piece of work gave, and did beside."""

    outputs: Any
    """None if it failed for want of the network."""
    changed: tuple[str, ...]
    """Global state of Python, NumPy and PyTorch that is not as it was before."""
    asked: tuple[str, ...]
    """Other machines that it wanted to reach."""


def watch(work: Callable[[], Any]) -> Watched:
    """Does the work without a network, with global random numbers of other seeds than usual."""
    outputs = None
    with seeded(12345), network(refused=True) as asked:
        before = _state()
        try:
            outputs = work()
        except Exception:  # plugins wrap the error of a connection as they like
            if not asked:
                raise
        after = _state()
    return Watched(outputs, tuple(name for name in before if before[name] != after[name]), tuple(asked))


def _state() -> dict[str, Any]:
    import numpy as np
    import torch

    cudnn = torch.backends.cudnn
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "Python's global random numbers": random.getstate(),
        "NumPy's global random numbers": (name, keys.tobytes(), *rest),  # type: ignore[union-attr]
        "PyTorch's global random numbers": torch.get_rng_state().numpy().tobytes(),
        "the number of PyTorch's threads": torch.get_num_threads(),
        "PyTorch's default dtype": torch.get_default_dtype(),
        "PyTorch's default device": torch.get_default_device(),
        "whether gradients are recorded": torch.is_grad_enabled(),
        "whether PyTorch is deterministic": torch.are_deterministic_algorithms_enabled(),
        "the precision of matrix products": torch.get_float32_matmul_precision(),
        "flags of cuDNN": (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32),
        "autocast": torch.is_autocast_enabled("cpu"),
        "the working directory": os.getcwd(),
        "environment variables": dict(os.environ),
        "filters of warnings": list(warnings.filters),
        "the handler of Ctrl-C": signal.getsignal(signal.SIGINT),
    }


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The block with global random numbers of Python, NumPy and PyTorch seeded; as they were afterwards."""
    import numpy as np
    import torch

    before = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])


@contextmanager
def threads(count: int) -> Iterator[None]:
    """The block with so many threads of PyTorch; as many as before afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def network(refused: bool) -> Iterator[list[str]]:
    """Gives the list of other machines that the block asks for, by name or by address, and may refuse it them."""
    asked: list[str] = []

    def note(address: Any) -> None:
        asked.append(str(address))
        if refused:
            raise OSError(f"there is no network here, and {address} was asked for")

    def connect(self: socket.socket, address: Any) -> None:
        if self.family != _LOCAL:
            note(address)
        return connects[0](self, address)

    def connect_ex(self: socket.socket, address: Any) -> int:
        if self.family != _LOCAL:
            note(address)
        return connects[1](self, address)

    def look_up(host: Any, *arguments: Any, **options: Any) -> Any:
        note(host)
        return lookup(host, *arguments, **options)

    connects, lookup = (socket.socket.connect, socket.socket.connect_ex), socket.getaddrinfo
    socket.socket.connect, socket.socket.connect_ex = connect, connect_ex  # type: ignore[method-assign,assignment]
    socket.getaddrinfo = look_up
    try:
        yield asked
    finally:
        socket.socket.connect, socket.socket.connect_ex = connects  # type: ignore[method-assign]
        socket.getaddrinfo = lookup


_LOCAL = getattr(socket, "AF_UNIX", None)
"""Sockets of this machine alone."""
