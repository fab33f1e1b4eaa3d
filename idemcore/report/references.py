"""Published rate-distortion curves in CompressAI's result format, drawn where their protocol matches.

A file may say beside its results on which images it was measured, where the figures come from, and when:
`"protocol": {"images": "kodak24"}`, a set of `registry/image_sets/`; `"source"`; `"date"`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from ..evaluation.baselines import pixels_digest
from ..evaluation.curves import RATE, Curve
from ..evaluation.known_sets import difference, recognised
from ..plugins.registry import registry_folder
from .measures import canonical


@dataclass(frozen=True)
class Reference:
    """One published curve: values by canonical metric name, all as long as `bpp`."""

    name: str
    description: str
    results: dict[str, list[float]]
    images: str = ""
    """Name of the image set that it was measured on; empty if the file does not say."""
    pixels: str = ""
    """`pixels_digest` of the images that it was measured on, where they are no known set."""
    source: str = ""

    def points(self, metric: str) -> list[tuple[float, float]]:
        """(bpp, value) by ascending rate; empty if the curve lacks the metric."""
        values = self.results.get(canonical(metric), [])
        return sorted(pair for pair in zip(self.results[RATE], values) if all(map(math.isfinite, pair)))  # noqa: B905


def read_reference(path: Path) -> Reference:
    """Raises InputError for a file that is no `Curve`; what is undefined in it (`null`) is a point less."""
    curve = Curve.read(path)
    values = {key: [math.nan if v is None else v for v in found] for key, found in curve.results.items()}
    results = {canonical(key): found for key, found in values.items()}
    images, pixels = (str(curve.protocol.get(key, "")) for key in ("images", "pixels_sha256"))
    return Reference(curve.name or path.stem, curve.description, results, images, pixels, curve.source)


def published_curves(pixels: Iterable[str]) -> list[Reference]:
    """The curves of the registry that were measured on exactly the images of these sha256."""
    known = recognised(pixels)
    everything = (read_reference(path) for path in sorted((registry_folder() / "results").rglob("*.json")))
    return [reference for reference in everything if known and reference.images == known.name]


HINT = "Leave it out, or run the sweep on the images of its protocol."


def given_curves(files: Iterable[Path], pixels: Sequence[str]) -> list[Reference]:
    """The curves in `files`. Raises UsageError for one that was measured on other images than those of these sha256."""
    known, found = recognised(pixels), []
    for path in files:
        reference = read_reference(path)
        if reference.images and (known is None or reference.images != known.name):
            reason = f"{path} was measured on {difference(reference.images, pixels)}: the two cannot be compared."
            raise UsageError(reason, HINT)
        if reference.pixels and reference.pixels != pixels_digest(pixels):
            raise UsageError(f"{path} was measured on other images than these: the two cannot be compared.", HINT)
        found.append(reference)
    return found
