"""Digests: of values as JSON has them, and of the weights that a part loads."""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import MissingError
from ..hookspecs import Spec
from ..io.files import sha256_of, text_bytes
from ..plugins.objects import HERE
from ..plugins.selection import Part
from .cards import ModelFile
from .hub import local_repository
from .store import find, location, stored

NONE = "none"
"""What a setting says that may do without weights."""
DIGITS = 16
"""Of ids: 64 bits, so that a store of a million runs has two alike with a chance of 3e-8."""


def digest(value: Any) -> str:
    """First digits of the sha256 of the value's JSON with sorted keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text_bytes(text)).hexdigest()[:DIGITS]


def weights_sha256(part: Part[Any]) -> str:
    """Of what the part's settings `Spec.weights_from` mean; "" without weights.

    First digits of the file's sha256, as `sha256sum` has it; of several files, those of a digest of all. Raises
    MissingError for weights that are not here.
    """
    if part.distribution == HERE:  # an object's version tells what it is made of
        return ""
    named = [str(getattr(part.config, key, "")) for key in part.spec.weights_from]
    quality = getattr(part.config, "quality", None)
    meant = (_weight_files(part.spec, name, quality) for name in named if name not in ("", NONE))
    found = [file_sha256(path) for files in meant for path in files]
    return found[0][:DIGITS] if len(found) == 1 else digest(found) if found else ""


def _weight_files(spec: Spec, weights: str, quality: int | None) -> list[Path]:
    """The files of a path, of a model card's name or id, of a repository, or of what a plugin calls them: `bundled`."""
    path = Path(weights)
    if path.is_file():
        return sorted({path, *path.parent.glob(f"{path.stem}.bin")})
    if folder := path if path.is_dir() else local_repository(weights):
        return _files_of_folder(folder, quality)
    cards = [file for name in spec.weights for file in find(name)]
    named = [file for file in cards if weights in (file.id, file.card)]
    meant = named or [file for file in cards if file.bundled == (weights == "bundled")]
    of_quality = [file for file in meant if file.quality in (None, quality)]
    if not spec.weights:
        return []  # a name that only the plugin knows
    if not meant:
        raise MissingError(f"There are no weights '{weights}' of '{spec.name}' here.", "See `idem models list`.")
    return [_here(file) for file in of_quality]


def _files_of_folder(folder: Path, quality: int | None) -> list[Path]:
    """Those of a codec's rate where they are named so; else all tensors, and what says how they are used."""
    tensors = sorted(folder.rglob("*.safetensors"))
    if own := [file for file in tensors if file.stem.endswith(f"-{quality}")]:
        return own
    files = tensors or [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [*files, *(path for path in sorted(folder.rglob("*config.json")) if path not in files)]


def _here(file: ModelFile) -> Path:
    path = location(file) if file.bundled else stored(file.id)
    return path if path is not None and path.is_file() else stored(file.id)


def file_sha256(path: Path) -> str:
    """In hex; computed once, until the file changes."""
    return _file_sha256(path, path.stat().st_mtime_ns)


@cache
def _file_sha256(path: Path, _: int) -> str:
    name = path.resolve().name  # the Hub's cache calls large files by their sha256: many gigabytes need not be read
    return name if _SHA256.fullmatch(name) else sha256_of(path)


_SHA256 = re.compile("[0-9a-f]{64}")
