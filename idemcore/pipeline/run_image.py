"""One image the whole way: encoded, decoded plainly and with a prior, certified, re-encoded, compared, reported."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from types import MappingProxyType

from torch import Tensor

from ..errors import UsageError
from ..io.files import atomic_write, write_json
from ..io.images import Colour, png_bytes, read_image, to_bytes, write_png
from ..io.inputs import declare_replaced
from ..io.signals import signals_held
from ..observe.cost import Stopwatch
from ..plugins.selection import DecoderParts
from ..protocols import Callback
from ..results.certificate import Certificate
from ..results.run_report import Decibels, RunReport, SampleReport
from .certificate import certificate, finite, picture_facts
from .certify import psnr
from .codec import Bitstream, Codec
from .decode_file import tags
from .decoder import Decoder, Reconstruction
from .side_by_side import Panel, compare

REPORT = "report.json"
WatchSample = Callable[[int], AbstractContextManager[Callback | None]]
"""From a sample's number to a context that gives the solver's callback."""


@dataclass(frozen=True)
class Sample:
    """One draw from the cell."""

    number: int
    result: Reconstruction
    reencoded: Bitstream
    """The image's own bitstream where the draw is exact."""


@dataclass(frozen=True)
class ImageRun:
    """All that one image gave."""

    original: Tensor
    """uint8 [1,3,H,W]."""
    bitstream: Bitstream
    samples: list[Sample]
    decoder: Decoder
    report: RunReport

    def write(self, folder: Path, others: Mapping[str, bytes] = MappingProxyType({})) -> None:
        """Writes the folder as a whole, in place of an earlier run's, with `others` by name."""
        suffix = self.bitstream.codec.part.spec.suffix
        with folder_in_place_of(folder) as partial:
            atomic_write(partial / f"bitstream{suffix}", self.bitstream.data)
            write_png(self.bitstream.byte_image, partial / "decoded.png")
            write_png(self.comparison(), partial / "comparison.png")
            for tag, sample in zip(tags(len(self.samples)), self.samples, strict=True):
                png = png_bytes(sample.result.image)
                atomic_write(partial / f"reconstruction{tag}.png", png)
                atomic_write(partial / f"reencoded{tag}{suffix}", sample.reencoded.data)
                write_json(self.certificate(sample, png).to_json(), partial / f"certificate{tag}.json")
            for name, data in others.items():
                atomic_write(partial / name, data)
            write_json(self.report.to_json(), partial / REPORT)

    def certificate(self, sample: Sample, png: bytes) -> Certificate:
        """The certificate of one sample, written as `png`."""
        picture, report = picture_facts(sample.result.image, png), self.report
        drawn = self.bitstream, sample.result, picture, self.decoder
        return certificate(*drawn, report.seed, sample.number, report.tradeoff)

    def comparison(self) -> Tensor:
        """uint8 [1,3,h,w]: original, plain decode and first reconstruction, side by side with a zoomed crop."""
        report, first = self.report, self.samples[0].result
        height, width = self.original.shape[-2:]
        codec = report.codec if report.quality is None else f"{report.codec}, quality {report.quality}"
        verdict = "re-encodes to the same bytes" if first.exact else f"{first.differing_symbols} symbols differ"
        return compare(
            Panel(self.original, "Original", f"{width} x {height} pixels"),
            Panel(self.bitstream.byte_image, "Decoded", f"{codec}: {report.bpp:.3f} bpp"),
            Panel(first.image.cpu(), "Reconstruction", f"{self.decoder.name}: {verdict}"),
        )


