"""Is every reconstruction byte-exact at every image size, down to one pixel, and does an original in its cell stay?"""

from __future__ import annotations

import argparse
import math
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import torch
from common import save, table
from torch import Tensor

from idemcore.io.images import read_bytes
from idemcore.pipeline.certify import certify
from idemcore.pipeline.codec import Codec
from idemcore.pipeline.decoder import Decoder
from idemcore.plugins.settings import parse_overrides

SIZES = [
    "1x1", "2x3", "17x33", "200x1", "65x63", "129x129", "203x157", "300x200", "250x250", "333x447", "480x360",
    "765x509",
]  # fmt: skip
"""None is a multiple of 64; some leave a latent with one row of pixels."""
SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")
QUALITIES = {"jpeg": [5, 10, 25, 50, 75, 90]}
"""Qualities to try of a codec that has more than the four of a bundled learned one."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, nargs="+", help="each at least as large as the largest size")
    parser.add_argument("--codec", default="elic")
    parser.add_argument("--quality", type=int, nargs="+")
    parser.add_argument("--size", nargs="+", default=SIZES, help="WIDTHxHEIGHT, of centre crops")
    parser.add_argument("--set", dest="overrides", nargs="+", default=[], help="such as solver.steps=4")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    settings = parse_overrides(options.overrides, ("codec", "generator", "solver"))
    decoder = Decoder.load("ddpm-photo", "cell", settings=settings)
    qualities = options.quality or QUALITIES.get(options.codec, [1, 2, 3, 4])
    variants = [{"subsampling": s} for s in SUBSAMPLINGS] if options.codec == "jpeg" else [{}]
    codecs = [Codec.load(options.codec, quality=q, **v) for q, v in product(qualities, variants)]
    cases: list[dict[str, Any]] = []
    for size in options.size:
        for codec, photo in product(codecs, options.photos):
            cases.append(case(codec, decoder, photo, size))
            save(options.json, {"cases": cases, "crop": "centre", "settings": options.overrides})
        print(table([summary(size, [c for c in cases if c["size"] == size])]).splitlines()[-1], flush=True)
    print(table([summary(size, [c for c in cases if c["size"] == size]) for size in options.size]))
    print(table([summary("all", cases)]))
    for failed in (c for c in cases if not (c["exact"] and c["original stays"])):
        print("not exact:", failed)


def case(codec: Codec, decoder: Decoder, photo: Path, size: str) -> dict[str, Any]:
    """One crop: encoded, reconstructed and certified; and its original certified as it is."""
    original = centre(read_bytes(photo), size)
    bitstream = codec.encode(original.float() / 255)
    result = decoder.reconstruct(bitstream, seed=0)
    kept = certify(bitstream.cell, original.float() / 255)
    return {
        "photo": photo.name,
        "size": size,
        "quality": codec.part.config.quality,
        "subsampling": getattr(codec.part.config, "subsampling", ""),
        "bytes": len(bitstream.stream),
        "exact": codec.encode(result.image.float() / 255).data == bitstream.data,
        "differing symbols": result.differing_symbols,
        "moved dB": result.psnr_moved,
        "solve s": result.seconds["solve"],
        "certify s": result.seconds["certify"],
        "original stays": kept.exact == [True] and torch.equal(kept.image, original),
    }


def centre(image: Tensor, size: str) -> Tensor:
    """The centre crop WIDTHxHEIGHT of bytes [1,3,H,W]."""
    width, height = map(int, size.split("x"))
    top, left = (image.shape[2] - height) // 2, (image.shape[3] - width) // 2
    return image[..., top : top + height, left : left + width].contiguous()


def summary(size: str, cases: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts, medians and sums."""
    moved = [c["moved dB"] for c in cases]
    return {
        "size": size,
        "cases": len(cases),
        "exact": sum(c["exact"] for c in cases),
        "original stays": sum(c["original stays"] for c in cases),
        "moved dB, median": median(moved),
        "moved dB, least": min(moved, default=math.inf),
        "bytes": sum(c["bytes"] for c in cases),
        "solve s": sum(c["solve s"] for c in cases) / len(cases),
        "certify s": sum(c["certify s"] for c in cases) / len(cases),
        "certify s, most": max(c["certify s"] for c in cases),
    }


if __name__ == "__main__":
    main()
