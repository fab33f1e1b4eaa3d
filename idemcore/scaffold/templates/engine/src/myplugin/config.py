"""Settings of the engine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class EngineConfig:
    """`--set engine.KEY=VALUE`. The comment behind a setting is its help."""

    workers: int = 2  # processes
    retries: int = 1  # repetitions of a job whose process was killed, before it has failed

    def __post_init__(self) -> None:
        if self.workers < 1 or self.retries < 0:
            raise ValueError("workers must be at least 1, and retries at least 0")
