"""The page of schemas: every document that idem writes, from `idemcore.results`. Imports no torch."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise
from textwrap import dedent
from typing import get_args, get_type_hints

from idemcore.results.base import SCHEMA, JsonDocument, JsonObject
from idemcore.results.certificate import Certificate
from idemcore.results.rows import BenchReport, CurveMeta, EvalRow, SweepRow
from idemcore.results.run_report import RunReport
from idemcore.results.samples_report import SamplesReport

DOCUMENTS: tuple[type[JsonObject], ...] = (
    Certificate, RunReport, SamplesReport, SweepRow, BenchReport, EvalRow, CurveMeta,
)  # fmt: skip
INTRO = f"""The keys of what idem writes as JSON. All of them are always there, and null where they do not apply.
Every document ends with `"schema": {SCHEMA}`, which grows when a key changes its meaning or goes away; a new key leaves
it as it is. In Python, `from_json` of each class gives the object back, and refuses another schema."""


def sections() -> Iterator[str]:
    """A section for each document, and for each object within them, once."""
    for cls in dict.fromkeys(one for document in DOCUMENTS for one in (document, *_inner(document))):
        rows = "\n".join(_row(cls, name) for name in keys(cls))
        doc = f"{inspect.cleandoc(cls.__doc__ or '')} In Python: `{cls.__module__}.{cls.__name__}`."
        yield f"## `{cls.__name__}`\n\n{doc}\n\n| key | type | meaning |\n| --- | --- | --- |\n{rows}"


def keys(cls: type[JsonObject]) -> list[str]:
    """The type of its JSON value."""
    return [field.name for field in fields(cls)] + (["schema"] if issubclass(cls, JsonDocument) else [])


def _inner(cls: type[JsonObject]) -> Iterator[type[JsonObject]]:
    for kind in get_type_hints(cls).values():
        for one in _classes(kind):
            yield one
            yield from _inner(one)


def _classes(kind: object) -> Iterator[type[JsonObject]]:
    if isinstance(kind, type) and issubclass(kind, JsonObject):
        yield kind
    for inner in get_args(kind):
        yield from _classes(inner)


def _row(cls: type[JsonObject], name: str) -> str:
    if name == "schema":
        return f"| `schema` | `int` | Version of this table: {SCHEMA}. |"
    kind = next(str(field.type) for field in fields(cls) if field.name == name)
    meaning = next((notes[name] for base in cls.__mro__ if name in (notes := _notes(base))), "")
    return f"| `{name}` | `{kind}` | {meaning} |".replace(" | None`", " \\| None`")


def _notes(cls: type) -> dict[str, str]:
    """The string below each field in the source, in one line."""
    if cls is object:
        return {}
    body = ast.parse(dedent(inspect.getsource(cls))).body[0].body  # type: ignore[attr-defined]
    return {
        field.target.id: " ".join(note.value.value.split()).replace("|", "\\|")
        for field, note in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(note, ast.Expr) and isinstance(note.value, ast.Constant)
    }  # fmt: skip
