"""Fetching a file over HTTP: a cut connection is gone on with, and the bytes are checked before anyone sees them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from http.client import HTTPException
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from ..errors import IdemError, IntegrityError
from ..io.files import sha256_of

OnBytes = Callable[[int, int | None], None]
"""Called with the bytes here so far and the bytes of the whole file, None if the server does not tell."""

TIMEOUT = 30.0
"""Seconds without an answer."""
CHUNK = 1 << 20
RANGE_NOT_SATISFIABLE = 416


def fetch(url: str, part: Path, checksum: str, progress: OnBytes) -> str:
    """Downloads to `part` and returns the file's sha256 in hex.

    `checksum` is that sha256 or its first digits, or "" if none is published. With one, the bytes that `part` already
    has are kept and only the others asked for: it will tell whether they fit. Raises IdemError if the server cannot be
    reached or the connection ends early (`part` stays), IntegrityError if the bytes are others (`part` is removed).
    """
    begin = part.stat().st_size if checksum and part.is_file() else 0
    _receive(url, part, begin, bool(checksum), progress)
    found = sha256_of(part)
    if found.startswith(checksum):
        return found
    part.unlink()
    if begin:  # the file there is no longer the one that was begun
        return fetch(url, part, checksum, progress)
    message = f"{url} sent a file with sha256 {found[: max(8, len(checksum))]}, where {checksum} is published."
    raise IntegrityError(message, "Nothing was stored. If it stays so, the file there has been replaced.")


def _receive(url: str, part: Path, begin: int, resumable: bool, progress: OnBytes) -> None:
    """Makes `part` whole: appends from byte `begin` on if the server can, else starts at 0."""
    headers = {"User-Agent": f"idemcore/{version('idemcore')}"} | ({"Range": f"bytes={begin}-"} if begin else {})
    try:
        response = urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if begin and error.code == RANGE_NOT_SATISFIABLE:
            return  # no byte is missing; the checksum will tell whether they are right
        raise IdemError(f"{url} answers {error.code} {error.reason}.", "See if it has moved.") from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise IdemError(f"{url} cannot be reached: {reason}.", "Check the network and try again.") from error
    with response:
        here = _resumed_at(response, begin)
        length = response.headers.get("Content-Length") or ""
        total = here + int(length) if length.isdecimal() else None
        try:
            with open(part, "ab" if here else "wb") as file:
                progress(here, total)
                for chunk in _chunks(response, url):
                    file.write(chunk)
                    here += len(chunk)
                    progress(here, total)
        except OSError as error:
            raise IdemError(f"Cannot write {part}: {error.strerror}.", "IDEM_CACHE names another folder.") from error
    if total is not None and here < total:
        raise _cut(url, f"{here:,} of {total:,} bytes", resumable)


def _resumed_at(response: Any, begin: int) -> int:
    """`begin` if the answer starts at this byte, 0 if the server ignores ranges and sends the whole file."""
    told = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return begin if told and int(told[1]) == begin else 0


def _chunks(response: Any, url: str) -> Iterator[bytes]:
    try:
        while chunk := response.read1(CHUNK):
            yield chunk
    except (OSError, HTTPException) as error:
        raise IdemError(f"The connection to {url} broke: {error}.", "Type the same again.") from error


def _cut(url: str, told: str, resumable: bool) -> IdemError:
    hint = "Type the same again: it goes on from there." if resumable else "Type the same again."
    return IdemError(f"The connection to {url} ended after {told}.", hint)
