"""`idem eval`: metrics of a codec's rates, with one or several solvers, over a folder of images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import EXIT_FAILED, EXIT_OK, UsageError
from ..metrics.specs import DEFAULT_METRICS
from ..plugins.selection import DEFAULT_SOLVER
from .group import tell
from .options import (
    FOLDER,
    INPUT,
    ImagesOptions,
    RunOptions,
    batch_option,
    codec_option,
    generator_option,
    images_options,
    json_option,
    listed,
    runtime_options,
    settings_options,
    take_options,
)
from .output import print_json, print_table, say, solver_progress

if TYPE_CHECKING:
    from ..evaluation.curves import Curve
    from ..evaluation.evaluation import Evaluation, Images
    from ..metrics import Metric
    from ..plugins.catalogue import Catalogue
    from ..protocols import Callback
    from ..results.rows import CurveMeta, ImagesFacts
    from ..runtime import Runtime
    from ..sweeps.identity import Configuration


Watched = AbstractContextManager["Callback | None"]


@dataclass(frozen=True)
class EvalOptions:
    """The flags of `idem eval` alone."""

    qualities: str | None
    solvers: str
    seeds: int
    names: str
    out: str | None


@click.command("eval")
@click.argument("place", type=INPUT, metavar="IMAGES")
@codec_option
@click.option("--quality", "qualities", metavar="A,B,...", help="Points of the curve, e.g. 1,2,3 or 1..4.")
@generator_option
@click.option(
    "--solver",
    "solvers",
    default=DEFAULT_SOLVER,
    show_default=True,
    metavar="A,B,...",
    help="One curve each; mse is the plain decode.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Draws of each image: seeds 0 to N-1.",
)
@click.option(
    "--metrics",
    "names",
    default=",".join(DEFAULT_METRICS),
    metavar="A,B,...",
    help=f"See `idem metrics list`.  [default: {', '.join(DEFAULT_METRICS)}]",
)
@images_options
@batch_option("Draws made together, of images of one size: faster on a GPU, the same results.")
@click.option("--out", type=FOLDER, metavar="FOLDER", help="Write a JSON file for each curve, in CompressAI's format.")
@settings_options
@runtime_options
@json_option
@take_options(asked=EvalOptions, part=ImagesOptions)
def evaluate_(place: str, asked: EvalOptions, part: ImagesOptions, options: RunOptions) -> int:
    """Encode the images of a folder or zip file, decode them with each solver, measure, and print a table.

    It has a row for each solver and quality. Values are means over images, with half of their 95 % interval. A metric
    whose weights are missing is reported and left out. --json prints one curve per line, as --out writes them, in
    CompressAI's format, with `intervals`, `rows` of single images, `missing` and `meta`.
    """
    from ..metrics.building import build, choose_metrics
    from ..plugins.catalogue import load_catalogue

    catalogue = load_catalogue()
    plans = _plans(catalogue, asked, options)
    wanted = choose_metrics(catalogue, listed(asked.names, "--metrics"))

    from ..evaluation.evaluation import Images
    from ..pipeline.identity import Computed

    runtime = options.runtime()
    images = Images(Path(place), part.frame(), part.limit)
    computed = Computed.of(runtime)
    plans = [[replace(point, computed=computed) for point in points] for points in plans]
    images.sources  # noqa: B018  # an empty folder is told before models are loaded
    metrics, missing = build(wanted, runtime)
    for name, reason in missing.items():
        say(f"{name} is missing: {reason}")
    failed, curves = set[str](), list[Any]()
    for plan in plans:
        made, errors = _curve(plan, images, metrics, missing, range(asked.seeds), runtime, options.batch)
        curves.append(made)
        failed |= errors
        if options.as_json:
            print_json(made.content())
        if asked.out:
            Path(asked.out).mkdir(parents=True, exist_ok=True)
            made.write(Path(asked.out) / f"{_slug(made.name)}.json")
    if not options.as_json:
        _show(curves, [metric.name for metric in metrics])
    return EXIT_FAILED if failed else EXIT_OK


def _plans(catalogue: Catalogue, asked: EvalOptions, options: RunOptions) -> list[list[Configuration]]:
    """The points of each solver's curve.

    Raises UsageError for a name or setting that is wrong or that none of them has, and for parts that do not fit.
    """
    from ..sweeps.combinations import resolve
    from ..sweeps.grid import parse_axes

    shared = {"codec": options.codec, "generator": options.generator}
    shared |= {f"{scope}.{key}": value for scope, values in options.settings().items() for key, value in values.items()}
    steps = [{"quality": q} for q in parse_axes([f"quality={asked.qualities}"])["quality"]] if asked.qualities else [{}]
    solvers = listed(asked.solvers, "--solver")
    unused = {*shared, *steps[0]}
    plans: list[list[Configuration]] = []
    for solver in solvers:
        plans.append([])
        for step in steps:
            configuration, used = resolve(catalogue, {**shared, "solver": solver, **step})
            plans[-1].append(configuration)
            unused -= used
    if unused:
        parts = f"{options.codec}, {options.generator} and {', '.join(solvers)}"
        raise UsageError(
            f"{min(unused)} has no effect on {parts}.", f"See `idem codecs info {options.codec}` and the like."
        )
    return plans


def _curve(
    plan: Sequence[Configuration],
    images: Images,
    metrics: Sequence[Metric],
    missing: dict[str, str],
    seeds: Sequence[int],
    runtime: Runtime,
    batch: int,
) -> tuple[Curve, set[str]]:
    """The curve of a solver, and the images that failed at any of its points."""
    from ..evaluation.curves import curve
    from ..evaluation.draws import finite_or_none
    from ..evaluation.evaluation import evaluate
    from ..pipeline.codec import Codec
    from ..pipeline.decoder import Decoder
    from ..results.rows import EvalRow

    first = plan[0]
    decoder, seeds = Decoder.build(first.selection, runtime), first.selection.different(seeds)
    name = f"{first.selection.codec.spec.name}, {decoder.name}"
    evaluations: list[Evaluation] = []
    for number, configuration in enumerate(plan, 1):
        codec = Codec.build(configuration.selection.codec, runtime)

        def watch(image: str, step: str = f"{name}, {number} of {len(plan)}") -> Watched:
            return solver_progress(f"{step}, {image}")

        evaluations.append(evaluate(codec, decoder, images, metrics, seeds, watch, batch))
        for image, error in evaluations[-1].errors.items():
            tell(error, image)
    rows = [EvalRow(k, row.image, row.seed, finite_or_none(row.values))
            for k, found in enumerate(evaluations) for row in found.rows]  # fmt: skip
    keys = {metric.name: metric.spec.key for metric in metrics}
    used = images.facts()
    meta = _meta(plan, used, seeds, runtime)
    description = f"{used.count} images of {used.dataset}, {used.crop}, {len(seeds)} draws each; by idem"
    scores = [found.scores for found in evaluations]
    made = curve(name, description, scores, keys, rows=rows, missing=missing, meta=meta)
    return made, {image for found in evaluations for image in found.errors}


def _meta(plan: Sequence[Configuration], images: ImagesFacts, seeds: Sequence[int], runtime: Runtime) -> CurveMeta:
    from ..results.rows import CurveMeta

    facts = [configuration.facts for configuration in plan]
    first = facts[0]
    return CurveMeta(
        images=images,
        points=tuple(fact.codec for fact in facts),
        generator=first.generator,
        solver=first.solver,
        adapter=first.adapter,
        versions=first.versions,
        weights=tuple(fact.weights for fact in facts),
        seeds=tuple(seeds),
        device=str(runtime.device),
        dtype=str(runtime.dtype).removeprefix("torch."),
    )


def _show(curves: Sequence[Curve], metrics: Sequence[str]) -> None:
    rows = []
    for made in curves:
        for number, point in enumerate(made.meta.points if made.meta else ()):
            entries = [_entry(made, metric, number) for metric in metrics]
            rows.append((made.name, point.get("quality", ""), *entries))
    print_table(("curve", "quality", *metrics), rows)


def _entry(made: Curve, metric: str, number: int) -> str:
    key = made.key(metric)
    value, pairs = made.results[key][number], made.intervals.get(key)
    return number_and_half(value, pairs[number] if pairs else None)


def number_and_half(value: float | None, interval: tuple[float, float] | None) -> str:
    """A value with half of its interval's width, or with the interval if the value is not in its middle."""
    if value is None:
        return "-"
    low, high = interval or (value, value)
    if abs(low + high - 2 * value) > 1e-6 * (high - low):
        return f"{value:.4g} ({low:.2g} to {high:.2g})"
    return f"{value:.4g}" + (f" ±{(high - low) / 2:.2g}" if high > low else "")


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