def run_image(
    path: Path,
    codec: Codec,
    decoder: Decoder,
    seed: int = 0,
    samples: int = 1,
    background: Colour | None = None,
    watch: WatchSample = lambda _: nullcontext(),
    tradeoff: float = 1.0,
) -> ImageRun:
    """Reads, encodes, decodes and certifies one image file; writes nothing."""
    image = read_image(path, background)
    original, clock = to_bytes(image), Stopwatch()
    with clock("encode"):
        bitstream = codec.bitstream_of(image)
    with clock("decode"):
        bitstream.decoded  # noqa: B018  # kept by the bitstream from here on
    found = list[Sample]()
    for number in range(samples):
        with watch(number) as callback:
            result = decoder.reconstruct(bitstream, seed, number, tradeoff, callback)
        # `certify` found an exact image by encoding it, so that is not done again.
        reencoded = bitstream if result.exact else codec.bitstream_of(result.as_float)
        found.append(Sample(number, result, reencoded))
    names = [f"reconstruction{tag}.png" for tag in tags(samples)]
    reports = [_sample_report(*pair, original, bitstream) for pair in zip(names, found, strict=True)]
    report = _report(str(path), bitstream, decoder.parts, reports, seed, tradeoff, clock.seconds)
    return ImageRun(original, bitstream, found, decoder, report)


def _report(
    image: str, bitstream: Bitstream, parts: DecoderParts, samples: list[SampleReport],
    seed: int, tradeoff: float, seconds: Mapping[str, float],
) -> RunReport:  # fmt: skip
    """Reports on all samples: the sum of their costs, the worst exactness, the mean PSNR."""
    height, width = bitstream.size
    cost = {stage: sum(sample.seconds[stage] for sample in samples) for stage in ("solve", "certify")}
    return RunReport(
        image=image,
        codec=bitstream.codec.name,
        quality=getattr(bitstream.codec.part.config, "quality", None),
        generator=parts.prior.spec.name if parts.prior else None,
        solver=parts.solver.spec.name,
        seed=seed,
        tradeoff=tradeoff,
        size=(width, height),
        bytes=len(bitstream.data),
        bpp=bitstream.bits_per_pixel,
        nfe=sum(sample.nfe for sample in samples),
        backwards=sum(sample.backwards for sample in samples),
        seconds={**seconds, **cost},
        exact=all(sample.exact for sample in samples),
        differing_symbols=max(sample.differing_symbols for sample in samples),
        psnr_moved=_least([sample.psnr_moved for sample in samples]),
        psnr=Decibels(
            decoded=samples[0].psnr.decoded,
            reconstruction=_mean([sample.psnr.reconstruction for sample in samples]),
            reencoded_vs_decoded=_least([sample.psnr.reencoded_vs_decoded for sample in samples]),
        ),
        reconstructions=tuple(samples),
    )


def _sample_report(file: str, sample: Sample, original: Tensor, bitstream: Bitstream) -> SampleReport:
    result, decoded = sample.result, bitstream.byte_image
    drift = None if result.exact else finite(psnr(sample.reencoded.byte_image, decoded))
    return SampleReport(
        file=file,
        nfe=result.nfe,
        backwards=result.backwards,
        seconds=result.seconds,
        exact=result.exact,
        differing_symbols=result.differing_symbols,
        psnr_moved=finite(result.psnr_moved),
        psnr=Decibels(finite(psnr(original, decoded)), finite(psnr(original, result.image)), drift),
    )


def _least(values: list[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _mean(values: list[float | None]) -> float | None:
    """None, which stands for infinity, if one of them is."""
    return None if None in values else fmean(value for value in values if value is not None)


def check_replaceable(folder: Path) -> None:
    """Raises UsageError for a folder that holds anything but an earlier run, or an input: it will not be replaced."""
    declare_replaced(folder)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / REPORT).is_file():
        raise UsageError(f"{folder} exists but is not an idem result folder.", "Choose another folder with --out.")
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            raise UsageError(f"{place} is a file, not a folder.", "Choose another folder with --out.")


@contextmanager
def folder_in_place_of(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder` that takes its place when the block ends without an exception, else vanishes."""
    check_replaceable(folder)
    token = secrets.token_hex(8)
    partial, former = (folder.with_name(f".{folder.name}.{token}.{word}") for word in ("partial", "former"))
    partial.mkdir(parents=True)
    try:
        yield partial
        with signals_held():
            if folder.exists():
                os.replace(folder, former)
            os.replace(partial, folder)
    finally:
        if former.exists() and not folder.exists():  # stopped between the two renames
            os.replace(former, folder)
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)
