"""A click group that imports a command when it runs, and prints every error as one paragraph, with its exit code."""

from __future__ import annotations

import copy
import errno
import io
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial, wraps
from importlib.metadata import version
from pkgutil import resolve_name
from typing import Any, cast

import click

from ..errors import EXIT_FAILED, EXIT_INTEGRITY, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, IdemError, IdemWarning
from ..hookspecs import Spec
from ..io.files import PATH_ERRORS
from ..io.inputs import ledger
from ..io.signals import stoppable
from ..io.stdout import guarded_stdout
from ..plugins.blame import OUT_OF_MEMORY, as_failure, origin
from ..plugins.catalogue import import_target, load_catalogue
from ..plugins.registry import distributions_that_provide
from .output import say

LONGEST = 4000
"""Characters of an error: it may quote what somebody wrote into a file."""


class LazyGroup(click.Group):
    """`targets` maps a command to ('package.module:command', one-line summary)."""

    def __init__(self, targets: dict[str, tuple[str, str]], **attributes: Any) -> None:
        stubs = {name: click.Command(name, short_help=summary) for name, (_, summary) in targets.items()}
        super().__init__(commands=stubs, context_settings={"help_option_names": ["-h", "--help"]}, **attributes)
        self.targets = targets
        self.params.append(
            click.Option(["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_show_version,
                         help="Show the version and exit."),
        )  # fmt: skip
        self.params.append(
            click.Option(["--strict"], is_flag=True, expose_value=False, callback=_be_strict,
                         help="Stop with exit 4 if any installed plugin is broken or incompatible."),
        )  # fmt: skip

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.targets, *(spec.name for spec in _of_plugins() if spec.name not in self.targets)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A stub with the summary; `resolve_command` imports what it stands for."""
        found = super().get_command(ctx, cmd_name)
        if found or cmd_name.startswith("-"):
            return found
        summaries = {spec.name: spec.summary for spec in _of_plugins()}
        known = cmd_name in summaries or distributions_that_provide("command", cmd_name)
        return click.Command(cmd_name, short_help=summaries.get(cmd_name)) if known else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, stub, rest = super().resolve_command(ctx, args)
        return name, guarded(self._imported(name)) if name and stub else None, rest

    def _imported(self, name: str) -> click.Command:
        """Raises MissingError for a command of a plugin that is not installed, or broken."""
        if name in self.targets:
            return cast(click.Command, resolve_name(self.targets[name][0]))
        return cast(click.Command, import_target(load_catalogue().resolve("command", name).target))

    def main(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        if not standalone_mode:
            return super().main(args, prog_name, standalone_mode=False, **extra)
        _print_anything()
        try:
            with stoppable(), _notes(), ledger():
                code = super().main(args, prog_name, standalone_mode=False, **extra)
            with suppress(ValueError, AttributeError):  # there is none, or a plugin closed it
                sys.stdout.flush()
        except BrokenPipeError:
            code = EXIT_FAILED  # the reader of our output left (`idem ... | head`)
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            code = error.exit_code
        except (KeyboardInterrupt, Exception) as error:
            code = tell(error)
        _let_go_of_stdout()
        sys.exit(code if isinstance(code, int) else EXIT_OK)


def _of_plugins() -> list[Spec]:
    """Commands that installed plugins provide."""
    return [spec for _, spec in load_catalogue().specs("command")]


def _print_anything() -> None:
    """A terminal or pipe that lacks a letter, as on Windows, shows its number instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def guarded(command: click.Command) -> click.Command:
    """The same command, whose stdout belongs to its data: see `io.stdout`."""
    twin = copy.copy(command)
    if isinstance(twin, click.Group):
        twin.commands = {name: guarded(inner) for name, inner in twin.commands.items()}
    if (callback := command.callback) is not None:

        @wraps(callback)
        def within(*arguments: Any, **options: Any) -> Any:
            with guarded_stdout():
                return callback(*arguments, **options)

        twin.callback = within
    return twin


def _let_go_of_stdout() -> None:
    """What cannot be written, to a pipe that nobody reads or a full disk, was told: Python shall not do so at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, AttributeError):  # it is closed, or never was open
        sys.stdout = None


@contextmanager
def _notes() -> Iterator[None]:
    """Shows an IdemWarning as a note, and other warnings as Python does."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def note(message: Warning | str, category: type[Warning], *where: Any) -> None:
            if issubclass(category, IdemWarning):
                say(f"note: {str(message).rstrip('.')}.")
            else:
                show(message, category, *where)

        warnings.showwarning = note  # type: ignore[assignment]
        yield


def tell(error: BaseException, subject: str = "") -> int:
    """Prints the error as one paragraph on stderr, naming `subject` if it does not; returns its exit code."""
    if os.environ.get("IDEM_DEBUG") and not isinstance(error, click.ClickException):
        traceback.print_exception(error)
    message, code = explain(error)
    about = f"{subject}: " if subject and subject not in message else ""
    paragraph = " ".join(f"{about}{message}".split())
    shown = (
        paragraph if len(paragraph) <= LONGEST else f"{paragraph[: LONGEST // 2]} [...] {paragraph[-LONGEST // 2 :]}"
    )
    with suppress(OSError):  # stderr may be closed, or a pipe that nobody reads
        say(shown if code == EXIT_INTERRUPTED else f"error: {shown}")
    return code


def explain(error: BaseException) -> tuple[str, int]:
    """The message for any exception, and its exit code."""
    if isinstance(error, IdemError):
        return str(error), error.exit_code
    if isinstance(error, click.ClickException):
        return _usage(error), error.exit_code
    if isinstance(error, click.Abort) and isinstance(error.__cause__, EOFError):
        error = error.__cause__  # click takes it for the end of what is typed, but nothing is
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return "interrupted; nothing was left half-written.", EXIT_INTERRUPTED
    if isinstance(error, Exception) and (known := str(as_failure(error))).startswith(OUT_OF_MEMORY):
        return known, EXIT_FAILED
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        where = error.filename or "standard output"
        return f"no space left to write {where}. Free some, or choose another place.", EXIT_FAILED
    if isinstance(error, OSError) and error.filename:
        code = EXIT_USAGE if error.errno in PATH_ERRORS else EXIT_FAILED
        return f"{error.filename}: {error.strerror}. Check the path and its permissions.", code
    place = origin(error)
    whose = f"the authors of {place.rpartition(' ')[2]}" if place else "idem's authors"
    debug = f"Type the same with IDEM_DEBUG=1 before it to see where, and report that to {whose}."
    at = f", at {place}" if place else ""
    return f"{type(error).__name__}: {error}{at}. This was not expected. {debug}", EXIT_FAILED


def exit_code(codes: set[int]) -> int:
    """The exit code for several files, from the codes of those that failed."""
    if not codes:
        return EXIT_OK
    return EXIT_INTEGRITY if codes == {EXIT_INTEGRITY} else EXIT_FAILED


def _usage(error: click.ClickException) -> str:
    """click's message in a sentence, with the help to ask for."""
    context = getattr(error, "ctx", None)
    help_ = f" Type: {context.command_path} --help" if context else ""
    message = error.format_message().rstrip(".")
    return message + ("" if message.endswith("?") else ".") + help_


def _be_strict(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    """By the environment, so that it holds for worker processes too."""
    if wanted and not context.resilient_parsing:
        before = os.environ.get("IDEM_STRICT")
        os.environ["IDEM_STRICT"] = "1"
        undo = partial(os.environ.__setitem__, "IDEM_STRICT", before) if before is not None else partial(
            os.environ.pop, "IDEM_STRICT", None)  # fmt: skip
        context.call_on_close(undo)


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        click.echo(f"idem {version('idemcore')}")
        context.exit()
