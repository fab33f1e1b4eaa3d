"""Rows of measurements, which pandas takes as they are: `pandas.DataFrame(records)`."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

SHOWN = 20
"""Rows that a notebook shows."""


class Records(list[dict[str, Any]]):
    """A list of dictionaries, one a row."""

    def __init__(self, rows: Iterable[dict[str, Any]] = (), scores: Iterable[dict[str, Any]] = ()) -> None:
        super().__init__(rows)
        self.scores: list[dict[str, Any]] = list(scores)
        """One record a configuration: means over images, half of their 95 % interval, metrics of whole sets."""

    @property
    def columns(self) -> list[str]:
        """Keys of all rows, in order."""
        return list(dict.fromkeys(key for row in self for key in row))

    def __repr__(self) -> str:
        return f"<Records: {len(self)} rows of {', '.join(self.columns)}>"

    def _repr_html_(self) -> str:
        columns = self.columns
        head = "".join(f"<th>{escape(column)}</th>" for column in columns)
        body = "".join(f"<tr>{''.join(_entry(row.get(column)) for column in columns)}</tr>" for row in self[:SHOWN])
        more = f"<p>{len(self) - SHOWN} more rows</p>" if len(self) > SHOWN else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _entry(value: Any) -> str:
    text = "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    return f"<td>{escape(text)}</td>"
