"""`--trace` and `--save-steps`: what is kept of the steps of a solve, and the files made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import click

from .options import together
from .output import say, solver_progress

if TYPE_CHECKING:
    from ..observe.filmstrip import FilmStrip
    from ..observe.trace import Trace
    from ..protocols import Callback, Step


def _note_plots(_: click.Context, __: click.Parameter, wanted: bool) -> bool:
    """Says at once, not after the solve, that there will be no plot."""
    from ..observe.trace import can_plot

    if wanted and not can_plot():
        say('note: --trace writes its numbers without a plot, which needs matplotlib: pip install "idemcore[plots]"')
    return wanted


recording_options = together(
    click.option(
        "--trace", is_flag=True, callback=_note_plots, help="Write the numbers of each step (JSON lines) and a plot."
    ),
    click.option(
        "--save-steps",
        type=click.IntRange(min=2),
        is_flag=False,
        flag_value=8,
        metavar="[N]",
        help="Write N (8 if left out) of the solver's estimates, side by side.",
    ),
)


Watch = Callable[[str], "AbstractContextManager[Callback | None]"]


class Recorder:
    """Watches solves as `--trace` and `--save-steps` say: `with recorder(...) as callback` for each."""

    def __init__(self, trace: bool, frames: int | None, progress: Watch = solver_progress) -> None:
        """`progress`: from a description to a context that gives a callback, or None."""
        self.trace, self.frames, self.progress = trace, frames, progress
        self.files: dict[str, bytes] = {}
        """The content of trace.jsonl, trace.png and steps.png, as far as they were asked for."""

    @contextmanager
    def __call__(self, description: str, title: str, tag: str = "") -> Iterator[Callback | None]:
        """A callback for `solve` that also moves a bar, called `description`; None if there is nothing to do.

        `title` is the plot's; `tag` goes into the names of the files, before the suffix.
        """
        from ..observe.filmstrip import FilmStrip
        from ..observe.trace import Trace

        trace, film = Trace() if self.trace else None, FilmStrip(self.frames) if self.frames else None
        with self.progress(description) as progress:
            yield all_of(progress, trace, film)
        if trace and trace.rows:
            self.files |= _trace_files(trace, title, tag)
        if film and film.frames:
            self.files |= _film_file(film, tag)


def all_of(*callbacks: Callback | None) -> Callback | None:
    """One callback that calls these in order; None if all are."""
    present = [callback for callback in callbacks if callback is not None]

    def tell(step: Step) -> None:
        for callback in present:
            callback(step)

    return tell if present else None


def _trace_files(trace: Trace, title: str, tag: str) -> dict[str, bytes]:
    """The numbers, and a plot of them where matplotlib is installed."""
    from ..observe.trace import can_plot

    plot = {f"trace{tag}.png": trace.plot(title)} if can_plot() else {}
    return {f"trace{tag}.jsonl": trace.jsonl(), **plot}


def _film_file(film: FilmStrip, tag: str) -> dict[str, bytes]:
    from ..io.images import png_bytes

    return {f"steps{tag}.png": png_bytes(film.image())}
