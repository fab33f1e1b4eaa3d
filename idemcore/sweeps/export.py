"""The rows of a store as a table for other programs: CSV, JSON lines or Parquet. Imports no torch."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import MissingError, UsageError
from ..io.files import atomic_write, text_bytes
from ..results.rows import SweepRow


def export(rows: Sequence[SweepRow], path: Path) -> None:
    """By the file's suffix. A column is a row's key, of nested ones with dots: `codec.name`, `metrics.psnr`.

    Raises what `check_export` raises.
    """
    check_export(path)
    table = [flat(row.to_json()) for row in rows]
    atomic_write(path, WRITERS[path.suffix](table, _columns(table)))


def check_export(path: Path) -> None:
    """Raises UsageError for a suffix that is none of `WRITERS`, MissingError for Parquet without pyarrow."""
    if path.suffix not in WRITERS:
        raise UsageError(f"{path} is no {', '.join(WRITERS)} file.", f"Let its name say so, e.g. {path.stem}.csv.")
    if path.suffix == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            hint = "`pip install pyarrow`, or export to .csv or .jsonl."
            raise MissingError(f"Parquet files need the package pyarrow: {error}.", hint) from error


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"codec": {"name": "jpeg"}}` to `{"codec.name": "jpeg"}`; lists stay."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        inner = flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
        found |= inner
    return found


def _columns(table: list[dict[str, Any]]) -> list[str]:
    """The columns of all rows; no `generator` where other rows have `generator.name`: it is not there, not a value."""
    keys = list(dict.fromkeys(key for row in table for key in row))
    groups = {key[:end] for key in keys for end, letter in enumerate(key) if letter == "."}
    return [key for key in keys if key not in groups]


def _csv(table: list[dict[str, Any]], columns: list[str]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(table)
    return text_bytes(text.getvalue())


def _jsonl(table: list[dict[str, Any]], columns: list[str]) -> bytes:
    rows = ({column: row.get(column) for column in columns} for row in table)
    return text_bytes("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _parquet(table: list[dict[str, Any]], columns: list[str]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    arrays = {column: _of_one_type([row.get(column) for row in table]) for column in columns}
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(arrays), buffer)
    return buffer.getvalue()


def _of_one_type(values: list[Any]) -> list[Any]:
    """As text where they differ: settings of one name may be numbers in one codec and words in another."""
    types = {float if isinstance(value, int) and not isinstance(value, bool) else type(value)
             for value in values if value is not None}  # fmt: skip
    if len(types) < 2 and list not in types:
        return values
    return [None if value is None else value if isinstance(value, str) else json.dumps(value) for value in values]


WRITERS = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
