"""Where and in which precision networks run: chosen once, passed to every plugin, never changed silently."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from .errors import MissingError, UsageError


@dataclass(frozen=True)
class Runtime:
    """`device` of the networks and `dtype` of their inner arithmetic (images at the border stay float32)."""

    device: torch.device
    dtype: torch.dtype
    tile: int | None = None
    """Longest side, in pixels, of what a network sees of an image at once; None: as `tiles` chooses from its size."""

    @classmethod
    def choose(cls, device: str = "auto", precision: str = "auto", tile: int | None = None) -> Runtime:
        """`device`: auto, cpu, cuda or cuda:N; `precision`: auto, fp32 or bf16 (auto: bf16 where the hardware has it).

        Raises MissingError if the device is not there, UsageError for another word.
        """
        return cls(chosen := _device(device), _dtype(precision, chosen), tile)


def wait(device: torch.device) -> None:
    """Until `device` has done what it was given: before a clock is read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


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
        torch.autocast("cuda", enabled=False),
        torch.autocast("cpu", enabled=False),
    ):
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
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()) or (kind == "cpu" and index):
        raise UsageError(f"--device {name!r} is not a device.", "Use auto, cpu, cuda or cuda:N.")
    if kind == "cuda" and (not torch.cuda.is_available() or int(index or 0) >= torch.cuda.device_count()):
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        raise MissingError(
            f"--device {name} was asked for, but PyTorch {torch.__version__} sees {found} CUDA devices.",
            "Use --device cpu, or check the driver with `nvidia-smi`.",
        )
    return torch.device(name)


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    if precision not in ("auto", "fp32", "bf16"):
        raise UsageError(f"--precision {precision!r} is not a precision.", "Use auto, fp32 or bf16.")
    if precision == "fp32" or (precision == "auto" and not _fast_bf16(device)):
        return torch.float32
    return torch.bfloat16


def _fast_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.ops.mkldnn._is_mkldnn_bf16_supported() and _cpu_has_bf16_dot()


@cache
def _cpu_has_bf16_dot() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags or " bf16" in flags
