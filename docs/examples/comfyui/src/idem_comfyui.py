"""Nodes for ComfyUI: restore a JPEG, and make any image exact. Copy this file into ComfyUI's `custom_nodes`.

A ComfyUI image is a float32 tensor [B,H,W,3] in [0,1]. It holds no JPEG any more, so both nodes are given the file.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor

import idemcore as idem

CATEGORY = "image/idem"
Inputs = dict[str, dict[str, tuple[Any, ...]]]
JPEG = ("STRING", {"default": "", "tooltip": "A JPEG or .idem file on the machine that runs ComfyUI."})


class Restore:
    """A JPEG or .idem file -> a natural picture of it."""

    RETURN_TYPES = ("IMAGE", "BOOLEAN")
    RETURN_NAMES = ("image", "exact")
    FUNCTION = "restore"
    CATEGORY = CATEGORY
    DESCRIPTION = "Draws a natural picture that re-encodes to the very same JPEG."

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        names = {kind: [one["name"] for one in idem.available(kind)] for kind in ("generator", "solver")}
        return {
            "required": {
                "file": JPEG,
                "seed": ("INT", {"default": 0, "min": 0, "max": 2**31 - 1}),
                "naturalness": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.01}),
                "solver": (names["solver"], {"default": "cell"}),
                "generator": (names["generator"], {"default": "ddpm-photo"}),
            }
        }

    @classmethod
    def IS_CHANGED(cls, file: str, **_: Any) -> float:
        """ComfyUI draws again when this changes: when the file does."""
        return os.path.getmtime(file) if os.path.isfile(file) else float("nan")

    def restore(self, file: str, seed: int, naturalness: float, solver: str, generator: str) -> tuple[Tensor, bool]:
        picture = idem.decode(file, generator, solver, seed=seed, tradeoff=naturalness)
        return for_host(picture.image), picture.exact


class MakeExact:
    """An image, upscaled or retouched by other nodes and of the JPEG's size -> the nearest that is the JPEG's."""

    RETURN_TYPES = ("IMAGE", "BOOLEAN")
    RETURN_NAMES = ("image", "exact")
    FUNCTION = "make_exact"
    CATEGORY = CATEGORY
    DESCRIPTION = "Moves an image, as little as possible, until it re-encodes to the JPEG."

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        return {"required": {"image": ("IMAGE",), "file": JPEG}}

    @classmethod
    def IS_CHANGED(cls, file: str, **_: Any) -> float:
        return Restore.IS_CHANGED(file)

    def make_exact(self, image: Tensor, file: str) -> tuple[Tensor, bool]:
        bitstream = idem.open_bitstream(file)
        pictures = [idem.certify(one[None, ..., :3].movedim(-1, 1), bitstream) for one in image]
        return torch.cat([for_host(each.image) for each in pictures]), all(each.exact for each in pictures)


def for_host(byte_image: Tensor) -> Tensor:
    """uint8 [B,3,H,W] -> float32 [B,H,W,3] in [0,1]."""
    return (byte_image.cpu().to(torch.float32) / 255).movedim(1, -1).contiguous()


NODE_CLASS_MAPPINGS = {"IdemRestore": Restore, "IdemMakeExact": MakeExact}
NODE_DISPLAY_NAME_MAPPINGS = {"IdemRestore": "Restore a JPEG (idem)", "IdemMakeExact": "Make exact (idem)"}
