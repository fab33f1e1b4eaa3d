"""Bars on a terminal: messages stand on lines of their own, certifying is seen, nothing is wider than 80 columns."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import click
import pytest
import rich.console
import torch

from idemcore.cli.group import tell
from idemcore.cli.output import bars, say, solver_progress
from idemcore.cli.sweep import sweep_progress
from idemcore.cli.train import _shown, line
from idemcore.protocols import Step

WIDTH = 80
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """A terminal of 80 columns on stderr."""
    shown, console = io.StringIO(), rich.console.Console
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr(
        rich.console, "Console", lambda **_: console(file=shown, force_terminal=True, width=WIDTH, color_system=None)
    )
    return shown


def lines(screen: io.StringIO) -> list[str]:
    """What stands on the screen's lines, one after another, each as it was last written."""
    rows = []
    for row in screen.getvalue().split("\n"):
        rows += [_ESCAPE.sub("", part) for part in row.split("\r") if _ESCAPE.sub("", part).strip()]
    return rows


def step(index: int, total: int) -> Step:
    x = torch.zeros(1, 3, 1, 1)
    try:
        return Step(index, total, 0.1, x, 0.0, index + 1)
    except TypeError:
        return Step(index=index, total=total, sigma=0.1, x0=x, residual=0.0, nfe=index + 1, x=x)  # type: ignore[call-arg]


def test_a_message_during_a_bar_is_a_line_of_its_own(screen: io.StringIO) -> None:
    with bars("{task.description}", "bar", "count", "left") as bar:
        assert bar is not None
        bar.update(bar.add_task("solving", total=10), completed=3)
        bar.refresh()
        say("a note [not markup]")
        tell(click.UsageError("wrong"))
        bar.refresh()
    found = lines(screen)
    assert "a note [not markup]" in found
    assert "error: wrong." in found
    assert any(row.startswith("solving") for row in found)


def test_certifying_is_seen(screen: io.StringIO) -> None:
    with solver_progress("a.png") as callback:
        assert callback is not None
        callback(step(0, 2))
        callback(step(1, 2))
    assert any("certifying a.png" in row for row in lines(screen))


def test_what_follows_no_solve_is_not_called_certifying(screen: io.StringIO) -> None:
    with solver_progress("sampling", then="") as callback:
        assert callback is not None
        callback(step(0, 1))
    assert "certifying" not in screen.getvalue()


@pytest.mark.parametrize("name", ["adm", "hyperprior", "jpeg-estimate", "jpeg-sharp"])
def test_a_line_of_training_fits_80_columns(name: str, screen: io.StringIO) -> None:
    record = {"minutes": 123.4, "step": 123456.0, "images": 3950592.0, "loss": 0.012345, "bits": 0.0012345, "val": 0.01}
    with _shown(name, 600.0) as show:
        show(record)
    assert max(map(len, lines(screen))) <= WIDTH
    assert any("123.4/600 min" in row and "step" in row for row in lines(screen)), lines(screen)
    assert "…" not in screen.getvalue()
    assert len(line(record, 600.0)) <= WIDTH


def test_a_sweep_shows_runs_and_time(screen: io.StringIO) -> None:
    with sweep_progress(5) as advance:
        advance(2)
    assert any("2/5" in row for row in lines(screen))


def test_without_a_terminal_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with bars("bar") as bar, solver_progress("x") as callback:
        say("a note")
        assert bar is callback is None
    assert capsys.readouterr().err == "a note\n"
