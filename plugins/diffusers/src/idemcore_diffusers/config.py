"""Settings of the generators. Light: imports neither torch nor diffusers."""

from __future__ import annotations

import math
from dataclasses import dataclass

OFFLOADS = ("none", "model", "sequential")


@dataclass
class DiffusersConfig:
    """Settings of `diffusers`."""

    model: str = "???"  # a folder that save_pretrained wrote, or OWNER/NAME[@REVISION] after `idem models pull hf:...`
    label: int = -1  # class of a class-conditional network; -1: its null class, where it has one


@dataclass
class LatentConfig:
    """Settings of `diffusers-latent`."""

    model: str = "???"  # a folder that save_pretrained wrote, or OWNER/NAME[@REVISION] after `idem models pull hf:...`
    network: str = ""  # UNet or transformer in place of the model's own: folder, OWNER/NAME[@REVISION] or .safetensors
    lora: str = ""  # LoRA to merge into it: a folder, OWNER/NAME[@REVISION], or a .safetensors file
    prompt: str = ""  # what the image shows, in words, for models that are told
    guidance: float = 1.0  # scale of the prompt's guidance; 1: none. Above 1 most models take two passes for one
    strength: float = 1.0  # noise in the latent, in multiples of what an error of the level does to it
    vae_tiling: bool = False  # encode and decode in tiles: less memory, and seams may show
    offload: str = "none"  # none, model or sequential: keep in main memory what the accelerator does not run just now

    def __post_init__(self) -> None:
        if self.offload not in OFFLOADS:
            raise ValueError(f"offload must be one of {', '.join(OFFLOADS)}, not {self.offload!r}")
        for key, value in (("guidance", self.guidance), ("strength", self.strength)):
            if not 0 <= value < math.inf:
                raise ValueError(f"{key} must be at least 0, not {value}")
