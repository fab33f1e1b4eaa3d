"""What a restorer is worth: alone, projected, and before the draw, beside the solvers without one.

Each picture is a PNG in OUT, and what took long is not made again: type the same command after an interruption.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from common import crops, distances, features, mean, psnr, save, table
from torch import Tensor

from idemcore.io.images import read_image, to_bytes, write_png
from idemcore.noise import Noise
from idemcore.pipeline.codec import Bitstream, Codec
from idemcore.pipeline.decoder import Decoder
from idemcore.pipeline.restored_start import StartingAtRestored
from idemcore.pipeline.sample_prior import grid
from idemcore.protocols import RestorerGenerator


@dataclass(frozen=True)
class Method:
    """How a picture is made of a bitstream."""

    solver: str
    generator: str = "ddpm-photo"
    settings: Mapping[str, Any] | None = None


METHODS = {
    "plain": Method("mse"),
    "mean": Method("mean"),
    "cell-centre": Method("cell", settings={"start_at": "centre"}),
    "cell": Method("cell"),
    "once-photo": Method("once"),
    "latino-photo": Method("latino"),
    "once-realesrgan": Method("once", "ncnn"),
    "cell-realesrgan-8": Method("cell", settings={"start_at": "ncnn", "steps": 8, "start": 1.5}),
}


class Kept(RestorerGenerator):
    """A restorer that draws nothing, whose results are kept in a folder: it is far slower than all the rest."""

    def __init__(self, restorer: RestorerGenerator, folder: Path) -> None:
        self.restorer, self.folder = restorer, folder
        self.saved = 0.0
        """Core seconds of results that were made earlier."""

    def restore(self, x: Tensor, sigma: Tensor | float, noise: Noise) -> Tensor:
        """See `RestorerGenerator.restore`; of one image."""
        path = self.folder / f"{hashlib.sha256(x.numpy().tobytes()).hexdigest()[:16]}.pt"
        if path.exists():
            kept = torch.load(path, weights_only=True)
            self.saved += kept["seconds"]
            return kept["image"]
        begun = time.process_time()
        restored = self.restorer.restore(x, sigma, noise)
        torch.save({"image": restored, "seconds": time.process_time() - begun}, path)
        return restored


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder of the pictures")
    parser.add_argument("--codec", default="jpeg")
    parser.add_argument("--quality", type=int, default=10)
    parser.add_argument("--crop", type=int, default=256, help="side of centre crops")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", nargs="*", help="names of images for a contact sheet, OUT/CODEC-QUALITY.png")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    originals = crops(options.folder, options.crop)
    codec = Codec.load(options.codec, quality=options.quality)
    streams = {name: codec.encode(image) for name, image in originals.items()}
    reference = features(originals.values())
    folder = options.out / f"{options.codec}-{options.quality}"
    rows = []
    for name in options.methods:
        pictures, reports = made(METHODS[name], streams, folder / name, options)
        fidelity = mean([psnr(pictures[key], originals[key]) for key in originals])
        costs = {key: mean([report[key] for report in reports]) for key in ("passes", "core s")}
        exact = sum(report["exact"] for report in reports)
        near = distances(pictures.values(), reference)
        rows.append({"picture": name, **near, "PSNR": fidelity, "exact": f"{exact} of {len(reports)}", **costs})
        print(table(rows[-1:]).splitlines()[-1], flush=True)
    print(table(rows))
    if options.sheet is not None:
        write_png(
            sheet(folder, originals, options.sheet or list(originals), options.methods), folder.with_suffix(".png")
        )
    facts = {"codec": options.codec, "quality": options.quality, "images": list(originals), "crop": options.crop}
    save(options.json, {"rows": rows, **facts, "seed": options.seed})


def made(
    method: Method, streams: dict[str, Bitstream], folder: Path, options: argparse.Namespace
) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """The pictures by name, and of each what it took; those that lie in the folder are read."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [name for name in streams if not (folder / f"{Path(name).stem}.json").exists()]
    if missing:
        decoder, kept = decoder_of(method, options.out)
        for name in missing:
            write(decoder, kept, streams[name], options.seed, folder / Path(name).stem)
    stems = {name: folder / Path(name).stem for name in streams}
    reports = [json.loads(stem.with_suffix(".json").read_text()) for stem in stems.values()]
    return {name: read_image(stem.with_suffix(".png")) for name, stem in stems.items()}, reports


def decoder_of(method: Method, out: Path) -> tuple[Decoder, Kept | None]:
    """With the results of a restorer kept."""
    decoder = Decoder.load(method.generator, method.solver, settings={"solver": dict(method.settings or {})})
    folder = out / "restored"
    folder.mkdir(exist_ok=True)
    if isinstance(decoder.solver, StartingAtRestored):
        kept = decoder.solver.restorer = Kept(decoder.solver.restorer, folder)
        return decoder, kept
    if isinstance(decoder.generator, RestorerGenerator):
        kept = Kept(decoder.generator, folder)
        return replace(decoder, generator=kept), kept
    return decoder, None


def write(decoder: Decoder, kept: Kept | None, bitstream: Bitstream, seed: int, stem: Path) -> None:
    begun, saved = time.process_time(), kept.saved if kept else 0.0
    result = decoder.reconstruct(bitstream, seed)
    seconds = time.process_time() - begun + (kept.saved - saved if kept else 0.0)
    write_png(result.image, stem.with_suffix(".png"))
    report = {"exact": result.exact, "passes": result.nfe, "core s": seconds}
    stem.with_suffix(".json").write_text(json.dumps(report), encoding="utf-8")


def sheet(folder: Path, originals: dict[str, Tensor], chosen: list[str], methods: list[str]) -> Tensor:
    """Uint8 [3,h,w]: a row an image, the original first."""
    rows = [[originals[name], *(read_image(folder / m / f"{Path(name).stem}.png") for m in methods)] for name in chosen]
    return grid(to_bytes(torch.cat([picture for row in rows for picture in row])), len(methods) + 1)


if __name__ == "__main__":
    main()
