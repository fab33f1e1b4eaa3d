"""What a GPU gives, in about four minutes: passes a second, decode seconds, exactness on the CPU, training throughput.

Passes are of the bundled networks, and of the published layouts with random weights. A decode takes what `idem decode`
takes after start-up; its noise, which is drawn on the CPU so that every device draws the same, is timed beside it. What
the GPU made is encoded again on the CPU, whose verdict is that of a certificate.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from any_size import mosaic
from common import save, table
from PIL import Image
from train_gpu import DEFAULTS, Throughput, matmul_rate, training_flop

from idemcore.io.images import to_bytes
from idemcore.noise import Noise
from idemcore.pipeline.codec import open_bitstream
from idemcore.pipeline.decoder import Decoder
from idemcore.plugins.settings import build_config
from idemcore.protocols import DiffusionGenerator
from idemcore.runtime import Runtime, wait
from idemcore.weights.checkpoints import write_safetensors
from idemcore_ddpm.adm import AdmGenerator
from idemcore_ddpm.adm_unet import AdmUNet
from idemcore_ddpm.config import AdmConfig, TrainConfig
from idemcore_ddpm.train_photo import train
from idemcore_ddpm.weights import FFHQ, IMAGENET, PUBLISHED

SIZES = ["768x512", "2000x1500", "4000x3000"]
LAYOUTS = {"ddpm-ffhq": (FFHQ, 256), "ddpm-imagenet": (IMAGENET, 256)}
"""Published, with the side of their images; tried with random weights."""
BUNDLED = {"ddpm-photo": 512, "ddpm-faces64": 64}
SIGMA = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="WxH")
    parser.add_argument("--qualities", type=int, nargs="+", default=[10, 85], help="of the JPEGs")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32], help="images a pass")
    parser.add_argument("--layouts", nargs="*", default=list(LAYOUTS), choices=list(LAYOUTS))
    parser.add_argument("--seconds", type=float, default=3.0, help="of passes of each network and batch")
    parser.add_argument("--train-minutes", type=float, default=0.5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    runtime = Runtime.choose(options.device)
    print(f"{runtime.device}, {runtime.dtype}")
    found = {"passes": list(shown(passes(runtime, options))), "decodes": list(shown(decodes(runtime, options)))}
    if options.train_minutes:
        found["training"] = list(shown(training(runtime, options)))
    save(options.json, {"device": str(runtime.device), "dtype": str(runtime.dtype), **found})


def shown(rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Prints each row as it comes."""
    for number, row in enumerate(rows):
        print("\n".join(table([row]).splitlines()[2 * bool(number) :]), flush=True)
        yield row


def passes(runtime: Runtime, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Times passes of each network, by batch; a batch that does not fit in memory ends the network's rows."""
    for name, side, generator in networks(runtime, options.layouts):
        for batch in options.batches:
            x = torch.rand(batch, 3, side, side, device=runtime.device)
            try:
                rate = batch * per_second(lambda: generator.denoise(x, SIGMA), runtime, options.seconds)  # noqa: B023
            except torch.cuda.OutOfMemoryError:
                break
            yield {
                "network": name,
                "side": side,
                "batch": batch,
                "images/s": rate,
                "megapixels/s": rate * side**2 / 1e6,
            }


def networks(runtime: Runtime, layouts: list[str]) -> Iterator[tuple[str, int, DiffusionGenerator]]:
    for name, side in BUNDLED.items():
        yield name, side, Decoder.load(name, "cell", runtime).generator  # type: ignore[misc]
    with TemporaryDirectory() as folder:
        for name in layouts:
            layout, side = LAYOUTS[name]
            weights = Path(folder) / f"{name}.safetensors"
            write_safetensors(weights, AdmUNet(layout).state_dict(), PUBLISHED)
            yield f"{name}, random weights", side, AdmGenerator(AdmConfig(str(weights)), runtime)


@torch.no_grad()
def per_second(work: Callable[[], Any], runtime: Runtime, seconds: float) -> float:
    """Calls a second, after two that are not counted."""
    for _ in range(2):
        work()
    wait(runtime.device)
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds or not count:
        work()
        count += 1
        wait(runtime.device)
    return count / (time.perf_counter() - begin)


def decodes(runtime: Runtime, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Times decodes of a mosaic of photographs, by size and quality."""
    decoder, cpu = Decoder.load(runtime=runtime), Runtime.choose("cpu")
    for size in options.sizes:
        width, height = map(int, size.split("x"))
        picture = Image.fromarray(to_bytes(mosaic(options.photos, height, width))[0].permute(1, 2, 0).numpy())
        for quality in options.qualities:
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=quality)
            begin = time.perf_counter()
            result = decoder.reconstruct(open_bitstream(buffer.getvalue(), size, runtime))
            seconds = time.perf_counter() - begin
            cell = open_bitstream(buffer.getvalue(), size, cpu).cell
            yield {
                "size": size, "quality": quality, "passes": result.nfe, "decode s": seconds, **result.seconds,
                "a draw of noise s": noise_seconds(height, width, runtime),
                "exact on the CPU": bool(cell.contains(result.image.cpu()).all()),
            }  # fmt: skip


def noise_seconds(height: int, width: int, runtime: Runtime) -> float:
    """Drawn on the CPU, and moved to the device. A pass takes two."""
    noise, begin = Noise([0]), time.perf_counter()
    noise.normal(3, height, width, device=runtime.device)
    wait(runtime.device)
    return time.perf_counter() - begin


def training(runtime: Runtime, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Times the training of the photograph prior, as `train_gpu.py` does it."""
    config = build_config(TrainConfig, {**DEFAULTS, "minutes": options.train_minutes}, "train")
    show = Throughput(training_flop(config.channels, config.blocks), matmul_rate(runtime.device))
    with TemporaryDirectory() as folder:
        train(options.photos, Path(folder), config, runtime.device, show)
    yield show.overall()


if __name__ == "__main__":
    main()
