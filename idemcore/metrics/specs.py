"""The metrics of the core, described without importing them. Light: imports no torch."""

from __future__ import annotations

from ..hookspecs import MetricSpec, hookimpl

_HERE = "idemcore.metrics"


@hookimpl
def idem_metrics() -> list[MetricSpec]:
    return [*RATES, *FIDELITY]


RATES = (
    MetricSpec(
        name="bpp", target=f"{_HERE}.rates:FileRate", summary="bits of the whole file a pixel",
        direction="lower", range=">= 0 bits", source="size of the file",
    ),
    MetricSpec(
        name="payload-bpp", target=f"{_HERE}.rates:PayloadRate", summary="bits of the stream a pixel, no container",
        direction="lower", range=">= 0 bits", source="size of the stream",
    ),
    MetricSpec(
        name="exact", target=f"{_HERE}.rates:Exact", summary="share of images that re-encode to the same bytes",
        direction="higher", range="0 to 1", source="the real encoder on the 8-bit image",
    ),
    MetricSpec(
        name="differing-symbols", target=f"{_HERE}.rates:DifferingSymbols",
        summary="quantised symbols that differ after re-encoding",
        direction="lower", range=">= 0", source="the real encoder on the 8-bit image",
    ),
    MetricSpec(
        name="nfe", target=f"{_HERE}.rates:Passes", summary="network passes forwards an image",
        direction="lower", range=">= 0", source="counted by the solver",
    ),
    MetricSpec(
        name="backwards", target=f"{_HERE}.rates:Backwards", summary="network passes backwards an image",
        direction="lower", range=">= 0", source="counted by the solver",
    ),
    MetricSpec(
        name="seconds", target=f"{_HERE}.rates:Seconds", summary="wall time to solve and certify an image",
        direction="lower", range="> 0 s", source="clock",
    ),
    MetricSpec(
        name="peak-memory", target=f"{_HERE}.rates:PeakMemory", summary="most memory in use above that before",
        direction="lower", range=">= 0 MiB", source="the system; on a GPU PyTorch's allocator",
    ),
)  # fmt: skip

FIDELITY = (
    MetricSpec(
        name="psnr", target=f"{_HERE}.fidelity:Psnr", summary="peak signal to noise ratio to the original",
        direction="higher", range="0 to 100 dB; equal images count as 100", source="MSE over RGB, 8 bits",
        key="psnr-rgb",
    ),
    MetricSpec(
        name="recompression-psnr", target=f"{_HERE}.fidelity:RecompressionPsnr",
        summary="PSNR between the plain decode and that of the re-encoded reconstruction",
        direction="higher", range="0 to 100 dB; exact images count as 100", source="Xu et al. 2024, arXiv 2401.08920",
    ),
)  # fmt: skip
