"""Settings of the metrics of pyiqa. Light: imports no pyiqa."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class PyiqaConfig:
    """Settings of `pyiqa:NAME`."""

    metric: str = "musiq"  # as pyiqa calls it, e.g. musiq, maniqa, clipiqa+, niqe; with or without reference
