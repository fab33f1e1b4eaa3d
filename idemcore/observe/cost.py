"""Peak memory and wall time."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ..runtime import wait


class PeakMemory:
    """Most memory in use since this was made, above what was in use then.

    On a GPU, what PyTorch allocated there; on a CPU, and on Apple's GPU, whose memory is the machine's, the resident
    memory of the process. Linux can reset its maximum; elsewhere it is that of the whole life of the process, so that
    a solver that needs less than loading did shows 0.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        gc.collect()
        self.counter = getattr(torch, device.type) if device.type in ("cuda", "xpu") else None
        if self.counter:
            wait(device)
            self.counter.reset_peak_memory_stats(device)
        else:
            _return_freed()
            _forget_peak()
        self.before = int(self.counter.memory_allocated(device)) if self.counter else _resident("VmRSS")

    def above(self) -> int:
        """Bytes."""
        peak = int(self.counter.max_memory_allocated(self.device)) if self.counter else _resident("VmHWM")
        return max(0, peak - self.before)


def time_passes(run: Callable[[], object], device: torch.device, repeat: int = 3) -> tuple[float, int]:
    """Least seconds of `repeat` runs after a first, without a graph, and peak bytes above those in use before."""
    with torch.no_grad():
        run()
        memory, seconds = PeakMemory(device), []
        for _ in range(repeat):
            begin = time.perf_counter()
            run()
            wait(device)
            seconds.append(time.perf_counter() - begin)
    return min(seconds), memory.above()


def _resident(field: str) -> int:
    """Bytes of VmRSS, now, or VmHWM, at most."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
        return 1024 * int(lines[field].split()[0])
    if os.name == "nt":
        import psutil

        memory = psutil.Process().memory_info()
        return int(memory.rss if field == "VmRSS" else memory.peak_wset)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _forget_peak() -> None:
    """Sets VmHWM to VmRSS: see `man 5 proc_pid_clear_refs`."""
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _return_freed() -> None:
    """What the C library keeps of freed memory would hide that much of the next peak."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
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
