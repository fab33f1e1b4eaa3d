"""Where and in which precision networks run: chosen once, passed to every plugin, never changed silently."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from .errors import MissingError, UsageError

ACCELERATORS = {"cuda": "CUDA", "mps": "MPS (Apple)", "xpu": "XPU (Intel)"}
"""Kinds of devices beside the CPU, as PyTorch calls them, and what to call them in a message."""


@dataclass(frozen=True)
class Runtime:
    """`device` of the networks and `dtype` of their inner arithmetic (images at the border stay float32)."""

    device: torch.device
    dtype: torch.dtype
    tile: int | None = None
    """Longest side, in pixels, of what a network sees of an image at once; None: as `tiles` chooses from its size."""

    @classmethod
    def choose(cls, device: str = "auto", precision: str = "auto", tile: int | None = None) -> Runtime:
        """`device`: auto (cuda or else cpu), cpu, cuda, mps (Apple) or xpu (Intel); cuda:1 is the second of several.

        `precision`: auto, fp32 or bf16 (auto: bf16 where the hardware is known to be faster with it).

        Raises MissingError if the device is not there, UsageError for another word.
        """
        return cls(chosen := _device(device), _dtype(precision, chosen), tile)


def wait(device: torch.device) -> None:
    """Until `device` has done what it was given: before a clock is read."""
    if device.type == "mps":
        torch.mps.synchronize()
    elif device.type in ACCELERATORS:
        getattr(torch, device.type).synchronize(device)


def finest(device: torch.device) -> torch.dtype:
    """Float64, or float32 on a device that has none: Apple's. For sums and logarithms of what a network gave."""
    return torch.float32 if device.type == "mps" else torch.float64


@contextmanager
def full_float32() -> Iterator[None]:
    """Float32 as it is, whatever the program around chose: no autocast, and no TF32, which cuDNN's default allows.

    TF32 keeps 10 bits of a factor: enough to round latents otherwise than a CPU does.
    """
    cudnn: Any = torch.backends.cudnn
    matmul: Any = torch.backends.cuda.matmul
    with (
        _set(cudnn, "deterministic", True),
        _without_tf32(cudnn, "conv"),
        _without_tf32(matmul),
        ExitStack() as stack,
    ):
        for kind in ("cpu", *ACCELERATORS):
            if torch.amp.is_autocast_available(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def _without_tf32(place: Any, operator: str = "") -> AbstractContextManager[None]:
    """By the newer of PyTorch's two settings if it has both: older ones do not overrule it."""
    newer = getattr(place, operator, place)
    return (
        _set(newer, "fp32_precision", "ieee") if hasattr(newer, "fp32_precision") else _set(place, "allow_tf32", False)
    )


@contextmanager
def _set(place: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(place, name)
    setattr(place, name, value)
    try:
        yield
    finally:
        setattr(place, name, before)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if _count("cuda") else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", *ACCELERATORS) or (index and not index.isdigit()) or (kind == "cpu" and index):
        raise UsageError(f"--device {name!r} is not a device.", "Use auto, cpu, cuda, cuda:N, mps or xpu.")
    if kind in ACCELERATORS and int(index or 0) >= (found := _count(kind)):
        seen = f"{found} {ACCELERATORS[kind]} devices"
        check = ", or check the driver with `nvidia-smi`" if kind == "cuda" else ""
        raise MissingError(
            f"--device {name} was asked for, but PyTorch {torch.__version__} sees {seen}.",
            f"Use --device cpu{check}.",
        )
    return torch.device(name)


def _count(kind: str) -> int:
    """Devices of an accelerator that PyTorch sees."""
    if kind == "mps":
        return int(torch.backends.mps.is_available())
    module = getattr(torch, kind, None)  # older versions have no torch.xpu
    return int(module.device_count()) if module and module.is_available() else 0


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    if precision not in ("auto", "fp32", "bf16"):
        raise UsageError(f"--precision {precision!r} is not a precision.", "Use auto, fp32 or bf16.")
    if precision == "fp32" or (precision == "auto" and not _fast_bf16(device)):
        return torch.float32
    return torch.bfloat16


def _fast_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type in ACCELERATORS:
        return False
    return _cpu_has_bf16_dot() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


@cache
def _cpu_has_bf16_dot() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags or " bf16" in flags
