"""Who may talk to the app: whoever has its address, with the token in it, from a page of its own."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
"""Of every answer: nothing is loaded from elsewhere, and no other page sees the address."""
NO_TOKEN = "This page needs its whole address, as `idem app` printed it: it ends with a key that only you have.\n"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Guard:
    """Takes the token off the path, and turns away requests that lack it or that another page makes.

    The address is the only key: no cookie, which other ports of this machine would see.
    """

    def __init__(self, app: ASGIApp, token: str, hosts: Collection[str], any_address: bool = False) -> None:
        """`hosts`: names that the address may have; `any_address`: numeric addresses, too."""
        self.app, self.token, self.hosts, self.any_address = app, token, frozenset(hosts), any_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refusal = self.refusal(scope)
        if refusal:
            await PlainTextResponse(*refusal)(scope, receive, with_headers)
            return
        rest = scope["path"][len(self.token) + 1 :] or "/"
        await self.app({**scope, "path": rest, "raw_path": rest.encode()}, receive, with_headers)

    def refusal(self, scope: Scope) -> tuple[str, int] | None:
        """What to say, and the status; None for a request that is welcome."""
        headers = Headers(scope=scope)
        if not self._known(headers.get("host", "")):
            return "This address does not belong to idem.\n", 421
        given = scope["path"].split("/", 2)[1] if scope["path"].startswith("/") else ""
        if not secrets.compare_digest(given.encode(), self.token.encode()):
            return NO_TOKEN, 403
        if self._foreign(headers, scope["method"]):
            return "Another page asked for this; idem answers its own page only.\n", 403
        return None

    def _known(self, host: str) -> bool:
        """Against pages elsewhere whose name was made to mean this machine (DNS rebinding)."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name in self.hosts or (self.any_address and _is_address(name))

    def _foreign(self, headers: Headers, method: str) -> bool:
        """Does a page of another origin ask? Links that lead here are welcome."""
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            return True
        opened = method == "GET" and headers.get("sec-fetch-mode") == "navigate"
        return headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none") and not opened


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
