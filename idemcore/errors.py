"""Errors that a user reads: what, where, why and what to type next, with the exit code of the command line."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_INTEGRITY, EXIT_MISSING, EXIT_RUNS, EXIT_INTERRUPTED = 0, 1, 2, 3, 4, 5, 130


class IdemError(Exception):
    """Base of every error that idem raises on purpose. `hint` is the next thing to type or to check."""

    exit_code = EXIT_FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class IdemWarning(UserWarning):
    """What a user should know of a result that is made nevertheless; the command line prints it as a note."""


@contextmanager
def named(subject: str) -> Iterator[list[str]]:
    """Gives the notes (`IdemWarning`) of the block, and when it ends, passes them on with the name of their subject."""
    notes: list[str] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", IdemWarning)
            try:
                yield notes
            finally:
                notes += dict.fromkeys(str(one.message) for one in caught if issubclass(one.category, IdemWarning))
    finally:
        for one in caught:
            if not issubclass(one.category, IdemWarning):
                warnings.warn_explicit(one.message, one.category, one.filename, one.lineno, source=one.source)
        for note in notes:
            warnings.warn(IdemWarning(note if subject in note else f"{subject}: {note}"), stacklevel=4)


class InputError(IdemError):
    """A file that exists but is not what it should be (exit 1)."""


class UsageError(IdemError):
    """A flag, name, config key or path that cannot be right (exit 2)."""

    exit_code = EXIT_USAGE


class UnsupportedCombination(UsageError):
    """Codec, generator and solver that cannot work together (exit 2)."""


class Unsupported(Exception):
    """Raised by an optional method that this codec or generator does not offer; says what would work instead."""


class BitstreamError(IdemError):
    """A bitstream that is damaged, truncated or was written by another model (exit 3)."""

    exit_code = EXIT_INTEGRITY


class IntegrityError(IdemError):
    """A download or a stored file whose bytes are not those that they should be (exit 3)."""

    exit_code = EXIT_INTEGRITY


class NotExact(IdemError):
    """`--require-exact` was given and the image does not re-encode to its bitstream (exit 3)."""

    exit_code = EXIT_INTEGRITY


class MissingError(IdemError):
    """A plugin, weight file or device that is not here (exit 4)."""

    exit_code = EXIT_MISSING


def nearest(name: str, choices: list[str], cutoff: float = 0.4) -> str:
    """' Did you mean X?' for the choice closest to `name`, or ''."""
    import difflib

    found = difflib.get_close_matches(name, choices, n=1, cutoff=cutoff)
    return f"Did you mean '{found[0]}'?" if found else ""


def article(noun: str) -> str:
    """`an Encoder`, `a Cell`."""
    return f"an {noun}" if noun[0].lower() in "aeiou" else f"a {noun}"
