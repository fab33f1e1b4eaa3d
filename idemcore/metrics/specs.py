"""The metrics of the core, described without importing them. Light: imports no torch."""

from __future__ import annotations

from ..hookspecs import MetricSpec, hookimpl

DEFAULT_METRICS = (
    "bpp", "psnr", "ms-ssim", "lpips", "dists", "fid", "fd", "kd", "recompression-psnr", "exact", "nfe", "seconds",
)  # fmt: skip
"""What `idem eval` measures."""

_HERE = "idemcore.metrics"
_CONFIG = f"{_HERE}.config"


@hookimpl
def idem_metrics() -> list[MetricSpec]:
    return [*RATES, *FIDELITY, *SETS]


RATES = (
    MetricSpec(
        name="bpp", target=f"{_HERE}.rates:FileRate", summary="bits of the whole file a pixel",
        api=1, direction="lower", range=">= 0 bits", source="size of the file",
    ),
    MetricSpec(
        name="payload-bpp", target=f"{_HERE}.rates:PayloadRate", summary="bits of the stream a pixel, no container",
        api=1, direction="lower", range=">= 0 bits", source="size of the stream",
    ),
    MetricSpec(
        name="exact", target=f"{_HERE}.rates:Exact", summary="share of images that re-encode to the same bytes",
        api=1, direction="higher", range="0 to 1", source="the real encoder on the 8-bit image",
    ),
    MetricSpec(
        name="solver-exact", target=f"{_HERE}.rates:SolverExact",
        api=1, summary="share of the solver's images that re-encode to the same bytes before certification",
        direction="higher", range="0 to 1", source="the real encoder on the solver's image, rounded to 8 bits",
    ),
    MetricSpec(
        name="differing-symbols", target=f"{_HERE}.rates:DifferingSymbols",
        api=1, summary="quantised symbols that differ after re-encoding",
        direction="lower", range=">= 0", source="the real encoder on the 8-bit image",
    ),
    MetricSpec(
        name="nfe", target=f"{_HERE}.rates:Passes", summary="network passes forwards an image",
        api=1, direction="lower", range=">= 0", source="counted by the solver",
    ),
    MetricSpec(
        name="backwards", target=f"{_HERE}.rates:Backwards", summary="network passes backwards an image",
        api=1, direction="lower", range=">= 0", source="counted by the solver",
    ),
    MetricSpec(
        name="seconds", target=f"{_HERE}.rates:Seconds", summary="wall time to solve and certify an image",
        api=1, direction="lower", range="> 0 s", source="clock",
    ),
    MetricSpec(
        name="peak-memory", target=f"{_HERE}.rates:PeakMemory", summary="most memory in use above that before",
        api=1, direction="lower", range=">= 0 MiB", source="the system; on a GPU PyTorch's allocator",
    ),
)  # fmt: skip

FIDELITY = (
    MetricSpec(
        name="psnr", target=f"{_HERE}.fidelity:Psnr", summary="peak signal to noise ratio to the original",
        api=1, direction="higher", range="0 to 100 dB; equal images count as 100", source="MSE over RGB, 8 bits",
        key="psnr-rgb",
    ),
    MetricSpec(
        name="psnr-b", target=f"{_HERE}.fidelity:PsnrB", summary="PSNR that also counts jumps between 8x8 blocks",
        api=1, direction="higher", range="0 to 100 dB; nan where a side is shorter than 9", source="Yim and Bovik 2011",
    ),
    MetricSpec(
        name="recompression-psnr", target=f"{_HERE}.fidelity:RecompressionPsnr",
        api=1, summary="PSNR between the plain decode and that of the re-encoded reconstruction",
        direction="higher", range="0 to 100 dB; exact images count as 100", source="Xu et al. 2024, arXiv 2401.08920",
    ),
    MetricSpec(
        name="solver-recompression-psnr", target=f"{_HERE}.fidelity:SolverRecompressionPsnr",
        api=1, summary="the same of the solver's image, before certification",
        direction="higher", range="0 to 100 dB", source="Xu et al. 2024, arXiv 2401.08920",
    ),
    MetricSpec(
        name="ssim", target=f"{_HERE}.perceptual:Ssim", summary="structural similarity, MATLAB's convention",
        api=1, direction="higher", range="-1 to 1; nan where a side is shorter than 11",
        source="Wang et al. 2004; mean over channels",
    ),
    MetricSpec(
        name="ms-ssim", target=f"{_HERE}.perceptual:MsSsim", summary="multi-scale structural similarity",
        api=1, direction="higher", range="0 to 1; nan where a side is 160 pixels or less",
        source="Wang et al. 2003, by pytorch-msssim", key="ms-ssim-rgb",
    ),
    MetricSpec(
        name="lpips", target=f"{_HERE}.perceptual:Lpips", config=f"{_CONFIG}:LpipsConfig",
        api=1, summary="learned perceptual distance to the original, of deep features",
        direction="lower", range=">= 0", source="Zhang et al. 2018, version 0.1, by torchmetrics", argument="network",
    ),
    MetricSpec(
        name="dists", target=f"{_HERE}.perceptual:Dists", summary="distance to the original in structure and texture",
        api=1, direction="lower", range="0 to 1", source="Ding et al. 2020, by torchmetrics",
    ),
    MetricSpec(
        name="occupancy", target=f"{_HERE}.occupancy:Occupancy",
        api=1, summary="how unlike the original's its symbols lie within their intervals",
        direction="lower", range="0 to 1/2 quantiser step inside the cell", source="Wasserstein-1 of Cell.position",
    ),
)  # fmt: skip

