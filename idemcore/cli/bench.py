"""`idem bench`: what solvers cost, side by side."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, cast

import click

from ..errors import EXIT_FAILED, EXIT_OK, IdemError, UsageError
from ..plugins.settings import Values
from .options import (
    INPUT,
    RunOptions,
    codec_options,
    generator_option,
    json_option,
    listed,
    runtime_options,
    set_option,
    take_options,
)
from .output import print_json, print_table, say

if TYPE_CHECKING:
    from ..evaluation.bench import Cost
    from ..hookspecs import EncoderSpec, GeneratorSpec, SolverSpec
    from ..plugins.catalogue import Catalogue
    from ..plugins.selection import Selection
    from ..results.rows import BenchRow

REFERENCE = "dps"
COUNTS = ("passes", "backwards", "codec_calls", "codec_gradients", "projections")
MEASURED = (*COUNTS, "seconds", "peak_bytes")


@click.command()
@click.argument("image", type=INPUT)
@codec_options
@generator_option
@click.option(
    "--solver",
    "solvers",
    metavar="A,B,...",
    help="Solvers to compare.  [default: all that work with the codec and generator]",
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    metavar="N",
    help="Steps of every solver; for one alone: --set SOLVER.steps=N.",
)
@click.option("--size", type=click.IntRange(min=8), default=128, show_default=True, help="Side of the crop, pixels.")
@click.option(
    "--repeat", type=click.IntRange(min=1), default=1, show_default=True, help="How often to time each solver."
)
@set_option("e.g. dps.steps=100; repeatable.")
@runtime_options
@json_option
@take_options()
def bench(image: str, solvers: str | None, steps: int | None, size: int, repeat: int, options: RunOptions) -> int:
    """Solve for the centre crop of IMAGE by one solver after the other, each in a process of its own; compare the cost.

    Counts and seconds are those of one solve, after a warm-up; peak memory is what solving adds to codec and generator.
    In brackets: relative to dps, or to the first solver if dps is not among them.

    A solver that fails, even for lack of memory, does not stop the others; the exit code is then 1.

    Scopes of --set are codec, generator, adapter and the solvers' names.
    """
    from ..plugins.catalogue import load_catalogue

    catalogue, (codec, generator) = load_catalogue(), (options.codec, options.generator)
    names = listed(solvers, "--solver") if solvers else _fitting(catalogue, codec, generator)
    values = options.settings(("codec", "generator", "adapter", "restorer", *names))
    plans = {name: _plan(catalogue, codec, generator, name, steps, values) for name in names}
    if "adapter" in values and not any(plan.adapter for plan in plans.values()):
        raise UsageError("--set adapter... has no effect: no adapter is used.", "`idem generators info` shows where.")
    if "restorer" in values and not any(plan.restorer for plan in plans.values()):
        raise UsageError("--set restorer... has no effect: none is used.", "Add --set SOLVER.start_at=NAME.")
    reference = REFERENCE if REFERENCE in names else names[0]

    from ..evaluation.bench import BenchJob, measure_alone
    from ..results.rows import BenchReport

    rows: list[BenchRow] = []
    chosen = options.device, options.precision
    for name, selection in plans.items():
        say(f"measuring {name}{f' by adapter {selection.adapter.spec.name}' if selection.adapter else ''} ...")
        rows.append(_row(selection, measure_alone(BenchJob(image, size, selection, *chosen, repeat))))
        if rows[-1].error:
            say(f"{name} could not be measured: {rows[-1].error}")
    rows = _compared(rows, next(row for row in rows if row.solver == reference))
    if options.as_json:
        print_json(BenchReport(image, size, codec, generator, reference, repeat, tuple(rows)).to_json())
    else:
        headers = ("solver", *(key.replace("_", " ") for key in COUNTS), "seconds", "peak MiB")
        print_table(headers, [(row.solver, *_entries(row)) for row in rows])
        say(f"in brackets: relative to {reference}")
    return EXIT_FAILED if any(row.error for row in rows) else EXIT_OK


def _row(selection: Selection, cost: Cost | IdemError) -> BenchRow:
    from ..results.base import as_json
    from ..results.rows import BenchRow

    adapter = selection.adapter.spec.name if selection.adapter else None
    settings = {kind: as_json(asdict(part.config)) for kind, part in selection.used.items()}
    known = (selection.solver.spec.name, adapter, settings)
    if isinstance(cost, IdemError):
        return BenchRow(*known, str(cost), None, None, None, None, None, None, None, {})
    return BenchRow(*known, error=None, **asdict(cost), ratios={})


def _compared(rows: list[BenchRow], reference: BenchRow) -> list[BenchRow]:
    """With their ratios to the reference."""
    return [
        replace(row, ratios={key: ratio(getattr(row, key), getattr(reference, key)) for key in MEASURED})
        for row in rows
    ]


def _fitting(catalogue: Catalogue, codec: str, generator: str) -> list[str]:
    """Every solver that works with the two, natively or by adapter."""
    from ..plugins.selection import missing_capabilities

    encoder = cast("EncoderSpec", catalogue.resolve("codec", codec))
    prior = cast("GeneratorSpec", catalogue.resolve("generator", generator))
    specs = [cast("SolverSpec", spec) for _, spec in catalogue.specs("solver")]
    return [spec.name for spec in specs if not missing_capabilities(encoder, prior, spec)]


def _plan(
    catalogue: Catalogue, codec: str, generator: str, solver: str, steps: int | None, values: Values
) -> Selection:
    """What one solver's run takes; settings of an adapter or restorer go to those that have one.

    Raises UsageError, also for three that cannot work together.
    """
    from ..adapters.specs import adapter_for
    from ..plugins.catalogue import import_target
    from ..plugins.selection import choose_all, combine, restorer_name
    from ..plugins.settings import describe

    spec = catalogue.resolve("solver", solver)
    has_steps = spec.config and any(field.name == "steps" for field in describe(import_target(spec.config)))
    own = {**({"steps": steps} if steps and has_steps else {}), **values.get(solver, {})}
    names = {"codec": codec, "generator": generator, "solver": solver}
    parts = choose_all(catalogue, names, {**values, "solver": own})
    adapter = adapter_for(parts["generator"].spec, parts["solver"].spec)
    used = {"adapter": adapter, "restorer": restorer_name(parts["solver"])}
    settings = {scope: values.get(scope, {}) for scope in used if used[scope]}
    return combine(catalogue, **parts, settings=settings)


def ratio(value: float | None, of: float | None) -> float | None:
    """None if there is nothing to compare with."""
    return value / of if of and value is not None else None


def _entries(row: BenchRow) -> list[str]:
    if row.error:
        return ["-"] * len(MEASURED)
    shown = {**{key: f"{getattr(row, key):,}" for key in COUNTS}, "seconds": f"{row.seconds:.3g}"}
    shown["peak_bytes"] = f"{(row.peak_bytes or 0) / 2**20:.1f}"
    ratios = {key: f" ({value:.2g}x)" if value is not None else "" for key, value in row.ratios.items()}
    return [shown[key] + ratios[key] for key in MEASURED]
