"""From a dataclass to JSON and back, with the version of its schema. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from types import UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

SCHEMA = 1
"""Version of every document that idem writes: it grows when a key changes its meaning or goes away."""


class OtherSchema(ValueError):
    """A document that another version of idem wrote."""


ObjectT = TypeVar("ObjectT", bound="JsonObject")


@dataclass(frozen=True)
class JsonObject:
    """An object within a document. Its fields are the keys of its JSON, all of them always there."""

    def to_json(self) -> dict[str, Any]:
        """The fields in order; null for a number that is infinite or undefined, which JSON cannot hold."""
        return {field.name: as_json(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_json(cls: type[ObjectT], content: Any) -> ObjectT:
        """Reads what `to_json` gave; a key that is not there has its default. Raises TypeError or ValueError."""
        if not isinstance(content, Mapping):
            raise TypeError(f"expected an object, not {content!r:.80}")
        types = _types(cast(Any, cls))
        return cls(**{key: _typed(kind, content[key], key) for key, kind in types.items() if key in content})


@dataclass(frozen=True)
class JsonDocument(JsonObject):
    """A file, or a line of one. `schema` is its last key."""

    def to_json(self) -> dict[str, Any]:
        """The fields in order, and `schema`."""
        return {**super().to_json(), "schema": SCHEMA}

    @classmethod
    def from_json(cls: type[ObjectT], content: Any) -> ObjectT:
        """Raises OtherSchema for a schema that this idem does not read, TypeError for what is no such document."""
        if isinstance(content, Mapping) and (found := content.get("schema")) != SCHEMA:
            raise OtherSchema(f"its schema is {found!r}; this idem reads {SCHEMA}")
        return super().from_json(content)


def as_json(value: Any) -> Any:
    """A value of a field: objects and arrays within it too; what JSON does not know becomes text."""
    if isinstance(value, JsonObject):
        return value.to_json()
    if isinstance(value, Mapping):
        return {str(key): as_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_json(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)


@cache
def _types(cls: Any) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in fields(cls)}


def _typed(kind: Any, value: Any, key: str) -> Any:
    """Objects as the classes that the annotation names, numbers and text as they are. Raises TypeError for others."""
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    if value is None and type(None) in kinds:
        return None
    if isinstance(kinds[0], type) and issubclass(kinds[0], JsonObject):
        return kinds[0].from_json(value)
    if get_origin(kinds[0]) is tuple:
        return tuple(_typed(get_args(kinds[0])[0], inner, key) for inner in value)
    accepted = (*(one for one in kinds if one in _SCALARS), *((int,) if float in kinds else ()))
    if accepted and not isinstance(value, accepted):
        raise TypeError(f"'{key}' cannot be {value!r:.80}")
    return value


_SCALARS = (bool, int, float, str)
