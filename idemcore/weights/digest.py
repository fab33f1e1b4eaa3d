"""Digests: of values as JSON has them, and of the weights that a part loads."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import MissingError
from ..hookspecs import Spec
from ..io.files import sha256_of, text_bytes
from ..plugins.selection import Part
from .cards import ModelFile
from .store import find, location, stored

DIGITS = 16
"""Of ids: 64 bits, so that a store of a million runs has two alike with a chance of 3e-8."""


def digest(value: Any) -> str:
    """First digits of the sha256 of the value's JSON with sorted keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text_bytes(text)).hexdigest()[:DIGITS]


def weights_sha256(part: Part[Any]) -> str:
    """Of what the part's setting `weights` or `model` means; "" without weights.

    First digits of the file's sha256, as `sha256sum` has it; of several files, those of a digest of all.
    Raises MissingError for weights that are not here.
    """
    weights = getattr(part.config, "weights", "") or getattr(part.config, "model", "")
    if not weights:
        return ""
    paths = _weight_files(part.spec, str(weights), getattr(part.config, "quality", None))
    found = [file_sha256(path) for path in paths]
    return found[0][:DIGITS] if len(found) == 1 else digest(found)


def _weight_files(spec: Spec, weights: str, quality: int | None) -> list[Path]:
    """The files of a path, of a model card's name or id, or of what a plugin calls them, such as `bundled`."""
    path = Path(weights)
    if path.is_file():
        return sorted({path, *path.parent.glob(f"{path.stem}.bin")})
    if path.is_dir():
        files = sorted(path.rglob("*.safetensors"))
        return [file for file in files if file.stem.endswith(f"-{quality}")] or files
    cards = [file for name in spec.weights for file in find(name)]
    named = [file for file in cards if weights in (file.id, file.card)]
    meant = named or [file for file in cards if file.bundled == (weights == "bundled")]
    of_quality = [file for file in meant if file.quality in (None, quality)]
    if not meant:
        raise MissingError(f"There are no weights '{weights}' of '{spec.name}' here.", "See `idem models list`.")
    return [_here(file) for file in of_quality]


def _here(file: ModelFile) -> Path:
    path = location(file) if file.bundled else stored(file.id)
    return path if path is not None and path.is_file() else stored(file.id)


def file_sha256(path: Path) -> str:
    """In hex; computed once, until the file changes."""
    return _file_sha256(path, path.stat().st_mtime_ns)


@cache
def _file_sha256(path: Path, _: int) -> str:
    return sha256_of(path)
