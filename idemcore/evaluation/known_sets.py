"""Image sets of published protocols, recognised by their pixels: `registry/image_sets/`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from ..io.safe_yaml import read_text, safe_load
from ..plugins.registry import registry_folder


@dataclass(frozen=True)
class KnownSet:
    """A set of images that results are published on."""

    name: str
    """What a result's `protocol.images` says, such as `kodak24`."""
    title: str
    pixels: frozenset[str]
    """sha256 of each image's RGB bytes, row by row."""


@cache
def known_sets() -> dict[str, KnownSet]:
    """By name."""
    paths = sorted((registry_folder() / "image_sets").glob("*.yaml"))
    contents = {path.stem: safe_load(read_text(path)) for path in paths}
    return {name: KnownSet(name, c["title"], frozenset(c["images"].values())) for name, c in contents.items()}


def recognised(pixels: Iterable[str]) -> KnownSet | None:
    """The set that has exactly the images of these sha256, whole; None for any other images."""
    given = frozenset(pixels)
    return next((known for known in known_sets().values() if known.pixels == given), None)


def difference(name: str, pixels: Iterable[str]) -> str:
    """How the images of these sha256 differ from the set `name`, in a few words, for people."""
    known, given = known_sets().get(name), frozenset(pixels)
    if known is None:
        return f"images that this idem does not know by the name '{name}'"
    shared, others = len(given & known.pixels), len(given - known.pixels)
    return f"{known.title}; here are {shared} of these {len(known.pixels)} images, whole, and {others} others"
