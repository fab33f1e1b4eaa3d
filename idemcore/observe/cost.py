"""Peak memory and wall time."""

from __future__ import annotations

import ctypes
import gc
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ..runtime import wait


class PeakMemory:
    """Most memory in use since this was made, above what was in use then.

    On a GPU what PyTorch allocated there; else the resident memory of the process. Linux can begin its maximum anew;
    elsewhere it is that of the whole life of the process, so that a solver below what loading took shows 0.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        gc.collect()
        if device.type == "cuda":
            wait(device)
            torch.cuda.reset_peak_memory_stats(device)
        else:
            _return_freed()
            _forget_peak()
        self.before = self._read("VmRSS", torch.cuda.memory_allocated)

    def above(self) -> int:
        """Bytes."""
        return max(0, self._read("VmHWM", torch.cuda.max_memory_allocated) - self.before)

    def _read(self, field: str, of_gpu: Callable[[torch.device], int]) -> int:
        return of_gpu(self.device) if self.device.type == "cuda" else _resident(field)


def _resident(field: str) -> int:
    """Bytes of VmRSS, now, or VmHWM, at most."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return 1024 * int(lines[field].split()[0])
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _forget_peak() -> None:
    """Sets VmHWM to VmRSS: see `man 5 proc_pid_clear_refs`."""
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")


def _return_freed() -> None:
    """What the C library keeps of freed memory would hide that much of the next peak."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


class Stopwatch:
    """`with clock("encode"): ...` adds the wall time to `clock.seconds["encode"]`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - begin
