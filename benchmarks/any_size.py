"""What large photographs cost to decode: seconds, peak memory, and whether tiles leave seams.

The photograph is a mosaic of a folder's, as JPEG. Each size is decoded in a fresh process, as `idem decode` does it.
Seams are told by the mean step between neighbouring pixels of the reconstruction over that of the original, in the
strip where two tiles fade into one another: its percentile among all strips of that width. Without seams, borders are
anywhere from 0 to 100. Where photographs of the mosaic meet the step is large as well.
"""

from __future__ import annotations

import argparse
import io
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from common import SUFFIXES, save, table
from PIL import Image
from torch import Tensor

from idemcore.io.images import read_bytes, read_image, to_bytes, write_png
from idemcore.pipeline.certificate import certificate, picture_facts
from idemcore.pipeline.codec import open_bitstream
from idemcore.pipeline.decoder import Decoder
from idemcore.pipeline.tiles import TiledDenoiser, chosen_tile
from idemcore.protocols import DiffusionGenerator
from idemcore.runtime import Runtime

PART = (700, 1100)
"""Height and width of a photograph in the mosaic: such that none ends where a tile does."""
SIZES = ["1152x864", "2000x1500", "4000x3000"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="WxH")
    parser.add_argument("--quality", type=int, default=10)
    parser.add_argument("--steps", default="auto", help="passes of the solver `cell`")
    parser.add_argument("--precision", default="fp32", help="auto: bf16 where the processor has it")
    parser.add_argument("--tile", type=int)
    parser.add_argument("--keep", type=Path, help="folder for the reconstructions")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for size in options.sizes:
            width, height = map(int, size.split("x"))
            rows.append(measured(options, height, width, folder))
            print(table(rows[-1:]), flush=True)
    print(table(rows))
    save(
        options.json, {"steps": options.steps, "precision": options.precision, "quality": options.quality, "rows": rows}
    )


def measured(options: argparse.Namespace, height: int, width: int, folder: Path) -> dict[str, Any]:
    original = to_bytes(mosaic(options.folder, height, width))
    jpeg, png = (folder / f"{width}x{height}.{suffix}" for suffix in ("jpg", "png"))
    buffer = io.BytesIO()
    Image.fromarray(original[0].permute(1, 2, 0).numpy()).save(buffer, "JPEG", quality=options.quality)
    jpeg.write_bytes(buffer.getvalue())
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        cost = pool.submit(decode, jpeg, png, options.steps, options.precision, options.tile).result()
    megapixels = height * width / 1e6
    total = sum(cpu for name, cpu in cost.items() if name.endswith(" cpu s") and name != "start cpu s")
    side = chosen_tile((height, width), options.tile)
    borders = seams(original, read_bytes(png), side) if side else "one tile"
    return {"size": f"{width}x{height}", **cost, "cpu s/MP": total / megapixels, "seams": borders}


def decode(jpeg: Path, png: Path, steps: str, precision: str, tile: int | None) -> dict[str, Any]:
    """What `idem decode` does, with processor seconds of its stages and the peak memory of the process."""
    begin, clock = time.perf_counter(), partial(time.process_time)
    marks = [("start cpu s", clock())]
    bitstream = open_bitstream(jpeg.read_bytes(), str(jpeg), Runtime.choose("cpu", "fp32"))
    cell = bitstream.cell
    marks.append(("cell cpu s", clock()))
    settings = {"solver": {"steps": steps if steps == "auto" else int(steps)}}
    decoder = Decoder.load("ddpm-photo", "cell", Runtime.choose("cpu", precision, tile), settings)
    result = decoder.reconstruct(bitstream)
    marks.append(("solve and certify cpu s", clock()))
    write_png(result.image, png)
    certificate(bitstream, result, picture_facts(result.image, png.read_bytes()), decoder)
    marks.append(("write cpu s", clock()))
    spent = {name: now - before for (_, before), (name, now) in pairwise(marks)}
    return {
        "exact": bool(cell.contains(result.image).all()),
        "passes": result.nfe,
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "wall s": time.perf_counter() - begin,
        **dict(marks[:1]),
        **spent,
    }


def mosaic(folder: Path, height: int, width: int) -> Tensor:
    """[1,3,height,width] in [0,1]: photographs side by side, each scaled to cover its part."""
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    columns = -(-width // PART[1])
    rows = [
        torch.cat([_part(paths[(row * columns + column) % len(paths)]) for column in range(columns)], 3)
        for row in range(-(-height // PART[0]))
    ]
    return torch.cat(rows, 2)[..., :height, :width]


def _part(path: Path) -> Tensor:
    image = read_image(path)
    scale = max(wanted / found for wanted, found in zip(PART, image.shape[-2:], strict=True))
    image = F.interpolate(image, scale_factor=scale * 1.001, mode="bicubic", antialias=True).clamp(0, 1)
    return image[..., : PART[0], : PART[1]]


def seams(original: Tensor, found: Tensor, tile: int) -> str:
    """See the head of this file: those of the borders between rows, then between columns; byte images of one size."""
    prior = cast(DiffusionGenerator, Decoder.load("ddpm-photo", "cell", Runtime.choose("cpu", "fp32")).generator)
    tiles, told = TiledDenoiser(prior, tile), list[str]()
    for axis in (2, 3):
        borders = [
            (right.first * prior.multiple, left.last * prior.multiple)
            for left, right in pairwise(tiles.tiling.windows(original.shape[axis]))
        ]
        steps = [image.short().diff(dim=axis).abs().double().mean(dim=(0, 1, 5 - axis)) for image in (found, original)]
        for first, last in borders:
            strips = [step.unfold(0, last - first, 1).mean(1) for step in steps]
            ratio = strips[0] / strips[1]
            told.append(f"{100 * float((ratio < ratio[first]).double().mean()):.0f}")
    return " ".join(told)


if __name__ == "__main__":
    main()
