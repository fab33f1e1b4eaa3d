"""Do blocks of colour stay as tints? The colour error of 16x16 means against the original, by quality and decoder.

Of each block, the mean chroma (Cb, Cr of JPEG) minus the original's, in levels of 255. With 4:2:0, a block is one 8x8
block of the file's chroma, whose DC coefficient is this mean: the file says it up to half a quantisation step.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from common import crops, mean, psnr, save, table
from torch import Tensor
from torch.nn.functional import avg_pool2d

from idemcore.io.images import to_float
from idemcore.pipeline.codec import Bitstream, Codec
from idemcore.pipeline.decoder import Decoder

SIDE = 16
TO_YCC = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
"""Rows Y, Cb, Cr of JPEG's colours (JFIF)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quality", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--subsampling", default="4:2:0")
    parser.add_argument("--side", type=int, help="centre crops of this side; whole images if left out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    originals = crops(options.folder, options.side)
    decoder = Decoder.load("ddpm-photo", "cell")
    rows = []
    for quality in options.quality:
        codec = Codec.load("jpeg", quality=quality, subsampling=options.subsampling)
        streams = {name: codec.encode(image) for name, image in originals.items()}
        draws = {name: to_float(decoder.reconstruct(s, options.seed).image) for name, s in streams.items()}
        ways: dict[str, Callable[[str], Tensor]] = {
            "plain decode": lambda name, s=streams: s[name].decoded,  # type: ignore[misc]
            "estimate": lambda name, s=streams: s[name].cell.estimate,  # type: ignore[misc]
            "cell": draws.__getitem__,
            "cell, chroma of the estimate": lambda name, s=streams, d=draws: mixed(s[name], d[name]),  # type: ignore[misc]
        }
        for way, decoded in ways.items():
            found = {name: decoded(name) for name in originals}
            rows.append({"quality": quality, "decoder": way, **figures(found, originals)})
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    print(table(rows))
    save(options.json, {"rows": rows, "images": list(originals), "side": options.side, "seed": options.seed})


def figures(found: Mapping[str, Tensor], originals: Mapping[str, Tensor]) -> dict[str, float]:
    """Root mean square and 99th percentile of the chroma error of block means, the rms of luma, and PSNR."""
    errors = torch.cat([means(image) - means(originals[name]) for name, image in found.items()])
    chroma = errors[:, 1:].square().sum(1).sqrt()
    return {
        "chroma, rms": float(chroma.square().mean().sqrt()),
        "chroma, 99 %": float(chroma.quantile(0.99)),
        "luma, rms": float(errors[:, 0].square().mean().sqrt()),
        "PSNR": mean([psnr(image, originals[name]) for name, image in found.items()]),
    }


def means(image: Tensor) -> Tensor:
    """[1,3,H,W] in [0,1] -> [blocks,3], means of Y, Cb and Cr in levels of 255; blocks cut by the edge are left out."""
    ycc = torch.einsum("ij,bjhw->bihw", TO_YCC, 255 * image.clamp(0, 1))
    return avg_pool2d(ycc, SIDE)[0].flatten(1).T


def mixed(bitstream: Bitstream, drawn: Tensor) -> Tensor:
    """The draw's luma with the estimate's chroma, projected on the cell."""
    luma = torch.einsum("j,bjhw->bhw", TO_YCC[0], drawn - bitstream.cell.estimate)[:, None]
    with torch.no_grad():
        return bitstream.cell.project((bitstream.cell.estimate + luma).clamp(0, 1)).clamp(0, 1)


if __name__ == "__main__":
    main()
