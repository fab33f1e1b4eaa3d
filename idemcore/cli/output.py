"""stdout is data: aligned text or JSON. stderr is talk: notes, and progress on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..io.stdout import data_stream

if TYPE_CHECKING:
    from ..protocols import Callback, Step


def echo(text: object = "", nl: bool = True) -> None:
    """A line of data, on stdout."""
    click.echo(text, file=data_stream(), nl=nl)


def print_json(value: Any) -> None:
    """One line, so that several results make JSON lines."""
    echo(json.dumps(value, ensure_ascii=False))


def print_record(record: Mapping[str, object]) -> None:
    """`key: value` lines with the colons aligned."""
    width = max(map(len, record))
    for key, value in record.items():
        echo(f"{key:>{width}}: {value}")


def print_table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Left-aligned columns, as wide as their content; the last one is free."""
    cells = [list(headers), *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        line = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        echo(line.rstrip())


def say(message: str) -> None:
    """A note for people, on stderr."""
    click.echo(message, err=True)


@contextmanager
def solver_progress(description: str) -> Iterator[Callback | None]:
    """A callback for `solve` that moves a bar on stderr; None if stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(description, total=None)

        def step(state: Step) -> None:
            progress.update(task, completed=state.index + 1, total=state.total)

        yield step


def check_suffix(output: str, suffix: str) -> None:
    """Raises UsageError for a file whose name says that it is something else, such as the file it is made from."""
    if not output.lower().endswith((suffix, ".jpeg") if suffix == ".jpg" else suffix):
        example = f"{Path(output).stem or 'out'}{suffix}"
        raise UsageError(f"-o {output}: what is written is a {suffix} file.", f"Let its name say so: `-o {example}`.")


def decibels(value: float | None) -> str:
    """None is the infinite PSNR of equal images."""
    return "identical" if value is None else f"{value:.2f} dB"


def moved(value: float | None) -> str:
    """How far certifying moved an image."""
    return "nothing" if value is None else decibels(value)


def yes(value: bool) -> str:
    return "yes" if value else "no"
