"""Published rate-distortion curves in CompressAI's result format, drawn where their protocol matches.

A file may say beside its results on which images it was measured, where the figures come from, and when:
`"protocol": {"images": "kodak24"}`, a set of `registry/image_sets/`; `"source"`; `"date"`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError, UsageError
from ..evaluation.baselines import pixels_digest
from ..evaluation.known_sets import difference, recognised
from ..io.files import parse_json, read_file
from ..plugins.registry import registry_folder
from .measures import canonical
from .summary import RATE


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
    """Raises InputError for a file that is not `{"name", "results": {"bpp": [...], "psnr-rgb": [...], ...}}`."""
    try:
        content = parse_json(read_file(path))
        results = {canonical(key): [float(v) for v in values] for key, values in content["results"].items()}
        if any(len(values) != len(results[RATE]) for values in results.values()):
            raise ValueError("its lists are not of one length")
        name, description = content.get("name") or path.stem, content.get("description") or ""
        protocol = dict(content.get("protocol") or {})
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        hint = "It needs results: {bpp: [...], psnr-rgb: [...], ...} with lists of one length."
        raise InputError(f"{path} is not a result file in CompressAI's format: {error}.", hint) from error
    images, named = str(protocol.get("images", "")), str(protocol.get("pixels_sha256", ""))
    source = str(content.get("source") or "")
    return Reference(str(name), str(description), results, images, pixels=named, source=source)


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
