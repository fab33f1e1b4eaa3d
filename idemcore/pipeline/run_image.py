"""One image the whole way: encoded, decoded plainly and with a prior, certified, re-encoded, compared, reported."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from types import MappingProxyType
from typing import Any

from torch import Tensor

from ..errors import UsageError
from ..io.files import atomic_write, write_json
from ..io.images import Colour, read_image, to_bytes, to_float, write_png
from ..io.inputs import declare_replaced
from ..io.signals import held
from ..observe.cost import Stopwatch
from ..protocols import Callback
from .certificate import certificate, finite
from .certify import psnr
from .codec import Bitstream, Codec
from .decoder import Decoder, Reconstruction
from .side_by_side import Panel, compare

REPORT = "report.json"
Progress = Callable[[int], AbstractContextManager[Callback | None]]
"""From a sample's number to a context that gives the solver's callback."""


@dataclass(frozen=True)
class Run:
    """All that one image gave."""

    original: Tensor
    """uint8 [1,3,H,W], as are the others."""
    decoded: Tensor
    reconstructions: list[Reconstruction]
    reencoded: list[Bitstream]
    bitstream: Bitstream
    certificates: list[dict[str, Any]]
    decoder: str
    """Its name."""
    report: dict[str, Any]

    def write(self, folder: Path, others: Mapping[str, bytes] = MappingProxyType({})) -> None:
        """Writes the folder as a whole, in place of an earlier run's, with `others` by name."""
        suffix = self.bitstream.codec.part.spec.suffix
        with whole_folder(folder) as partial:
            atomic_write(partial / f"bitstream{suffix}", self.bitstream.data)
            write_png(self.decoded, partial / "decoded.png")
            write_png(self.comparison(), partial / "comparison.png")
            for tag, result, again, content in zip(
                tags(len(self.reconstructions)), self.reconstructions, self.reencoded, self.certificates, strict=True
            ):
                write_png(result.image, partial / f"reconstruction{tag}.png")
                atomic_write(partial / f"reencoded{tag}{suffix}", again.data)
                write_json(content, partial / f"certificate{tag}.json")
            for name, data in others.items():
                atomic_write(partial / name, data)
            write_json(self.report, partial / REPORT)

    def comparison(self) -> Tensor:
        """uint8 [1,3,h,w]: original, plain decode and first reconstruction, side by side with a zoomed crop."""
        report, first = self.report, self.reconstructions[0]
        height, width = self.original.shape[-2:]
        codec = report["codec"] if report["quality"] is None else f"{report['codec']}, quality {report['quality']}"
        verdict = "re-encodes to the same bytes" if first.exact else f"{first.differing_symbols} symbols differ"
        return compare(
            Panel(self.original, "Original", f"{width} x {height} pixels"),
            Panel(self.decoded, "Decoded", f"{codec}: {report['bpp']:.3f} bpp"),
            Panel(first.image.cpu(), "Reconstruction", f"{self.decoder}: {verdict}"),
        )


def run_image(
    path: Path,
    codec: Codec,
    decoder: Decoder,
    seed: int = 0,
    samples: int = 1,
    background: Colour | None = None,
    progress: Progress = lambda _: nullcontext(),
    tradeoff: float = 1.0,
) -> Run:
    """Reads, encodes, decodes and certifies one image file; writes nothing."""
    image = read_image(path, background)
    original, clock = to_bytes(image), Stopwatch()
    with clock("encode"):
        bitstream = codec.encode(image)
    with clock("decode"):
        decoded = to_bytes(bitstream.decoded).cpu()
    results: list[Reconstruction] = []
    for sample in range(samples):
        with progress(sample) as callback:
            results.append(decoder.reconstruct(bitstream, seed, sample, tradeoff, callback))
    reencoded = [codec.encode(to_float(result.image)) for result in results]
    asked = {"seed": seed, "tradeoff": tradeoff}
    certificates = [certificate(bitstream, decoder, r, **asked, sample=n) for n, r in enumerate(results)]
    rows = [
        _row(tag, original, bitstream, result, again)
        for tag, result, again in zip(tags(samples), results, reencoded, strict=True)
    ]
    report = {
        "image": str(path),
        "codec": codec.name,
        "quality": getattr(codec.part.config, "quality", None),
        "generator": decoder.parts.prior.spec.name if decoder.parts.prior else None,
        "solver": decoder.parts.solver.spec.name,
        "seed": seed,
        "size": [bitstream.size[1], bitstream.size[0]],
        "bytes": len(bitstream.data),
        "bpp": bitstream.bits_per_pixel,
        **_summary(rows, finite(psnr(original, decoded)), clock.seconds),
        "reconstructions": rows,
    }
    return Run(original, decoded, results, reencoded, bitstream, certificates, decoder.name, report)


