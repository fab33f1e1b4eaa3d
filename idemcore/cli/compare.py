"""`idem compare`: how far one rate curve lies from another, and one configuration of a store from another."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..report.measures import measure_of
from .options import INPUT, json_option, listed
from .output import echo, print_json, print_table, say

if TYPE_CHECKING:
    from ..evaluation.curves import Curve
    from ..plugins.catalogue import Catalogue


FORMATS = ("table", "md", "csv", "latex")


@click.command()
@click.argument("places", nargs=-1, required=True, type=INPUT, metavar="ANCHOR [TEST]")
@click.option("--metrics", "names", metavar="A,B,...", help="Metrics to compare.  [default: all that both have]")
@click.option(
    "--anchor",
    "anchors",
    multiple=True,
    metavar="KEY=VALUES",
    help="In a store: only these runs, or plain; repeatable.",
)
@click.option(
    "--test",
    "tests",
    multiple=True,
    metavar="KEY=VALUES",
    help="In a store: the runs to compare with the anchor; repeatable.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="Output format, for stores.",
)
@json_option
def compare(
    places: tuple[str, ...],
    names: str | None,
    anchors: tuple[str, ...],
    tests: tuple[str, ...],
    kind: str,
    as_json: bool,
) -> None:
    """Compare TEST with ANCHOR: two curves, two stores of sweeps, or two configurations of one store.

    \b
    idem compare vtm results/elic.json
    idem compare runs/before runs/after
    idem compare runs/solvers --anchor solver=mse --test solver=cell --format latex
    idem compare runs/codecs --anchor codec=jpeg --anchor solver=cell

    Curves are files in CompressAI's format, as of `idem eval`, or curves of the registry. BD-rate: per cent of bits
    that TEST needs more for the same value. BD-metric: what it has more at the same rate. Where both files hold the
    same images at the same settings of one codec, paired differences as well.

    For stores, paired differences image by image with 95 % intervals, which are far narrower than those of two means.
    In one store, every configuration is compared with its plain decode, unless --anchor names another.
    """
    from .compare_stores import compare_stores, is_store

    wanted = listed(names, "--metrics") if names else []
    if len(places) > 2:
        raise UsageError(f"{len(places)} results were given.", "Compare two: ANCHOR and TEST.")
    if is_store(places[0]) and is_store(places[-1]):
        compare_stores(places, anchors, tests, wanted, kind, as_json)
        return
    if len(places) < 2 or anchors or tests or kind != "table":
        raise UsageError(f"{places[0]} is not a store, but a curve.", "Type: idem compare ANCHOR TEST [--metrics A,B]")
    _compare_curves(places[0], places[1], wanted, as_json)


def _compare_curves(anchor: str, test: str, names: list[str], as_json: bool) -> None:
    from ..evaluation.curves import find, overlap
    from ..plugins.catalogue import load_catalogue

    first, second = find(anchor), find(test)
    shared = [key for key in first.results if key in second.results and key != "bpp"]
    falling = falling_keys(load_catalogue())
    found = [_differences(first, second, name, falls(name, falling)) for name in names or shared]
    span = overlap(first, second)
    if as_json:
        print_json({"anchor": first.name, "test": second.name, "overlap": span, "metrics": found})
        return
    say(f"{second.name}, against {first.name}")
    say(f"both span {span[0]:.3g} to {span[1]:.3g} bpp" if span else "their rates do not overlap")
    print_table(
        ("metric", "BD-rate", "BD-metric"),
        [(row["metric"], _per_cent(row["bd_rate"]), _signed(row["bd_metric"])) for row in found],
    )
    for row in found:
        if row["undefined"]:
            say(f"no BD-rate of {row['metric']}: {row['undefined']}")
    if images := {side.name: side.protocol["images"] for side in (first, second) if "images" in side.protocol}:
        say(f"published on {', '.join(f'{known} ({name})' for name, known in images.items())}: compare like with like")
    pairs = [(row["metric"], pair) for row in found for pair in row["paired"]]
    if pairs:
        echo()
        print_table(
            ("metric", "point", "difference", "95 % interval", "images"),
            [(metric, _point(second, pair["point"]), _signed(pair["value"]),
              f"{_signed(pair['low'])} to {_signed(pair['high'])}" if pair["low"] is not None else "-", pair["count"])
             for metric, pair in pairs],
        )  # fmt: skip


def _differences(anchor: Curve, test: Curve, name: str, lower: bool) -> dict[str, Any]:
    """`lower`: the metric gets better downwards."""
    from ..evaluation.curves import bd_metric, bd_rate, paired, why_undefined

    metric = name.removesuffix("-rgb")
    rate, gain = bd_rate(anchor, test, name, lower), bd_metric(anchor, test, name)
    pairs = [{"point": point, "value": score.value, "low": score.low, "high": score.high, "count": score.count}
             for point, score in paired(anchor, test, metric).items()]  # fmt: skip
    undefined = why_undefined(anchor, test, name, lower)
    return {
        "metric": name, "bd_rate": _known(rate), "bd_metric": _known(gain), "undefined": undefined, "paired": pairs,
    }  # fmt: skip


def falling_keys(catalogue: Catalogue) -> set[str]:
    """Names and keys in results of the metrics that get better downwards."""
    falling = [spec for _, spec in catalogue.specs("metric") if getattr(spec, "direction", "") == "lower"]
    return {name for spec in falling for name in (spec.name, getattr(spec, "key", ""))}


def falls(name: str, falling: Collection[str]) -> bool:
    """Does it get better downwards, by its own direction or, as `pyiqa:niqe`, by that of its argument?"""
    known = measure_of(name).direction
    return known == "lower" if known else name.partition(":")[0] in falling


def _point(side: Curve, number: int) -> str:
    codec = side.meta.points[number] if side.meta else {"name": side.name}
    return f"{codec['name']} {codec.get('quality', '')}".strip()


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _per_cent(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1f} %"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3g}"
