"""The reviewed data of `registry/`: shipped inside the package in a wheel, at the repository's root in a checkout."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from ..errors import MissingError


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
    """`plugins.yaml`: from a distribution's name to its summary and, for each kind, the names that it provides."""
    import yaml

    with open(registry_folder() / "plugins.yaml", encoding="utf-8") as file:
        known: dict[str, dict[str, Any]] = yaml.safe_load(file)
    return known


def distributions_that_provide(kind: str, name: str) -> list[str]:
    """Distributions, installed or not, that the registry knows to provide `name`."""
    return [distribution for distribution, entry in known_plugins().items() if name in entry.get(kind, [])]
