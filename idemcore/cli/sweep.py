"""`idem sweep`: a grid of configurations over images, into a store that can be killed and resumed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import EXIT_OK, EXIT_RUNS, UsageError
from ..io.inputs import declare_folder, declare_input
from ..metrics.specs import DEFAULT_METRICS
from .forecast import show_forecast
from .options import (
    FOLDER,
    OUTPUT,
    ImagesOptions,
    RunOptions,
    engine_options,
    images_options,
    json_option,
    runtime_options,
    take_options,
)
from .output import bars, print_json, print_record, print_table, say

if TYPE_CHECKING:
    from ..plugins.catalogue import Catalogue
    from ..protocols import Engine
    from ..sweeps.grid import Definition
    from ..sweeps.run import Counts, Plan
    from ..sweeps.store import Store
    from ..sweeps.worker import Worker

_AXIS = re.compile(r"(?:[\w-]+:)?[\w.-]+=.*", re.DOTALL)


@dataclass(frozen=True)
class GridOptions:
    """What runs, and what is measured of it."""

    words: tuple[str, ...]
    axes: tuple[str, ...]
    preset: str | None
    metrics: str | None
    until: str | None


@click.command()
@click.argument("words", nargs=-1, metavar="[FILE.yaml] [KEY=VALUES]... [IMAGE]...")
@click.option("-m", "axes", multiple=True, metavar="KEY=VALUES", help="An axis; more may follow without -m.")
@click.option("--preset", metavar="NAME", help="A sweep that comes with idem, instead of FILE.yaml; `list` lists them.")
@click.option(
    "--store", type=FOLDER, metavar="DIR", help="Folder for the runs.  [default: runs/sweep, or runs/NAME of NAME.yaml]"
)
@click.option("--metrics", metavar="A,B,...", help=f"[default: {','.join(DEFAULT_METRICS)}]; see `idem metrics list`.")
@click.option("--until", metavar="METRIC=WIDTH", help="Stop a configuration once its 95 % interval is ± WIDTH.")
@click.option("--dry-run", is_flag=True, help="Say how many runs, hours and bytes it takes; run nothing.")
@images_options
@engine_options(batch=4)
@click.option(
    "--export", "exported", type=OUTPUT, metavar="FILE", help="Write all rows to a .csv, .jsonl or .parquet file."
)
@runtime_options
@json_option
@take_options(asked=GridOptions, part=ImagesOptions)
def sweep(
    asked: GridOptions, store: str | None, dry_run: bool, exported: str | None, part: ImagesOptions, options: RunOptions
) -> int:
    """Run every combination of the axes on every IMAGE (a file, a folder, a zip file), each once, and keep all results.

    \b
    idem sweep -m codec=jpeg,elic quality=1..4 solver=cell,mse seed=0..3 photos/
    idem sweep paper.yaml --engine ray --set engine.address=auto
    idem sweep --preset steps photos/ --until psnr=0.1 --dry-run

    GRID:KEY=VALUES changes one grid of FILE.yaml, by its name or number. Every value is checked before the first run;
    a value that one codec lacks leaves that combination out.

    If it is killed, the same command resumes where it stopped; with another value on an axis it runs only what is new.
    With --store and --export alone, it only exports. Exit 5 if runs failed: their rows say why.
    """
    from ..sweeps.export import check_export, export
    from ..sweeps.store import Store

    if exported:
        check_export(Path(exported))
    if exported and store and not asked.words and not asked.axes:
        export(Store.open(store).rows(), Path(exported))
        return EXIT_OK
    if asked.preset == "list":
        _list_presets(options.as_json)
        return EXIT_OK
    definition = _chosen(_definition(asked, options.overrides), asked, part)

    from ..metrics.building import choose_metrics
    from ..plugins.catalogue import load_catalogue

    catalogue = load_catalogue()
    choose_metrics(catalogue, definition.metrics)  # a wrong name is refused before images are read
    built = build_engine(catalogue, options.engine, options.overrides)

    from ..pipeline.identity import Computed
    from ..sweeps.run import plan
    from ..sweeps.worker import Worker

    computed = Computed.by(options.device, options.precision)
    planned = plan(definition, catalogue, computed)
    _tell(planned)
    place = store or _default_store(asked.words, asked.preset)
    declare_folder(place)
    target = Store(place)
    work = partial(Worker, computed.named(options.device), computed.precision, planned.metrics)
    if dry_run:
        show_forecast(target, planned, built, work, options)
        return EXIT_OK
    with target.writing(definition.facts(), len(planned.runs)):
        counts = _execute(target, planned, built, work, options.batch, options.retry_failed)
        if exported:
            export(target.rows(), Path(exported))
    _report(target, planned, counts, options.as_json)
    return EXIT_RUNS if counts.failed or planned.unreadable else EXIT_OK


def _chosen(definition: Definition, asked: GridOptions, part: ImagesOptions) -> Definition:
    """With what options say. Raises UsageError."""
    from ..sweeps.grid import parse_until

    chosen: dict[str, Any] = {"metrics": _split(asked.metrics) or definition.metrics or DEFAULT_METRICS}
    if part.crop or part.size:
        chosen |= {"crop": part.crop, "size": part.size}
    if asked.until:
        chosen["until"] = parse_until(asked.until)
    return replace(definition, **chosen, limit=part.limit or definition.limit)


def _list_presets(as_json: bool) -> None:
    from ..sweeps.presets import presets

    found = presets()
    if as_json:
        print_json([{"name": name, "title": one.title, "points": len(one.points())} for name, one in found.items()])
        return
    print_table(("preset", "runs an image", "title"),
                [(name, len(one.points()), one.title) for name, one in found.items()])  # fmt: skip


def _definition(asked: GridOptions, overrides: Sequence[str]) -> Definition:
    """The definition in a file, in a preset, or in axes alone. Raises UsageError."""
    from ..sweeps.grid import Definition, Grid, load_definition, parse_axes
    from ..sweeps.presets import preset

    words, name = asked.words, asked.preset
    files = [word for word in words if _is_file(word)]
    if len(files) + bool(name) > 1:
        raise UsageError(f"{' and '.join([*files, *filter(None, [name])])} are two sweeps.", "Run one after the other.")
    declare_input(*files)
    definition = load_definition(Path(files[0])) if files else preset(name) if name else Definition((Grid({}),))
    spans = parse_axes([*asked.axes, *filter(_is_axis, words)])
    base = overridden(overrides)
    images = tuple(word for word in words if word not in files and not _is_axis(word)) or definition.images
    if not images:
        raise UsageError("A sweep needs images.", "Name files or folders, e.g. `idem sweep -m seed=0..3 photos/`.")
    return replace(definition.with_axes(spans, base), images=images)


def _overrides(overrides: Sequence[str]) -> dict[str, dict[str, Any]]:
    from ..plugins.settings import SCOPES, parse_overrides

    return parse_overrides(overrides, (*SCOPES, "engine"))


def overridden(overrides: Sequence[str]) -> dict[str, Any]:
    """What `--set` fixes in every run, by key. Raises UsageError."""
    from ..plugins.settings import SCOPES

    values = _overrides(overrides)
    return {f"{scope}.{key}": value for scope in SCOPES for key, value in values.get(scope, {}).items()}


def build_engine(catalogue: Catalogue, name: str, overrides: Sequence[str]) -> Engine:
    """With what `--set engine.KEY=VALUE` says. Raises UsageError, MissingError."""
    return make_engine(catalogue, name, _overrides(overrides).get("engine", {}))


def make_engine(catalogue: Catalogue, name: str, values: Mapping[str, Any]) -> Engine:
    """With these settings. Raises UsageError, MissingError."""
    from ..plugins.catalogue import import_target
    from ..plugins.selection import configure

    spec = catalogue.resolve("engine", name)
    engine: Engine = import_target(spec.target)(configure(spec, values, "engine"))
    return engine


def _execute(
    target: Store, planned: Plan, engine: Engine, work: Callable[[], Worker], batch: int, retry_failed: bool
) -> Counts:
    from ..sweeps.rounds import execute
    from ..sweeps.run import remaining

    left = remaining(target, planned, retry_failed)
    if earlier := len(planned.runs) - len(left.runs):
        say(f"{earlier} of {len(planned.runs)} runs are in {target.root} already")
    if left.rows:
        say(f"{len(left.rows)} of them lack metrics, which are measured from their pictures")
    try:
        with sweep_progress(len(left.runs) + len(left.rows)) as advance:
            return execute(target, planned, engine, work, batch, retry_failed, advance)
    except KeyboardInterrupt:
        say(f"{target.root} keeps what is done; the same command resumes from there")
        raise


def _tell(planned: Plan) -> None:
    for reason in planned.refused:
        say(f"left out: {reason}")
    for error in planned.unreadable:
        say(f"left out: {error}")
    for twin in planned.same:
        say(f"note: {twin}")


_ALWAYS = ("runs", "new", "failed")
_COUNTS = {
    "earlier": "in the store already",
    "measured": "metrics added to",
    "spared": "not needed (--until)",
    "refused": "combinations left out",
    "unreadable": "unreadable images",
}
"""Words for people in place of keys of the JSON."""


def _report(target: Store, planned: Plan, counts: Counts, as_json: bool) -> None:
    from ..results.rows import failure_reasons

    for name, reason in counts.missing.items():
        say(f"{name} is missing: {reason}")
    facts = {
        "store": str(target.root),
        "runs": counts.planned,
        "new": counts.planned - counts.earlier - counts.spared,
        "earlier": counts.earlier,
        "measured": counts.measured,
        "failed": counts.failed,
        "spared": counts.spared,
        "refused": len(planned.refused),
        "unreadable": len(planned.unreadable),
    }
    if as_json:
        print_json(facts)
    else:
        print_record({_COUNTS.get(key, key): value for key, value in facts.items() if value or key in _ALWAYS})
    if counts.failed:
        reasons = failure_reasons(r for r in target.rows() if r.status == "failed" and r.id in planned.ids)
        again = f"{target.path('rows.jsonl')} has each; --retry-failed runs them again"
        say(f"{counts.failed} of {counts.planned} runs failed: {reasons}; {again}")


@contextmanager
def sweep_progress(total: int) -> Iterator[Callable[[int], None]]:
    """Moves a bar with the time that is left, on a terminal."""
    with bars("bar", "count", "spent", "left", transient=False, speed_estimate_period=600) as bar:
        if bar is None:
            yield lambda runs: None
            return
        task = bar.add_task("runs", total=total)
        yield lambda runs: bar.advance(task, runs)


def _is_axis(word: str) -> bool:
    """`quality=1,2`, but not a folder of that name: an axis can always be given by -m."""
    return bool(_AXIS.fullmatch(word)) and not Path(word).exists()


def _is_file(word: str) -> bool:
    return word.endswith((".yaml", ".yml"))


def _default_store(words: Sequence[str], preset: str | None) -> str:
    return f"runs/{next((Path(word).stem for word in words if _is_file(word)), preset or 'sweep')}"


def _split(names: str | None) -> tuple[str, ...]:
    return tuple(filter(None, (name.strip() for name in (names or "").split(","))))
