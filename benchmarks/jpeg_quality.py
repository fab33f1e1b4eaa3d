"""How natural are reconstructions of low-quality JPEGs? Distances of plain decode, one denoising and `cell`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from common import crops, distances, features, mean, psnr, save, table
from torch import Tensor

from idemcore.io.images import to_float
from idemcore.pipeline.codec import Bitstream, Codec
from idemcore.pipeline.decoder import Decoder
from idemcore.plugins.settings import parse_overrides


def blurred(image: Tensor) -> Tensor:
    """With a Gaussian of 1 pixel: how far off, for scale."""
    taps = torch.exp(-(torch.arange(-3.0, 4.0) ** 2) / 2)
    weight = (taps[:, None] * taps / taps.sum() ** 2).expand(3, 1, 7, 7)
    return torch.nn.functional.conv2d(torch.nn.functional.pad(image, (3, 3, 3, 3), mode="reflect"), weight, groups=3)


def denoised_once(bitstream: Bitstream, decoder: Decoder) -> Tensor:
    """One pass over g(y), taking 1.5 times the codec's expected error for its noise."""
    with torch.no_grad():
        return decoder.generator.denoise(bitstream.decoded, 1.5 * bitstream.cell.distortion).clamp(0, 1)  # type: ignore[attr-defined]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quality", type=int, nargs="+", default=[5, 10])
    parser.add_argument("--subsampling", default="4:2:0")
    parser.add_argument("--side", type=int, help="centre crops of this side; whole images if left out")
    parser.add_argument("--set", nargs="*", default=[], help="solver settings, each tried on its own: steps=12,eta=0.5")
    parser.add_argument("--weights", default="bundled")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    originals = crops(options.folder, options.side)
    reference = features(originals.values())
    rows = []
    for quality in options.quality:
        codec = Codec.load("jpeg", quality=quality, subsampling=options.subsampling)
        streams = {name: codec.encode(image) for name, image in originals.items()}

        def row(name: str, images: dict[str, Tensor], seconds: float, quality: int = quality) -> None:
            fidelity = mean([psnr(images[key], originals[key]) for key in originals])
            found = {"decoder": name, "quality": quality, "PSNR": fidelity, **distances(images.values(), reference)}
            rows.append({**found, "s an image": seconds / len(originals)})
            print(table(rows[-1:]).splitlines()[-1], flush=True)

        row("libjpeg", {name: stream.decoded for name, stream in streams.items()}, 0.0)
        row("original, blurred by 1 pixel", {name: blurred(image) for name, image in originals.items()}, 0.0)
        for text in options.set or [""]:
            items = [f"solver.{item}" for item in text.split(",") if item]
            chosen = parse_overrides([*items, f"generator.weights={options.weights}"], ("solver", "generator"))
            decoder = Decoder.load("ddpm-photo", "cell", settings=chosen)
            if text == (options.set or [""])[0]:
                row("one denoising of g(y)", {k: denoised_once(s, decoder) for k, s in streams.items()}, 0.0)
            begin = time.perf_counter()
            found = {k: to_float(decoder.reconstruct(s, options.seed).image) for k, s in streams.items()}
            row(f"cell {text}".strip(), found, time.perf_counter() - begin)
    print(table(rows))
    save(options.json, {"rows": rows, "images": list(originals), "side": options.side, "seed": options.seed})


if __name__ == "__main__":
    main()
