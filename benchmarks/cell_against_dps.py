"""`cell` beside the published solver: passes, seconds, PSNR and re-compression PSNR, before and after certification."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from common import crops, distances, features, mean, psnr, save, table
from torch import Tensor

from idemcore.certify import certify
from idemcore.imageio import to_bytes, to_float
from idemcore.noise import Noise
from idemcore.pipeline import Codec, Decoder
from idemcore.protocols import Cell


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=6, help="the first so many, in one batch")
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--quality", type=int, default=10)
    parser.add_argument("--cell-steps", type=int, nargs="*", default=[12, 20])
    parser.add_argument("--dps-steps", type=int, nargs="*", default=[100, 1000])
    parser.add_argument("--zeta", type=float, default=0.6)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    originals = dict(list(crops(options.folder, options.side).items())[: options.images])
    original, codec = torch.cat(list(originals.values())), Codec.build("jpeg", quality=options.quality)
    cell, reference = codec.encoder.cell(codec.encoder.encode(original)), features(originals.values())
    rows: list[dict[str, Any]] = [measured("libjpeg", cell.centre, original, codec, cell)]
    rows[0] |= {**distances([cell.centre], reference), "passes": 0, "backwards": 0, "s an image": 0.0}
    configured = [("cell", {"steps": n}) for n in options.cell_steps]
    configured += [("dps", {"steps": n, "zeta": options.zeta}) for n in options.dps_steps]
    for name, settings in configured:
        decoder = Decoder.build("ddpm-photo", name, settings={"solver": settings})
        begin = time.perf_counter()
        solution = decoder.solver.solve(cell, decoder.generator, Noise(range(len(original))))
        seconds = (time.perf_counter() - begin) / len(original)
        row = measured(f"{name}, {settings['steps']} steps", solution.image, original, codec, cell)
        row |= distances([solution.image], reference)
        row |= {"passes": solution.nfe, "backwards": solution.backwards, "s an image": seconds}
        rows.append(row)
        print(table(rows[-1:]).splitlines()[-1], flush=True)
    print(table(rows))
    save(options.json, {"rows": rows, "images": list(originals), "side": options.side, "quality": options.quality})


def measured(name: str, image: Tensor, original: Tensor, codec: Codec, cell: Cell) -> dict[str, Any]:
    """PSNR, PSNR of g(f(x)) against g(y) before certification (99 if equal), and what certifying changes."""
    again = codec.encoder.decode(codec.encoder.encode(to_float(to_bytes(image))))
    certified = certify(cell, image)
    return {
        "solver": name,
        "PSNR": mean([psnr(a, b) for a, b in zip(image, original, strict=True)]),
        "re-compression PSNR": mean([min(psnr(a, b), 99.0) for a, b in zip(again, cell.centre, strict=True)]),
        "exact before": int(cell.contains(to_bytes(image)).sum()),
        "exact after": sum(certified.exact),
        "PSNR moved": mean([min(m, 99.0) for m in certified.psnr_moved]),
    }


if __name__ == "__main__":
    main()
