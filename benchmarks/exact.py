"""Does every reconstruction re-encode to its bitstream, byte for byte, and how far did certifying move it?"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from common import crops, mean, psnr, save, table
from torch import Tensor

from idemcore.io.images import read_image, to_float, write_png
from idemcore.pipeline.codec import Codec
from idemcore.pipeline.decoder import Decoder
from idemcore.plugins.settings import parse_overrides

QUALITIES = {"jpeg": [5, 10, 25, 50, 75, 90]}
"""Qualities to try of a codec that has more than the four of a bundled learned one."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--codec", default="jpeg")
    parser.add_argument("--quality", type=int, nargs="+")
    parser.add_argument("--set", dest="overrides", nargs="+", default=[], help="such as codec.subsampling=4:4:4")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    originals = crops(options.folder, options.side)
    settings = parse_overrides(options.overrides, ("codec", "generator", "solver"))
    decoder = Decoder.load("ddpm-photo", "cell", settings=settings)
    cases, rows = [], []
    for quality in options.quality or QUALITIES.get(options.codec, [1, 2, 3, 4]):
        codec = Codec.load(options.codec, quality=quality, **settings.get("codec", {}))
        found = [case(codec, decoder, name, image) for name, image in originals.items()]
        cases += found
        rows.append({"codec": options.codec, "quality": quality, **summary(found)})
        print(table(rows[-1:]).splitlines()[-1], flush=True)
        save(options.json, {"cases": cases, "side": options.side, "crop": "centre", "settings": options.overrides})
    print(table(rows))
    failures = [f"{c['image']} at {c['quality']}" for c in cases if not c["exact"]]
    print(f"{len(cases) - len(failures)} of {len(cases)} exact; failures: {', '.join(failures) or 'none'}")


def case(codec: Codec, decoder: Decoder, name: str, image: Tensor) -> dict[str, Any]:
    """One image: the file that a user gets is read back and encoded again."""
    bitstream = codec.encode(image)
    decoded = psnr(bitstream.decoded, image)
    evaluations = count_analyses(codec)
    marks = []
    begin = time.perf_counter()
    result = decoder.reconstruct(bitstream, seed=0, callback=lambda step: marks.append(evaluations[0]))
    seconds = time.perf_counter() - begin
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reconstruction.png"
        write_png(result.image, path)
        exact = codec.encode(read_image(path)).data == bitstream.data
    return {
        "image": name,
        "quality": codec.part.config.quality,
        "bpp": bitstream.bits_per_pixel,
        "exact": exact,
        "differing symbols": result.differing_symbols,
        "psnr moved": result.psnr_moved,
        "psnr decoded": decoded,
        "psnr reconstruction": psnr(to_float(result.image), image),
        "g_a to solve": marks[-1],
        "g_a to certify": evaluations[0] - marks[-1],
        "solve s": result.seconds["solve"],
        "certify s": result.seconds["certify"],
        "total s": seconds,
    }


def count_analyses(codec: Codec) -> list[int]:
    """A counter of the evaluations of a learned codec's g_a from now on; it stays 0 for other codecs."""
    counter, encoder = [0], codec.encoder
    analyse = getattr(type(encoder), "analyse", None)

    def counted(x: Tensor) -> Any:
        counter[0] += 1
        return analyse(encoder, x)

    if analyse:
        encoder.analyse = counted
    return counter


def summary(cases: list[dict[str, Any]]) -> dict[str, Any]:
    moved = [min(c["psnr moved"], 99.0) for c in cases if not math.isnan(c["psnr moved"])]
    return {
        "exact": f"{sum(c['exact'] for c in cases)} of {len(cases)}",
        "PSNR moved, median": median(moved),
        "least": min(moved),
        "bpp": mean([c["bpp"] for c in cases]),
        "PSNR decoded": mean([c["psnr decoded"] for c in cases]),
        "PSNR reconstruction": mean([c["psnr reconstruction"] for c in cases]),
        "g_a to solve": mean([c["g_a to solve"] for c in cases]),
        "g_a to certify": mean([c["g_a to certify"] for c in cases]),
        "solve s": mean([c["solve s"] for c in cases]),
        "certify s": mean([c["certify s"] for c in cases]),
    }


if __name__ == "__main__":
    main()
