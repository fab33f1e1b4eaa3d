"""The conformance kit: what a plugin of each kind promises, as named laws that can be tried on it.

    idem plugins check NAME                      on the command line
    @parametrize_with_checks("NAME")             in a plugin's own tests
    check(Subject.installed("codec", "NAME"))    in Python

`docs/conformance.md` lists the laws. Light: torch is imported when laws are.
"""

from __future__ import annotations

from .checking import LawResult, Outcome, check, check_plugin
from .law import Broken, Law, NotTried, laws
from .parametrize import parametrize_with_checks
from .subject import Subject, subjects_of

__all__ = [
    "Broken",
    "Law",
    "LawResult",
    "NotTried",
    "Outcome",
    "Subject",
    "check",
    "check_plugin",
    "laws",
    "parametrize_with_checks",
    "subjects_of",
]
