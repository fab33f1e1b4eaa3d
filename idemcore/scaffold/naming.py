"""What a new plugin is called: as a distribution, as a module, on the command line."""

from __future__ import annotations

import keyword
import re
import sys
from dataclasses import dataclass
from importlib.util import find_spec

from ..errors import UsageError

LONGEST = 40
"""Characters of a name: lines of the written code stay within theirs."""
_DISTRIBUTION = re.compile(r"[a-z0-9]|[a-z0-9][a-z0-9._-]*[a-z0-9]", re.IGNORECASE)


@dataclass(frozen=True)
class Names:
    """Two spellings of one name."""

    distribution: str
    """As PEP 503 normalises it, e.g. `my-codec`: of the distribution, and of what the plugin provides."""
    module: str
    """e.g. `my_codec`."""


def names_of(name: str) -> Names:
    """The spellings of what a user typed. Raises UsageError for what cannot be a distribution and a module."""
    if not _DISTRIBUTION.fullmatch(name):
        message = (
            f"'{name}' is not a name of a distribution: letters, digits and . _ - only, none of these three at an end."
        )
        raise UsageError(message, f"Try `idem plugins new {_suggestion(name)}`.")
    if len(name) > LONGEST:
        raise UsageError(f"'{name}' has {len(name)} characters; a plugin's name has at most {LONGEST}.", "Shorten it.")
    distribution = re.sub(r"[-_.]+", "-", name).lower()
    names = Names(distribution, distribution.replace("-", "_"))
    if reason := _unusable(names.module):
        raise UsageError(f"A plugin cannot be called '{name}': {reason}.", f"Try `idem plugins new {_longer(names)}`.")
    return names


def _unusable(module: str) -> str:
    """Why Python cannot have a module of this name here; empty if it can."""
    if not module.isidentifier():
        return f"its module {module} would begin with a digit"
    if keyword.iskeyword(module):
        return f"{module} is a keyword of Python"
    if module in sys.stdlib_module_names:
        return f"{module} is a module of Python's own library"
    if find_spec(module):
        return f"the module {module} is installed already"
    return ""


def _suggestion(name: str) -> str:
    cleaned = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return cleaned[:LONGEST].strip("-") or "my-plugin"


def _longer(names: Names) -> str:
    return f"my-{names.distribution}"
