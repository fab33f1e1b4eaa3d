"""How near are samples of generators to real images? Beside other real images, and those blurred."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import distances, features, save, table
from jpeg_quality import blurred
from torch import Tensor

from idemcore.io.image_sets import squares
from idemcore.io.images import to_float
from idemcore.metrics.distance import Features
from idemcore.pipeline.sample_prior import STEPS, Sampler, fitting_size
from idemcore.plugins.catalogue import import_target, load_catalogue
from idemcore.plugins.selection import choose
from idemcore.plugins.settings import parse_overrides
from idemcore.runtime import Runtime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("real", type=Path, help="folder or zip file of the images to be near to")
    parser.add_argument("generators", nargs="+")
    parser.add_argument("--others", type=Path, help="more real images; left out: half of them against half")
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--side", type=int, default=64, help="of all images; a multiple of 64")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS, help="passes of a diffusion")
    parser.add_argument("--eta", type=float, default=0.0, help="new noise in a diffusion, 0 to 1")
    parser.add_argument("--set", dest="overrides", nargs="*", default=[], help="such as generator.weights=FILE")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.side % 64:
        parser.error(f"--side {options.side} is not a multiple of 64")
    real = rgb(squares(options.real, options.side))
    known = features(real.split(1))
    rows: list[dict[str, Any]] = []

    def row(name: str, images: Tensor, against: Features, seconds: float | None = None) -> None:
        found = distances(images.split(1), against, paired=False)
        each = "" if seconds is None else seconds / len(images)
        rows.append({"images": name, "count": len(images), **found, "s a sample": each})
        print(table(rows[-1:]).splitlines()[-1], flush=True)

    if options.others:
        others, against = spaced(rgb(squares(options.others, options.side)), options.samples), known
    else:
        others, against = real[::2], features(real[1::2].split(1))
    row("other real images", others, against)
    row("the same, blurred by 1 pixel", blurred(others), against)
    for name in options.generators:
        images, seconds = drawn(name, options)
        row(name, images, known, seconds)
    print(table(rows))
    kept = ("real", "others", "samples", "side", "seed", "steps", "eta", "overrides")
    save(options.json, {"rows": rows, "against": len(real), **{key: plain(getattr(options, key)) for key in kept}})


def rgb(images: Tensor) -> Tensor:
    """Grey or colour byte images [N,C,H,W] as [N,3,H,W] in [0,1]."""
    return to_float(images).expand(-1, 3, -1, -1)


def spaced(images: Tensor, count: int) -> Tensor:
    """`count` of them, evenly spaced by name; all, if they are fewer."""
    return images[torch.from_numpy(np.linspace(0, len(images) - 1, min(count, len(images))).astype(int))]


def drawn(name: str, options: argparse.Namespace) -> tuple[Tensor, float]:
    """[N,3,side,side] in [0,1], rounded to 8 bits as real images are, and the seconds that drawing them took."""
    settings = parse_overrides(options.overrides, ("generator",)).get("generator", {})
    part = choose(load_catalogue(), "generator", name, settings)
    runtime = Runtime.choose(options.device, options.precision)
    generator = import_target(part.spec.target)(part.config, runtime)
    size = fitting_size(generator, name, (options.side, options.side))
    sampler = Sampler(generator, size, options.steps, options.eta, runtime.device)
    begin = time.perf_counter()
    batches = [images.cpu() for images in sampler.samples(options.seed, options.samples)]
    return to_float(torch.cat(batches)), time.perf_counter() - begin


def plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


if __name__ == "__main__":
    main()