SETS = (
    MetricSpec(
        name="fid", target=f"{_HERE}.sets:Frechet", config=f"{_CONFIG}:InceptionConfig", kind="set",
        api=1, summary="Fréchet distance of Inception features of 64x64 patches, as in the paper",
        direction="lower", range=">= 0", source="Heusel et al. 2017, network of pytorch-fid",
    ),
    MetricSpec(
        name="fid-whole", target=f"{_HERE}.sets:Frechet", config=f"{_CONFIG}:WholeInceptionConfig", kind="set",
        api=1, summary="Fréchet distance of Inception features of whole images",
        direction="lower", range=">= 0", source="Heusel et al. 2017, network of pytorch-fid",
    ),
    MetricSpec(
        name="kid", target=f"{_HERE}.sets:Kernel", config=f"{_CONFIG}:InceptionConfig", kind="set",
        api=1, summary="kernel distance of Inception features of 64x64 patches, times 1000",
        direction="lower", range="about 0 or more", source="Binkowski et al. 2018, network of pytorch-fid",
    ),
    MetricSpec(
        name="kid-whole", target=f"{_HERE}.sets:Kernel", config=f"{_CONFIG}:WholeInceptionConfig", kind="set",
        api=1, summary="kernel distance of Inception features of whole images, times 1000",
        direction="lower", range="about 0 or more", source="Binkowski et al. 2018, network of pytorch-fid",
    ),
    MetricSpec(
        name="fd", target=f"{_HERE}.sets:Frechet", config=f"{_CONFIG}:FeatureConfig", kind="set",
        api=1,
        summary="Fréchet distance of EfficientNet-Lite0 features of 64x64 patches; fd:timm/NAME of another network's",
        direction="lower", range=">= 0", source="Heusel et al. 2017", argument="features",
    ),
    MetricSpec(
        name="kd", target=f"{_HERE}.sets:Kernel", config=f"{_CONFIG}:FeatureConfig", kind="set",
        api=1, summary="kernel distance of EfficientNet-Lite0 features of 64x64 patches, times 1000; kd:timm/NAME",
        direction="lower", range="about 0 or more", source="Binkowski et al. 2018", argument="features",
    ),
    MetricSpec(
        name="kid-gain", target=f"{_HERE}.sets:KernelGain", config=f"{_CONFIG}:InceptionConfig", kind="set",
        api=1, summary="kid of the plain decodes less that of the reconstructions, with its own interval",
        direction="higher", range="0: no nearer than the plain decodes", source="as kid",
    ),
    MetricSpec(
        name="kd-gain", target=f"{_HERE}.sets:KernelGain", config=f"{_CONFIG}:FeatureConfig", kind="set",
        api=1, summary="kd of the plain decodes less that of the reconstructions, with its own interval",
        direction="higher", range="0: no nearer than the plain decodes", source="as kd", argument="features",
    ),
    MetricSpec(
        name="swd", target=f"{_HERE}.textures:SlicedWasserstein", kind="set",
        api=1, summary="sliced Wasserstein distance of patches of Laplacian pyramids, times 1000",
        direction="lower", range=">= 0", source="Karras et al. 2018, both sets scaled as the originals",
    ),
    MetricSpec(
        name="spectrum", target=f"{_HERE}.textures:Spectrum", kind="set",
        api=1, summary="rms difference of the mean radial power spectra of luma",
        direction="lower", range=">= 0 dB", source="after Durall et al. 2020",
    ),
    MetricSpec(
        name="diversity", target=f"{_HERE}.textures:Diversity", kind="set",
        api=1, summary="rms deviation of pixels between draws of one image; needs several seeds",
        direction="", range=">= 0, 8-bit levels", source="standard deviation over draws",
    ),
)  # fmt: skip
