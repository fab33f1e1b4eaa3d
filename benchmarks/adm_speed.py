"""Seconds and memory of ADM's UNet with random weights of the layout of `ddpm-ffhq`: frozen or not, recomputing or not.

Memory is what a pass takes beside the process and the network, at its peak; each row has a process of its own.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from common import save, table
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from idemcore.runtime import Runtime
from idemcore.weights.checkpoints import write_safetensors
from idemcore_ddpm.adm import AdmGenerator
from idemcore_ddpm.adm_unet import AdmUNet, Stage
from idemcore_ddpm.config import AdmConfig
from idemcore_ddpm.weights import FFHQ, PUBLISHED

SIGMA = 0.5
ROWS = [
    ("float32, not frozen", torch.float32, False, False),
    ("float32", torch.float32, True, False),
    ("bfloat16", torch.bfloat16, True, False),
    ("bfloat16, stages recomputed", torch.bfloat16, True, True),
]
"""Name, type, frozen, recomputing."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256, help="width and height, pixels, a multiple of 32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=1, help="the fastest of so many counts")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory() as folder, get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        weights = Path(folder) / "random.safetensors"
        write_safetensors(weights, AdmUNet(FFHQ).state_dict(), PUBLISHED)
        for row in ROWS:
            task = (str(weights), options.size, options.device, options.repeats, *row)
            rows.append(pool.apply(measured, task))
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    for row in rows:
        row["against the first"] = rows[0]["denoise + backward, s"] / row["denoise + backward, s"]
    print(table(rows))
    threads = torch.get_num_threads()
    save(options.json, {"rows": rows, "size": options.size, "device": options.device, "threads": threads})


def measured(
    weights: str, size: int, device: str, repeats: int, name: str, dtype: torch.dtype, frozen: bool, recomputing: bool
) -> dict[str, Any]:
    """Seconds of denoise, and of denoise with the gradient of the image; the memory of each, MB."""
    prior = AdmGenerator(AdmConfig(weights), Runtime(torch.device(device), dtype))
    prior.network.requires_grad_(not frozen)
    if recomputing:
        Stage.forward = partial_checkpoint(Stage.forward)  # type: ignore[method-assign]
    x = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    pull_back(prior, x[:, :, :64, :64])  # what is prepared once
    tasks = {"denoise": partial(only_denoise, prior, x), "denoise + backward": partial(pull_back, prior, x)}
    found: dict[str, Any] = {"network": name}
    for what, task in tasks.items():
        before = reset_peak(device)
        found[f"{what}, s"] = min(seconds(task, device) for _ in range(repeats))
        found[f"{what}, MB"] = round((peak(device) - before) / 1e6)
    return found


def only_denoise(prior: AdmGenerator, x: Tensor) -> None:
    with torch.no_grad():
        prior.denoise(x, SIGMA)


def pull_back(prior: AdmGenerator, x: Tensor) -> None:
    """As solvers do: the gradient with respect to the image, never to the weights."""
    x = x.clone().requires_grad_()
    torch.autograd.grad(prior.denoise(x, SIGMA).square().sum(), x)


def partial_checkpoint(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda stage, x, embedding: checkpoint(forward, stage, x, embedding, use_reentrant=False)


def seconds(task: Callable[[], None], device: str) -> float:
    """Seconds of the clock on a GPU; on a CPU, of all threads together, which other work on it changes less."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    begin = clock()
    task()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - begin


def reset_peak(device: str) -> float:
    """Bytes in use, from which `peak` counts anew."""
    gc.collect()
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    ctypes.CDLL(None).malloc_trim(0)  # so that what is free and kept does not hide what is used next
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def peak(device: str) -> float:
    """Bytes at most since `reset_peak`: of the process, on Linux, or of tensors on the GPU."""
    return status("VmHWM") if device == "cpu" else torch.cuda.max_memory_allocated()


def status(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * float(next(line for line in lines if line.startswith(key)).split()[1])


if __name__ == "__main__":
    main()
