"""Sweeps that come with idem, `registry/sweeps/NAME.yaml`: the user brings the images. Imports no torch."""

from __future__ import annotations

from ..errors import UsageError, nearest
from ..plugins.registry import registry_folder
from .grid import Definition, load_definition


def presets() -> dict[str, Definition]:
    """By name."""
    return {path.stem: load_definition(path) for path in sorted((registry_folder() / "sweeps").glob("*.yaml"))}


def preset(name: str) -> Definition:
    """Raises UsageError for a name that is none."""
    known = presets()
    if name not in known:
        told = "; ".join(f"{other} ({definition.title})" for other, definition in known.items())
        raise UsageError(f"There is no preset '{name}'.", f"{nearest(name, list(known))} Presets: {told}.".strip())
    return known[name]
