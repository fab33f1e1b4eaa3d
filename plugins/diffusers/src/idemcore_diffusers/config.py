"""Settings of the generator. Light: imports neither torch nor diffusers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class DiffusersConfig:
    """Settings of `diffusers`."""

    model: str = "???"  # a folder that save_pretrained wrote, or OWNER/NAME[@REVISION] after `idem models pull hf:...`
    label: int = -1  # class of a class-conditional network; -1: its null class, where it has one