def _row(tag: str, original: Tensor, bitstream: Bitstream, result: Reconstruction, again: Bitstream) -> dict[str, Any]:
    """The report of one sample."""
    same = again.data == bitstream.data
    drift = None if same else finite(psnr(to_bytes(again.decoded), to_bytes(bitstream.decoded)))
    return {
        "file": f"reconstruction{tag}.png",
        "nfe": result.nfe,
        "denoiser_backwards": result.backwards,
        "seconds": result.seconds,
        "exact": result.exact,
        "differing_symbols": result.differing_symbols,
        "psnr_moved": finite(result.psnr_moved),
        "psnr": {"reconstruction": finite(psnr(original, result.image)), "reencoded_vs_decoded": drift},
    }


def _summary(rows: list[dict[str, Any]], decoded_psnr: float | None, seconds: dict[str, float]) -> dict[str, Any]:
    """Of all samples: sums of what they cost, the worst of how exact they are, the mean of their PSNR."""

    def worst(values: list[float | None]) -> float | None:
        return min((v for v in values if v is not None), default=None)

    def mean(values: list[float | None]) -> float | None:
        return None if None in values else fmean(v for v in values if v is not None)

    cost = {stage: sum(row["seconds"][stage] for row in rows) for stage in ("solve", "certify")}
    return {
        "nfe": sum(row["nfe"] for row in rows),
        "denoiser_backwards": sum(row["denoiser_backwards"] for row in rows),
        "seconds": {**seconds, **cost},
        "exact": all(row["exact"] for row in rows),
        "differing_symbols": max(row["differing_symbols"] for row in rows),
        "psnr_moved": worst([row["psnr_moved"] for row in rows]),
        "psnr": {
            "decoded": decoded_psnr,
            "reconstruction": mean([row["psnr"]["reconstruction"] for row in rows]),
            "reencoded_vs_decoded": worst([row["psnr"]["reencoded_vs_decoded"] for row in rows]),
        },
    }


def tags(samples: int) -> list[str]:
    """What follows `reconstruction` in file names: nothing for one sample, -1, -2, ... for several."""
    return [""] if samples == 1 else [f"-{n + 1}" for n in range(samples)]


def check_replaceable(folder: Path) -> None:
    """Raises UsageError for a folder that holds anything but an earlier run, or an input: it will not be replaced."""
    declare_replaced(folder)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / REPORT).is_file():
        raise UsageError(f"{folder} exists and is no earlier result of idem.", "Choose another folder with --out.")
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            raise UsageError(f"{place} is a file, not a folder.", "Choose another folder with --out.")


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder` that takes its place when the block ends without an exception, else vanishes."""
    check_replaceable(folder)
    partial, former = (folder.with_name(f".{folder.name}.{os.getpid()}.{word}") for word in ("partial", "former"))
    partial.mkdir(parents=True)
    try:
        yield partial
        with held():
            if folder.exists():
                os.replace(folder, former)
            os.replace(partial, folder)
    finally:
        if former.exists() and not folder.exists():  # stopped between the two renames
            os.replace(former, folder)
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)
