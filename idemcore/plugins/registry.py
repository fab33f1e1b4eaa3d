"""The reviewed data of `registry/`: shipped inside the package in a wheel, at the repository's root in a checkout."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import Any

from ..errors import MissingError

_STANDARD = re.compile(r"extra\s*==\s*['\"]standard['\"]")
_NAME = re.compile(r"[\w.-]*\w")


@cache
def registry_folder() -> Path:
    """The folder that holds `plugins.yaml` and `models/`. Raises MissingError if the installation has lost it."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "registry", package.parent / "registry"):
        if (folder / "plugins.yaml").is_file():
            return folder
    raise MissingError(f"{package} has no registry data.", "Reinstall it: `pip install --force-reinstall idemcore`.")


@cache
def known_plugins() -> dict[str, dict[str, Any]]:
    """`plugins.yaml`: from a distribution's name to its summary and, for each kind, the names that it provides.

    `magic` has the first bytes, in hexadecimal, of the files that a codec of its reads.
    """
    import yaml

    with open(registry_folder() / "plugins.yaml", encoding="utf-8") as file:
        known: dict[str, dict[str, Any]] = yaml.safe_load(file)
    return known


@cache
def standard_plugins() -> frozenset[str]:
    """The distributions of `pip install "idemcore[standard]"`, by the metadata of this installation."""
    try:
        wanted = requires("idemcore") or []
    except PackageNotFoundError:
        return frozenset()
    return frozenset(found[0] for line in wanted if _STANDARD.search(line) and (found := _NAME.match(line)))


def distributions_that_read(data: bytes) -> list[str]:
    """Distributions, installed or not, whose files begin as `data` does."""
    return [
        distribution
        for distribution, entry in known_plugins().items()
        for begin in entry.get("magic", {}).values()
        if data.startswith(bytes.fromhex(begin))
    ]


def install_line(distributions: Sequence[str]) -> str:
    """What to type to install them, shortest: several of the usual ones are one extra."""
    if len(distributions) > 1 and standard_plugins().issuperset(distributions):
        return 'pip install "idemcore[standard]"'
    return f"pip install {' '.join(distributions)}"


def distributions_that_provide(kind: str, name: str) -> list[str]:
    """Distributions, installed or not, that the registry knows to provide `name`."""
    return [distribution for distribution, entry in known_plugins().items() if name in entry.get(kind, [])]
