"""Printed tables at fixed JPEG qualities, `registry/results/tables/`, beside a store of the same images and rates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

from ..evaluation.known_sets import recognised
from ..io.safe_yaml import read_text, safe_load
from ..plugins.registry import registry_folder
from .measures import Measure, canonical
from .summary import Summary


@dataclass(frozen=True)
class PrintedRow:
    """One system at one quality."""

    system: str
    quality: int
    values: Mapping[str, float]
    """By metric, as `measures.canonical` spells it; of what `comparable` gives, as the summary does."""
    before: int = 0
    """Quality of an earlier compression; 0 if there was none."""

    @property
    def rate(self) -> str:
        """The quality, for people."""
        return f"{self.before}, then {self.quality}" if self.before else str(self.quality)


@dataclass(frozen=True)
class PrintedTable:
    """What a paper prints, with where it is printed."""

    title: str
    source: str
    date: str
    images: str
    """The image set that it was measured on, a name of `registry/image_sets/` where idem knows its pixels."""
    codec: str
    rows: tuple[PrintedRow, ...]


def read_printed(path: Path) -> PrintedTable:
    """A file of `registry/results/tables/`."""
    content = safe_load(read_text(path))
    protocol = content["protocol"]
    earlier = content.get("before") or [0] * len(content["quality"])
    rows = tuple(_rows(list(zip(content["quality"], earlier, strict=True)), content["systems"]))
    title, source, date = (str(content[key]) for key in ("title", "source", "date"))
    return PrintedTable(title, source, date, protocol["images"], protocol["codec"], rows)


def _rows(
    rates: Sequence[tuple[int, int]], systems: Mapping[str, Mapping[str, Sequence[float]]]
) -> Iterator[PrintedRow]:
    for place, (quality, before) in enumerate(rates):
        for system, metrics in systems.items():
            values = {canonical(name): printed[place] for name, printed in metrics.items()}
            yield PrintedRow(system, quality, values, before)


def printed_tables() -> list[PrintedTable]:
    """All of the registry."""
    return [read_printed(path) for path in sorted((registry_folder() / "results" / "tables").glob("*.yaml"))]


def comparable(summary: Summary) -> list[PrintedTable]:
    """The tables on exactly the summary's images and codec, with the rows and metrics that the summary has too."""
    known = recognised(str(image.sha256) for image in summary.images)
    measured = {canonical(measure.name): measure.name for measure in summary.measures}
    found = []
    for table in printed_tables():
        rates = _rates(summary, table.codec) if known and table.images == known.name else set()
        rows = [replace(row, values=values) for row in table.rows
                if (row.quality, row.before) in rates and (values := _shared(row.values, measured))]  # fmt: skip
        if rows:
            found.append(replace(table, rows=tuple(rows)))
    return found


def _rates(summary: Summary, codec: str) -> set[tuple[Any, Any]]:
    codecs = [c.codec for c in summary.configurations if c.codec.get("name") == codec]
    return {(one.get("quality"), one.get("before", 0)) for one in codecs}


def _shared(values: Mapping[str, float], measured: Mapping[str, str]) -> dict[str, float]:
    return {measured[name]: value for name, value in values.items() if name in measured}


def columns(table: PrintedTable, summary: Summary) -> list[Measure]:
    """The measures that some row of the table has, in the summary's order."""
    present = {name for row in table.rows for name in row.values}
    return [measure for measure in summary.measures if measure.name in present]


def entries(row: PrintedRow, measures: Sequence[Measure]) -> list[str]:
    """System, quality and values as text, a dash where there is none."""
    numbers = [measure.text(row.values[measure.name]) if measure.name in row.values else "–" for measure in measures]
    return [row.system, row.rate, *numbers]


def section(summary: Summary) -> str:
    """For the page: the tables that can stand beside the store; empty if none can."""
    tables = "".join(_table(table, summary) for table in comparable(summary))
    return f'<section id="published"><h2>Published on the same images</h2>{tables}</section>' if tables else ""


def _table(table: PrintedTable, summary: Summary) -> str:
    measures = columns(table, summary)
    headings = ("System", "Quality", *(measure.title for measure in measures))
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in headings)
    lines = ("".join(f"<td>{escape(text)}</td>" for text in entries(row, measures)) for row in table.rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    note = f"{table.title}: {table.source} ({table.date}). None of these was certified."
    return (
        f'<div class="scroll"><table class="sortable"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        f'<p class="note">{escape(note)}</p>'
    )
