"""Rate-distortion curves of the codecs' plain decodes: file bits per pixel against PSNR, and BD-rate against JPEG.

Beside them those of formats that Pillow writes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import bjontegaard
from common import crops, mean, psnr, save, table
from torch import Tensor

from idemcore.evaluation.baselines import BASELINES, Baseline, baseline_curve
from idemcore.evaluation.evaluation import Images
from idemcore.io.image_sets import Frame
from idemcore.metrics import build, choose_metrics
from idemcore.pipeline.codec import Codec
from idemcore.plugins.catalogue import load_catalogue
from idemcore.runtime import Runtime

JPEG = ("jpeg 4:2:0", "jpeg", {"subsampling": "4:2:0"}, [3, 5, 8, 10, 15, 20, 25, 30, 40, 50, 60, 75])
LEARNED = [("elic", "elic", {}, [1, 2, 3, 4]), ("hyperprior", "hyperprior", {}, [1, 2, 3, 4])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, help="centre crops of this side; whole images without it")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--formats", nargs="*", default=["webp", "avif", "jpeg2000"], choices=list(BASELINES))
    options = parser.parse_args()
    originals = crops(options.folder, options.side)
    curves = {}
    for label, name, settings, qualities in [JPEG, *LEARNED]:
        curves[label] = [point(name, quality, settings, originals) for quality in qualities]
        print(table([{"codec": label, **row} for row in curves[label]]), flush=True)
    for name in options.formats:
        one = BASELINES[name]
        curves[one.title] = format_points(one, options.folder, options.side)
        print(table([{"codec": one.title, **row} for row in curves[one.title]]), flush=True)
    others = [label for label in curves if label != JPEG[0]]
    rates = [{"codec": label, "BD-rate to JPEG %": bd_rate(curves[JPEG[0]], curves[label])} for label in others]
    print(table(rates))
    save(options.json, {"curves": curves, "bd-rate": rates, "images": list(originals), "side": options.side})
    if options.plot:
        plot(curves, options.plot)


def point(name: str, quality: int, settings: dict[str, Any], originals: dict[str, Tensor]) -> dict[str, Any]:
    codec = Codec.load(name, quality=quality, **settings)
    streams = {key: codec.encode(image) for key, image in originals.items()}
    return {
        "quality": quality,
        "bpp": mean([s.bits_per_pixel for s in streams.values()]),
        "PSNR": mean([psnr(streams[key].decoded, image) for key, image in originals.items()]),
    }


def format_points(one: Baseline, folder: Path, side: int | None) -> list[dict[str, Any]]:
    metrics, _ = build(choose_metrics(load_catalogue(), ["bpp", "psnr"]), Runtime.choose("cpu"))
    found = baseline_curve(one, Images(folder, Frame(side)), metrics).results
    return [{"quality": quality, "bpp": rate, "PSNR": value}
            for quality, rate, value in zip(one.qualities, found["bpp"], found["psnr-rgb"], strict=True)]  # fmt: skip


def bd_rate(anchor: list[dict[str, Any]], test: list[dict[str, Any]]) -> float:
    """Per cent of bits that `test` needs more than `anchor` for the same PSNR; negative is better (Akima curves)."""
    (rate_a, psnr_a), (rate_t, psnr_t) = (([r["bpp"] for r in c], [r["PSNR"] for r in c]) for c in (anchor, test))
    return float(bjontegaard.bd_rate(rate_a, psnr_a, rate_t, psnr_t, method="akima", require_matching_points=False))


def plot(curves: dict[str, list[dict[str, Any]]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    ours = {JPEG[0], *(label for label, *_ in LEARNED)}
    for label, rows in curves.items():
        style = "o-" if label in ours else "s--"
        axes.plot([r["bpp"] for r in rows], [r["PSNR"] for r in rows], style, markersize=3.5, label=label)
    axes.set(xlabel="bits per pixel, whole files", ylabel="PSNR, dB", xlim=(0, 1))
    low = min(r["PSNR"] for label in ours for r in curves[label])
    high = max(r["PSNR"] for rows in curves.values() for r in rows if r["bpp"] <= 1)
    axes.set_ylim(low - 0.5, high + 0.5)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
