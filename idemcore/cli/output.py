"""Results go to stdout, as aligned text or JSON; notes and progress go to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..io.stdout import data_stream

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn

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


SHORT_BAR = 12
"""Columns."""

_live: ContextVar[Console | None] = ContextVar("live", default=None)
"""Shows bars now."""


def say(message: str) -> None:
    """A note for people, on stderr; above a bar if there is one."""
    if console := _live.get():
        console.print(message, markup=False, highlight=False, soft_wrap=True)
    else:
        click.echo(message, err=True)


@contextmanager
def bars(*columns: str, transient: bool = True, **options: Any) -> Iterator[Progress | None]:
    """Bars on stderr, below whatever `say` says meanwhile; None if stderr is no terminal.

    Columns are `bar`, `short bar`, `count`, `percent`, `left`, `spent`, `bytes`, `speed`, or text such as
    `{task.description}`.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich import progress as rich
    from rich.console import Console

    known: dict[str, Callable[[], ProgressColumn]] = {
        "bar": rich.BarColumn,
        "short bar": partial(rich.BarColumn, bar_width=SHORT_BAR),
        "count": rich.MofNCompleteColumn,
        "percent": rich.TaskProgressColumn,
        "left": partial(rich.TimeRemainingColumn, compact=True, elapsed_when_finished=True),
        "spent": rich.TimeElapsedColumn,
        "bytes": rich.DownloadColumn,
        "speed": rich.TransferSpeedColumn,
    }
    made = [known[name]() if name in known else rich.TextColumn(name) for name in columns]
    with rich.Progress(*made, console=Console(stderr=True), transient=transient, **options) as progress:
        token = _live.set(progress.console)
        try:
            yield progress
        finally:
            _live.reset(token)


@contextmanager
def solver_progress(description: str, then: str = "certifying") -> Iterator[Callback | None]:
    """A callback for `solve` that moves a bar on stderr; None if stderr is no terminal.

    After the last step the bar says what goes on `then`, as certifying takes no steps.
    """
    with bars("{task.description}", "bar", "count", "left") as progress:
        if progress is None:
            yield None
            return
        task = progress.add_task(description, total=None)

        def step(state: Step) -> None:
            progress.update(task, completed=state.index + 1, total=state.total)
            if then and state.index + 1 == state.total:
                progress.update(task, description=f"{then} {description}", total=None)

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
    return "nothing" if value is None else f"{decibels(value)} (higher is less)"


def yes(value: bool) -> str:
    return "yes" if value else "no"
