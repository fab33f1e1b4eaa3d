"""Does every reconstruction re-encode to its JPEG, byte for byte, and how far did certifying move it?"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from common import crops, mean, psnr, save, table

from idemcore.imageio import read_image, to_float, write_png
from idemcore.pipeline import Codec, Decoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quality", type=int, nargs="+", default=[5, 10, 25, 50, 75, 90])
    parser.add_argument("--subsampling", nargs="+", default=["4:2:0", "4:4:4"])
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--steps", type=int, help="denoiser passes, if not the default")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    originals = crops(options.folder, options.side)
    solver = {"steps": options.steps} if options.steps else {}
    decoder = Decoder.build("ddpm-photo", "cell", settings={"solver": solver})
    cases = []
    for subsampling in options.subsampling:
        for quality in options.quality:
            codec = Codec.build("jpeg", quality=quality, subsampling=subsampling)
            found = [case(codec, decoder, name, image) for name, image in originals.items()]
            cases += found
            print(table([summary(found)]).splitlines()[-1], flush=True)
    groups = [[c for c in cases if (c["quality"], c["subsampling"]) == key] for key in keys(cases)]
    print(table([summary(group) for group in groups]))
    failures = [f"{c['image']} at {c['quality']}, {c['subsampling']}" for c in cases if not c["exact"]]
    print(f"{len(cases) - len(failures)} of {len(cases)} exact; failures: {', '.join(failures) or 'none'}")
    save(options.json, {"cases": cases, "side": options.side, "crop": "centre", "solver": "cell"})


def keys(cases: list[dict[str, Any]]) -> list[tuple[int, str]]:
    return list(dict.fromkeys((c["quality"], c["subsampling"]) for c in cases))


def case(codec: Codec, decoder: Decoder, name: str, image: Any) -> dict[str, Any]:
    """One image: the file that a user gets is read back and encoded again."""
    begin = time.perf_counter()
    bitstream = codec.encode(image)
    result = decoder.reconstruct(bitstream, seed=0)
    seconds = time.perf_counter() - begin
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reconstruction.png"
        write_png(result.image, path)
        exact = codec.encode(read_image(path)).data == bitstream.data
    return {
        "image": name,
        "quality": codec.part.config.quality,
        "subsampling": codec.part.config.subsampling,
        "exact": exact,
        "differing symbols": result.differing_symbols,
        "psnr moved": result.psnr_moved,
        "psnr decoded": psnr(bitstream.decoded, image),
        "psnr reconstruction": psnr(to_float(result.image), image),
        "solve s": result.seconds["solve"],
        "certify s": result.seconds["certify"],
        "total s": seconds,
    }


def summary(cases: list[dict[str, Any]]) -> dict[str, Any]:
    moved = [min(c["psnr moved"], 99.0) for c in cases if not math.isnan(c["psnr moved"])]
    return {
        "quality": cases[0]["quality"],
        "subsampling": cases[0]["subsampling"],
        "exact": f"{sum(c['exact'] for c in cases)} of {len(cases)}",
        "PSNR moved, median": median(moved),
        "least": min(moved),
        "PSNR decoded": mean([c["psnr decoded"] for c in cases]),
        "PSNR reconstruction": mean([c["psnr reconstruction"] for c in cases]),
        "solve s": mean([c["solve s"] for c in cases]),
        "certify s": mean([c["certify s"] for c in cases]),
    }


if __name__ == "__main__":
    main()
