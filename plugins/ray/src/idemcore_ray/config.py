"""Settings of the engine. Light: imports no ray."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class RayConfig:
    """Settings of `ray`."""

    address: str = ""  # of the cluster: auto (that of this machine), ray://HOST:PORT; empty: Ray is started here
    workers: int = 0  # 0: as many as the cluster has room for
    gpus: float = -1.0  # GPUs of a worker, e.g. 0.5; -1: one where the cluster has any, else none
    cpus_per_worker: int = 1  # cores of a worker, and its threads
    cpus: int = 2  # cores of the Ray that is started here
    retries: int = 1  # repetitions of a job whose worker died, before its runs have failed

    def __post_init__(self) -> None:
        if min(self.cpus_per_worker, self.cpus) < 1:
            raise ValueError("cpus and cpus_per_worker must be at least 1")
        if min(self.workers, self.retries) < 0:
            raise ValueError("workers and retries must be at least 0")
        if self.gpus < 0 and self.gpus != -1:
            raise ValueError(f"gpus must be -1 or at least 0, not {self.gpus}")
