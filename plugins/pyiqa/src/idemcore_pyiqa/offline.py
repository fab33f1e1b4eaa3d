"""No download that nobody asked for: within the block, this thread opens no connection. Imports no torch."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class WouldDownload(OSError):
    """A connection was about to be opened."""


@contextmanager
def offline() -> Iterator[None]:
    """Other threads go on as they are. Raises WouldDownload inside, from whatever connects or asks for a host.

    huggingface_hub, which would try again and again, is told that it is offline.
    """
    real, ask, thread = socket.socket.connect, socket.getaddrinfo, threading.get_ident()

    def connect(this: socket.socket, address: Any) -> None:
        if threading.get_ident() == thread and this.family != getattr(socket, "AF_UNIX", None):
            raise WouldDownload(f"it would connect to {address}")
        real(this, address)

    def getaddrinfo(host: Any, *rest: Any, **more: Any) -> Any:
        if threading.get_ident() == thread:
            raise WouldDownload(f"it would connect to {host}")
        return ask(host, *rest, **more)

    hub: Any = sys.modules.get("huggingface_hub.constants")
    was = getattr(hub, "HF_HUB_OFFLINE", None)
    socket.socket.connect, socket.getaddrinfo = connect, getaddrinfo  # type: ignore[method-assign, assignment]
    try:
        if hub:
            hub.HF_HUB_OFFLINE = True
        yield
    finally:
        socket.socket.connect, socket.getaddrinfo = real, ask  # type: ignore[method-assign]
        if hub:
            hub.HF_HUB_OFFLINE = was
