"""Model cards: `registry/models/*.yaml`, which say of every network where its weights are and what they are.

A card describes one file of weights, or several under `files`. Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

from ..errors import InputError, nearest
from ..io.safe_yaml import read_text, safe_load
from ..plugins.registry import registry_folder

Kind = Literal["codec", "generator"]


@dataclass(frozen=True)
class ModelFile:
    """One file of weights."""

    id: str
    """What `--set ...weights=` and `idem models` call it; the card's name where the card has one file."""
    card: str
    plugin: str
    """Distribution that loads it, e.g. `idemcore-ddpm`."""
    file: str = ""
    """Path inside the plugin's package, of bundled weights; empty for published ones, which live in the cache."""
    package: str = ""
    """Distribution that carries `file`, where it is another than `plugin`."""
    adapter: str = ""
    """`package.module:function` of the plugin, a `weights.store.Adapter`, of published weights."""
    reader: str = ""
    """`package.module:function` of the plugin, a `weights.store.Reader`, of published ones that are no state dict."""
    url: str = ""
    """Where a program can fetch it."""
    page: str = ""
    """Where a person finds it."""
    source: str = ""
    """Name of the published file and who released it."""
    sha256: str = ""
    """Of the bundled or published file, in hex."""
    sha256_prefix: str = ""
    """Its first digits, where no more is published."""
    bytes: int | None = None
    quality: int | None = None
    """`--quality` of the codec that these weights serve."""
    lambda_: float | None = None
    """Weight of the distortion in the loss, as its authors give it. `lambda` in the card."""

    @property
    def carrier(self) -> str:
        """Distribution that carries bundled weights."""
        return self.package or self.plugin

    @property
    def bundled(self) -> bool:
        return bool(self.file)

    @property
    def checksum(self) -> str:
        """The published sha256, its first digits, or ""."""
        return self.sha256 or self.sha256_prefix


@dataclass(frozen=True)
class Card:
    """One model card."""

    name: str
    kind: Kind
    plugin: str
    summary: str
    files: tuple[ModelFile, ...]
    facts: Mapping[str, Any]
    """What is told to people: layout, licence, training, citation."""


REQUIRED = ("name", "kind", "plugin", "summary")
FACTS = (
    "layout", "parameters", "format", "value_range", "noise", "schedule", "licence", "training", "validation",
    "notes", "citation",
)  # fmt: skip
SHARED = ("adapter", "reader", "page", "source", "package")
"""Keys of a file that a card with `files` may give once, for all of them."""

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "id": str, "file": str, "package": str, "adapter": str, "reader": str, "url": str, "page": str, "source": str,
    "sha256": str, "sha256_prefix": str, "bytes": int, "quality": int, "lambda": (int, float),
}  # fmt: skip
_FORMS: Mapping[str, tuple[str, str]] = {
    "id": (r"[A-Za-z0-9][A-Za-z0-9._+-]*", "letters, digits and . _ + -"),
    "adapter": (r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", "'package.module:function'"),
    "reader": (r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", "'package.module:function'"),
    "url": (r"https?://\S+", "an address that begins with https://"),
    "page": (r"https?://\S+", "an address that begins with https://"),
    "sha256": (r"[0-9a-f]{64}", "64 digits of lower-case hex"),
    "sha256_prefix": (r"[0-9a-f]{8,63}", "at least 8 digits of lower-case hex"),
}


class _Wrong(Exception):
    """What is wrong with a card."""


def cards() -> tuple[Card, ...]:
    """All model cards, by name. Raises InputError naming the card and the key that is wrong."""
    return _read_cards(registry_folder() / "models")


@cache
def _read_cards(folder: Path) -> tuple[Card, ...]:
    found = tuple(read_card(path) for path in sorted(folder.glob("*.yaml")))
    owners: dict[str, str] = {}
    for card in found:
        for name in {card.name, *(file.id for file in card.files)}:
            if name in owners:
                raise InputError(f"The model cards {owners[name]} and {card.name} in {folder} both name '{name}'.")
            owners[name] = card.name
    return found


def read_card(path: Path) -> Card:
    """The card of a YAML file. Raises InputError naming the key that is wrong."""
    try:
        return _card(safe_load(read_text(path)), path.stem)
    except ValueError as error:
        raise InputError(f"The model card {path} is not YAML: {error}.") from error
    except _Wrong as error:
        raise InputError(f"The model card {path} is wrong: {error}.") from error


def _card(content: Any, stem: str) -> Card:
    if not isinstance(content, dict):
        raise _Wrong("it is not a mapping of keys")
    _check_keys(content, {*REQUIRED, *FACTS, "files", *_TYPES})
    for key in REQUIRED:
        if not isinstance(content.get(key), str):
            raise _Wrong(f"'{key}' is missing, or no text")
    if content["name"] != stem:
        raise _Wrong(f"its name is '{content['name']}', that of the file '{stem}'")
    if content["kind"] not in ("codec", "generator"):
        raise _Wrong(f"kind is '{content['kind']}', not codec or generator")
    files = tuple(_file(entry, content["name"], content["plugin"]) for entry in _entries(content))
    facts = {key: content[key] for key in FACTS if key in content}
    return Card(content["name"], cast(Kind, content["kind"]), content["plugin"], content["summary"], files, facts)


def _entries(content: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The keys of each file: the card's own, or those in `files` with what they share."""
    own = {key: content[key] for key in _TYPES if key in content}
    if "files" not in content:
        yield {"id": content["name"], **own}
        return
    if misplaced := sorted(own.keys() - set(SHARED)):
        raise _Wrong(f"'{misplaced[0]}' belongs in the entries of 'files'")
    entries, seen = content["files"], set()
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise _Wrong("'files' is not a list of mappings")
    for entry in entries:
        _check_keys(entry, set(_TYPES))
        if not isinstance(entry.get("id"), str):
            raise _Wrong("a file has no 'id', or one that is no text")
        if entry["id"] in seen:
            raise _Wrong(f"two files have the id '{entry['id']}'")
        seen.add(entry["id"])
        yield {**own, **entry}


def _file(entry: Mapping[str, Any], card: str, plugin: str) -> ModelFile:
    name = entry["id"]
    for key, value in entry.items():
        if not isinstance(value, _TYPES[key]) or isinstance(value, bool):
            text = " in quotes" if _TYPES[key] is str else ""
            raise _Wrong(f"'{key}' of {name} is {value!r}, not {'text' if text else 'a number'}{text}")
        if key in _FORMS and not re.fullmatch(_FORMS[key][0], str(value)):
            raise _Wrong(f"'{key}' of {name} is {value!r}, not {_FORMS[key][1]}")
    published = ("adapter", "source") if "url" in entry else ("adapter", "source", "page")
    for key in ("sha256", "bytes") if "file" in entry else published:
        if key not in entry:
            raise _Wrong(f"'{key}' of {name} is missing")
    return ModelFile(card=card, plugin=plugin, **{"lambda_" if k == "lambda" else k: v for k, v in entry.items()})


def _check_keys(content: Mapping[str, Any], allowed: set[str]) -> None:
    for key in content:
        if key not in allowed:
            guess = nearest(str(key), sorted(allowed))
            raise _Wrong(f"there is no key '{key}'{f' ({guess})' if guess else ''}")
