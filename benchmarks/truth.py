"""Which solvers sample the posterior, and which settle on one likely image? On the toy source, where it is known."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from common import save, table
from torch import Tensor

from idemcore.noise import Noise
from idemcore.pipeline.codec import Codec
from idemcore.pipeline.decoder import Decoder
from idemcore.protocols import Solution
from idemcore_toy.truth import TOUCHING, Figures, Truth

SOLVERS: list[tuple[str, dict[str, Any]]] = [
    ("mse", {}),
    ("cell", {"steps": 4}),
    ("cell", {"steps": 4, "sigma_share": 1.0}),
    ("cell", {"steps": 12}),
    ("cell", {"steps": 50}),
    ("backproj", {}),
    ("diffpir", {}),
    ("mpgd", {}),
    ("dsg", {}),
    ("dsg", {"guidance_rate": 0.3}),
    ("dps", {"steps": 100}),
    ("dps", {"steps": 1000}),
    ("dps", {"steps": 1000, "zeta": 0.2}),
    ("mcg", {"steps": 1000}),
    ("mcg", {"steps": 1000, "projection": "decode"}),
    ("pulse", {}),
    ("ilo", {}),
    ("langevin", {}),
]
"""Name and settings; those left out are the defaults."""

REACH, BINS = 0.75, 48
"""Of the histograms: positions -REACH..REACH; the faces of the cell, at -1/2 and 1/2, lie between two bins."""
BEGIN, END = "<!-- written by benchmarks/truth.py -->", "<!-- end -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quality", type=int, default=3, help="of the toy codec, 1 to 8")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--side", type=int, default=16, help="of the images, pixels")
    parser.add_argument("--solvers", nargs="*", help="only these, by name; left out: all")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="PNG with the occupancy of the cells by each solver")
    parser.add_argument("--page", type=Path, help="Markdown file, such as docs/truth.md, in which to renew the table")
    options = parser.parse_args()
    world = World(options.quality, options.images, options.side)
    rows = [world.row("posterior samples", world.truth.sample(Noise(world.seeds(1))))]
    rows.append(world.row("posterior mean", world.mean))
    for name, settings in SOLVERS:
        if options.solvers is None or name in options.solvers:
            title = ", ".join([name, *(f"{key} {value}" for key, value in settings.items())])
            solution = world.solve(name, settings)
            rows.append(world.row(title, solution.image, solution))
            print(table([shown(rows[-1])]).splitlines()[-1], flush=True)
    text = table([shown(row) for row in rows])
    print(text)
    save(options.json, {"rows": rows, "occupancy": world.wanted.tolist(), **plain(options)})
    if options.plot:
        plot(rows, world.wanted, options.plot)
    if options.page:
        renew(options.page, text)


class World:
    """Draws of the toy source, their cells, and what is true of these."""

    def __init__(self, quality: int, images: int, side: int) -> None:
        self.images, generator = images, Decoder.load("toy", "cell").generator
        encoder = Codec.load("toy", quality=quality).encoder
        self.original = generator.source.sample(Noise(self.seeds(0)), side, side)
        self.cell = encoder.cell(encoder.encode(self.original), (side, side))
        self.truth = Truth(self.cell, generator.source)
        self.mean = generator.source.posterior(self.cell.lower, self.cell.upper).mean
        self.wanted = density(self.truth)

    def seeds(self, stream: int) -> range:
        """One an image; streams are independent."""
        return range(stream * self.images, (stream + 1) * self.images)

    def solve(self, name: str, settings: dict[str, Any]) -> Solution:
        decoder = Decoder.load("toy", name, settings={"solver": settings})
        return decoder.solver.solve(self.cell, decoder.generator, Noise(self.seeds(2)))

    def row(self, title: str, image: Tensor, solution: Solution | None = None) -> dict[str, Any]:
        found = self.truth.figures(image, self.original, Noise(self.seeds(3)))
        passes = {"passes": solution.nfe, "backwards": solution.backwards} if solution else {}
        # What lies on a face belongs to the bin inside.
        position = self.cell.position(image) * (1 - 2 * TOUCHING)
        histogram = torch.histc(position.float(), BINS, -REACH, REACH) * BINS / (2 * REACH) / position.numel()
        kind = verdict(found) if solution else ""
        return {"solver": title, **passes, "verdict": kind, **asdict(found), "histogram": histogram.tolist()}


def verdict(found: Figures) -> str:
    """In one word; docs/truth.md says what it means."""
    if found.spread < 0.85:
        return "MAP-like"
    if found.spread > 1.15:
        return "too wide"
    return "sampler" if found.bias < 0.35 and found.occupancy < 0.05 and found.inside > 0.99 else "biased"


def density(truth: Truth) -> Tensor:
    """[BINS]: what the posterior makes of the histograms."""
    edges = torch.linspace(-REACH, REACH, BINS + 1, dtype=torch.float64)
    return truth.occupancy(edges.clamp(-0.5, 0.5)).diff() * BINS / (2 * REACH)


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """A row of the table."""
    counts = {key: str(row.get(key, "")) for key in ("passes", "backwards")}
    figures = {key: row[key] for key in ("spread", "bias", "covariance", "error", "sliced")}
    finer = {"inside": f"{row['inside']:.1%}", "occupancy": f"{row['occupancy']:.3f}"}
    return {"solver": row["solver"], **counts, "verdict": row["verdict"], **figures, **finer}


def renew(page: Path, text: str) -> None:
    """Puts the table between the two marks of the page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"{page} has no lines '{BEGIN}' and '{END}' between which the table would go.")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


COLOURS = {"": "#8a8a8a", "sampler": "#2a7f62", "MAP-like": "#3b6fb6", "too wide": "#c9622f", "biased": "#b59a1d"}


def plot(rows: list[dict[str, Any]], wanted: Tensor, path: Path, columns: int = 3, tallest: float = 3.0) -> None:
    from matplotlib.figure import Figure

    count = -(-len(rows) // columns)
    figure = Figure((3.3 * columns, 1.9 * count + 0.5), dpi=110, layout="constrained")
    panels = figure.subplots(count, columns, sharex=True, sharey=True).flat
    edges = torch.linspace(-REACH, REACH, BINS + 1).tolist()
    for axes, row in zip(panels, rows, strict=False):
        colour = COLOURS[row["verdict"]]
        axes.stairs(row["histogram"], edges, fill=True, color=colour, alpha=0.55)
        axes.stairs(wanted.tolist(), edges, color="black", linewidth=1.1)
        for face in (-0.5, 0.5):
            axes.axvline(face, color="black", linewidth=0.6, linestyle=":")
        axes.set_title(row["solver"], fontsize=10, loc="left")
        axes.set_title(row["verdict"], fontsize=9, loc="right", color=colour)
        axes.text(0.5, 0.95, f"spread {row['spread']:.2f}\noccupancy {row['occupancy']:.3f}", fontsize=8,
                  ha="center", va="top", transform=axes.transAxes,
                  bbox={"color": "white", "alpha": 0.8, "pad": 1})  # fmt: skip
        axes.set(xlim=(-REACH, REACH), ylim=(0, tallest), xticks=[-0.5, 0, 0.5], yticks=[])
        axes.spines[["top", "right", "left"]].set_visible(False)
    for axes in list(panels):
        axes.set_axis_off()
    label = "position of a symbol in its interval (dotted: the faces of the cell; line: the posterior)"
    figure.supxlabel(label, fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def plain(options: argparse.Namespace) -> dict[str, Any]:
    return {key: getattr(options, key) for key in ("quality", "images", "side")}


if __name__ == "__main__":
    main()
