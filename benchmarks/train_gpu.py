"""`idem train ddpm` at full throughput on a GPU: crops a second, and the share of the card's peak that they take.

Photographs, crops, noise, optimiser and averaged weights are on the device; the network is compiled, in bfloat16 and
channels last. Called again with the same --out, it goes on.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from common import table
from torch.utils.flop_counter import FlopCounterMode

from idemcore.networks.residual_unet import ResidualUNet
from idemcore.plugins.settings import build_config, parse_overrides
from idemcore.runtime import Runtime, wait
from idemcore_ddpm.config import TrainConfig
from idemcore_ddpm.train_photo import train

CROP = 64
"""Side of the crops that are counted, pixels."""
DEFAULTS = {"pixels": 2**20, "crops": [128], "learning_rate": 2e-3, "save_minutes": 1.0, "validate_minutes": 2.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=9.0, help="of training; loading and compiling add to it")
    parser.add_argument("--set", dest="overrides", nargs="*", default=[], metavar="train.KEY=VALUE")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    device = Runtime.choose(options.device).device
    values = {**DEFAULTS, **parse_overrides(options.overrides, ("train",)).get("train", {})}
    config = build_config(TrainConfig, {**values, "minutes": options.minutes}, "train")
    peak, cost = matmul_rate(device), training_flop(config.channels, config.blocks)
    print(f"{device}: {peak / 1e12:.1f} TFLOP/s in a large product of matrices; a crop takes {cost / 1e9:.2f} GFLOP")
    show = Throughput(cost, peak)
    weights = train(options.photos, options.out, config, device, show)
    print(table([show.overall()]))
    print(f"weights: {weights}")


class Throughput:
    """Tells the crops of 64x64 that each log line's steps took a second; the first lines hold the compiling."""

    def __init__(self, cost: float, peak: float) -> None:
        self.cost, self.peak = cost, peak
        self.points: list[tuple[float, float]] = []
        """Seconds of training, and crops so far."""

    def __call__(self, record: dict[str, Any]) -> None:
        if "crops" not in record:
            print(", ".join(f"{key} {value:.4g}" for key, value in record.items()), flush=True)
            return
        self.points.append((60 * record["minutes"], record["crops"]))
        if len(self.points) > 1:
            rate = self.rate(*self.points[-2:])
            shown = f"{rate:.0f} crops/s, {self.share(rate):.1%} of the peak"
            print(f"{record['minutes']:.2f} min, loss {record['loss']:.4f}, {shown}", flush=True)

    @staticmethod
    def rate(earlier: tuple[float, float], later: tuple[float, float]) -> float:
        """Crops a second between two points."""
        return (later[1] - earlier[1]) / max(later[0] - earlier[0], 1e-9)

    def share(self, rate: float) -> float:
        return rate * self.cost / self.peak

    def overall(self) -> dict[str, str]:
        """Without the first log line, if there are others."""
        start = self.points[0] if len(self.points) > 1 else (0.0, 0.0)
        rate = self.rate(start, self.points[-1]) if self.points else 0.0
        shown = f"{rate * self.cost / 1e12:.3g}", f"{self.share(rate):.1%}"
        return {"crops/s": f"{rate:.0f}", "TFLOP/s": shown[0], "share of that product's rate": shown[1]}


def training_flop(channels: tuple[int, ...], blocks: int) -> float:
    """Operations for one crop of 64x64, forwards and backwards."""
    with torch.random.fork_rng(devices=[]):
        network = ResidualUNet(channels, blocks)
    counter = FlopCounterMode(display=False)
    with counter:
        network(torch.zeros(1, 3, CROP, CROP), torch.ones(1)).sum().backward()
    return float(counter.get_total_flops())


def matmul_rate(device: torch.device, seconds: float = 0.5) -> float:
    """FLOP/s of bfloat16 matrix products, as large as fill the device: what a network can hope for."""
    side = 8192 if device.type == "cuda" else 1024
    a = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    for _ in range(3):
        a @ a
    wait(device)
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        a @ a
        wait(device)
        count += 1
    return count * 2 * side**3 / (time.perf_counter() - begin)


if __name__ == "__main__":
    main()
