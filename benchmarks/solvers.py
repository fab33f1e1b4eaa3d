"""Solvers side by side on one codec, rate and prior: distances, fidelity, exactness, diversity and cost."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from common import table

from idemcore.evaluation.evaluation import Images, evaluate
from idemcore.io.image_sets import Frame
from idemcore.metrics import Metric, Score, build, choose_metrics
from idemcore.pipeline.codec import Codec
from idemcore.pipeline.decoder import Decoder
from idemcore.plugins.catalogue import load_catalogue
from idemcore.plugins.settings import parse_overrides
from idemcore.runtime import Runtime

METRICS = (
    "fd", "kd", "swd", "psnr", "solver-exact", "exact", "solver-recompression-psnr", "occupancy", "diversity", "nfe",
    "backwards", "seconds",
)  # fmt: skip
CELL_STEPS = (4, 8, 12, 20, 50)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="or a zip file of images")
    parser.add_argument("--codec", default="jpeg")
    parser.add_argument("--quality", type=int, default=10)
    parser.add_argument("--generator", default="ddpm-photo")
    parser.add_argument(
        "--solver", dest="solvers", nargs="+", metavar="NAME[,KEY=VALUE...]",
        default=["mse", *(f"cell,steps={n}" for n in CELL_STEPS)], help="such as cell,steps=8",
    )  # fmt: skip
    parser.add_argument("--crop", type=int, help="side of centre crops; whole images without it")
    parser.add_argument("--images", type=int, help="the first so many by name")
    parser.add_argument("--seeds", type=int, default=1, help="draws of each image")
    parser.add_argument("--batch", type=int, default=1, help="draws made together")
    parser.add_argument("--metrics", nargs="+", default=METRICS)
    parser.add_argument("--set", dest="overrides", nargs="*", default=[], help="such as generator.weights=FILE")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="rows are added to those that it holds")
    parser.add_argument("--plot", type=Path, help="kernel distance and PSNR against passes, of all rows in --json")
    parser.add_argument("--against", choices=["passes", "seconds"], default="passes", help="what the plot has below")
    options = parser.parse_args()
    runtime, images = Runtime.choose(options.device), Images(options.folder, Frame(options.crop), options.images)
    settings = parse_overrides(options.overrides, ("codec", "generator"))
    codec = Codec.load(options.codec, runtime, quality=options.quality, **settings.get("codec", {}))
    metrics, missing = build(choose_metrics(load_catalogue(), options.metrics), runtime)
    for name, reason in missing.items():
        print(f"{name} is missing: {reason}")
    facts = {"codec": options.codec, "quality": options.quality, "generator": options.generator,
             "images": images.facts().to_json(), "seeds": options.seeds, "batch": options.batch,
             "device": str(runtime.device), "set": options.overrides}  # fmt: skip
    rows = []
    for solver in options.solvers:
        name, chosen = configured(solver)
        decoder = Decoder.load(options.generator, name, runtime, {**settings, "solver": chosen})
        scores = measured(codec, decoder, images, metrics, options.seeds, options.batch)
        rows.append({"solver": solver, **scores})
        print(table(shown(rows[-1:])).splitlines()[-1], flush=True)
        if options.json:
            add(options.json, {**rows[-1], **facts})
    print(table(shown(rows)))
    if options.plot:
        plot(json.loads(options.json.read_text()) if options.json else rows, options.plot, options.against)


def configured(text: str) -> tuple[str, dict[str, Any]]:
    """`cell,steps=8` as name and settings."""
    name, *assignments = text.split(",")
    return name, parse_overrides([f"solver.{one}" for one in assignments], ("solver",)).get("solver", {})


def measured(
    codec: Codec, decoder: Decoder, images: Images, metrics: list[Metric], seeds: int, batch: int
) -> dict[str, dict[str, float | None]]:
    """By metric: value, and the 95 % interval where there is one. Raises the error of an image that fails."""
    found = evaluate(codec, decoder, images, metrics, range(seeds), batch=batch)
    for error in found.errors.values():
        raise error
    return {metric.name: plain(found.scores[metric.name]) for metric in metrics}


def plain(score: Score) -> dict[str, float | None]:
    known = {key: getattr(score, key) for key in ("value", "low", "high")}
    return {key: value if value is not None and math.isfinite(value) else None for key, value in known.items()}


def shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For people: the values alone."""
    return [{k: number(v["value"]) if isinstance(v, dict) else v for k, v in row.items()} for row in rows]


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def add(path: Path, row: dict[str, Any]) -> None:
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    path.write_text(json.dumps([*rows, row], indent=1) + "\n", encoding="utf-8")


def plot(rows: list[dict[str, Any]], path: Path, against: str) -> None:
    """A line for what was run with several numbers of steps, else a point; the plain decode as a level."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 4.2), layout="constrained")
    labels = {"kd": "kernel distance x 1000", "psnr": "PSNR, dB"}
    cost = {"passes": passes, "seconds": lambda row: row["seconds"]["value"]}[against]
    for axes, (metric, label) in zip(figure.subplots(1, 2), labels.items(), strict=True):
        for name in dict.fromkeys(map(line_of, rows)):
            mine = [row for row in rows if line_of(row) == name]
            if name == "mse":
                axes.axhline(mine[0][metric]["value"], color="0.5", linestyle="--", label="g(y)")
                continue
            points = sorted((cost(row), row[metric]["value"]) for row in mine)
            axes.plot(*zip(*points, strict=True), "o-", markersize=4, label=name)
        axes.set_xscale("log")
        low, high = axes.get_xlim()
        round_ones = (step * 10.0**power for power in range(-3, 4) for step in (1, 2, 5))
        ticks = sorted({passes(row) for row in rows if passes(row)}) if against == "passes" else list(round_ones)
        shown = [tick for tick in ticks if low <= tick <= high]
        axes.set_xticks(shown, [f"{tick:g}" for tick in shown])
        axes.minorticks_off()
        axes.set_xlabel({"passes": "network passes, forwards and backwards", "seconds": "seconds an image"}[against])
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=8)
    figure.savefig(path, dpi=110)


def line_of(row: dict[str, Any]) -> str:
    """Names the line of a row: solver, its settings except the number of steps, and the prior if not ddpm-photo."""
    solver = ", ".join(word for word in row["solver"].split(",") if not word.startswith("steps="))
    prior = "" if row["generator"] == "ddpm-photo" else ", ".join(["", row["generator"], *row["set"]])
    return solver if solver in ("mse", "mean") else solver + prior


def passes(row: dict[str, Any]) -> float:
    """Forwards and backwards."""
    return row["nfe"]["value"] + row["backwards"]["value"]


if __name__ == "__main__":
    main()
