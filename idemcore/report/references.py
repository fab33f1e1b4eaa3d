"""Published rate-distortion curves in CompressAI's result format."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
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
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        hint = "It needs results: {bpp: [...], psnr-rgb: [...], ...} with lists of one length."
        raise InputError(f"{path} is no result file in CompressAI's format: {error}.", hint) from error
    return Reference(str(name), str(description), results)


def reference_curves(files: Sequence[Path] = ()) -> list[Reference]:
    """Those of the registry, then of `files`."""
    folder = registry_folder() / "results"
    return [read_reference(path) for path in [*sorted(folder.rglob("*.json")), *files]]
