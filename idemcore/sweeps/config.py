"""Settings of the engines of the core. Light: imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class LocalConfig:
    """Settings of `local`."""

    workers: int = 1  # processes; 1: this one, where a crash ends the sweep
    threads: int = 0  # of each process if there are several; 0: the machine's cores shared out evenly
    gpus: int = 0  # GPUs to share out among the processes; 0: all use the one that --device chooses
    retries: int = 1  # repetitions of a job whose process was killed, before its runs have failed

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"workers must be at least 1, not {self.workers}")
        if min(self.threads, self.gpus, self.retries) < 0:
            raise ValueError("threads, gpus and retries must be at least 0")
