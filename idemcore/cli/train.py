"""`idem train`: a plugin's recipe on a folder of images."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import is_zipfile

import click

from ..errors import UsageError
from ..io.inputs import declare_output
from .options import (
    FOLDER,
    INPUT,
    RunOptions,
    config_option,
    device_option,
    json_option,
    set_option,
    take_options,
)
from .output import SHORT_BAR, bars, print_json, print_record, say

Record = dict[str, float]
CHECKPOINT = "checkpoint.pt"
NOTE_SECONDS = 30.0
"""Between the lines of progress where there is no terminal."""
LINE, TIME_LEFT = 80, 11
"""Columns of such a line, and of what stands beside the bar where there is one: a terminal has 80."""


@click.command()
@click.argument("recipe")
@click.argument("data", type=INPUT)
@click.option("--out", type=FOLDER, required=True, metavar="DIR", help="Weights, checkpoint, samples and log go here.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Short for --set train.minutes=M.")
@set_option("A setting of the recipe; repeatable.", metavar="train.KEY=VALUE")
@config_option("YAML with a mapping `train:`")
@click.option("--resume", is_flag=True, help="Refuse to start if DIR holds no checkpoint.")
@device_option
@json_option
@take_options()
def train(recipe: str, data: str, out: str, minutes: float | None, resume: bool, options: RunOptions) -> None:
    """Train with RECIPE (see `idem recipes list`) on the images of DATA, a folder or a zip file.

    The same command with the same --out resumes from the last checkpoint. `log.csv` and `curves.png` in DIR show the
    progress; if the recipe holds out images for validation, DIR has the weights that did best on them.
    """
    from ..plugins.catalogue import import_target, load_catalogue
    from ..plugins.selection import configure

    shorthand = {"train": {"minutes": minutes}} if minutes is not None else {}
    values = options.settings(("train",), shorthand).get("train", {})
    declare_output(*Path(out).glob("*.safetensors"), Path(out) / CHECKPOINT)
    if not (Path(data).is_dir() or is_zipfile(data)):
        hint = "Name the folder, or the zip file, that holds the images to train on."
        raise UsageError(f"{data} is neither a folder nor a zip file.", hint)
    if resume and not (Path(out) / CHECKPOINT).exists():
        raise UsageError(f"{out} holds no {CHECKPOINT} to resume from.", "Leave out --resume to begin one.")
    spec = load_catalogue().resolve("recipe", recipe)
    config = configure(spec, values, "train")

    from ..runtime import Runtime

    chosen = Runtime.choose(options.device, "fp32").device
    say(f"training {recipe} on {data} with {chosen}; Ctrl-C stops it, and the same command resumes")
    last: Record = {}
    with _shown(recipe, config.minutes) as show:

        def progress(record: Record) -> None:
            last.update(record)
            show(record)

        weights = import_target(spec.target)(Path(data), Path(out), config, chosen, progress)
    if options.as_json:
        print_json({"weights": str(weights), **last})
    else:
        print_record({"weights": weights, **{key: f"{value:.6g}" for key, value in last.items()}})


@contextmanager
def _shown(name: str, minutes: float) -> Iterator[Callable[[Record], None]]:
    """A bar on a terminal, else a line now and then."""
    with bars("{task.description}", "short bar", "{task.fields[told]}", "left", transient=False) as bar:
        if bar is not None:
            task, room = (
                bar.add_task(name, total=minutes, told=""),
                bar.console.width - len(name) - SHORT_BAR - TIME_LEFT,
            )
            yield lambda record: bar.update(task, completed=record["minutes"], told=line(record, minutes, room))
            return
    due = time.monotonic()

    def note(record: Record) -> None:
        nonlocal due
        if time.monotonic() >= due:
            say(line(record, minutes))
            due = time.monotonic() + NOTE_SECONDS

    yield note


def line(record: Record, minutes: float, columns: int = LINE) -> str:
    """A record on a line of at most so many columns: what comes last in it is left out first."""
    found = f"{record['minutes']:.1f}/{minutes:g} min"
    for key, value in record.items():
        longer = f"{found}  {key} {value}" if isinstance(value, int) else f"{found}  {key} {value:.4g}"
        if key != "minutes" and len(longer) <= columns:
            found = longer
    return found
