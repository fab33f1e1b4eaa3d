"""Random crops of photographs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import InputError
from ..io.image_sets import pictures


class Crops:
    """Endless random crops of a folder or zip file of photographs, flipped left to right half of the time."""

    def __init__(self, data: Path, largest: int, scales: Sequence[float] = (1.0,)) -> None:
        """Keeps each photograph at each of `scales` where it is at least `largest` pixels wide and high.

        Raises InputError if none is; a file that cannot be read is left out with a warning.
        """
        self.images = [scaled for image in pictures(data) for scaled in _pyramid(image, largest, scales)]
        if not self.images:
            raise InputError(
                f"Every image under {data} is smaller than the largest crop, {largest} pixels.",
                "Bring larger images, or smaller crops: --set 'train.crops=[32]'.",
            )
        self.weights = torch.tensor([float(i.shape[1] * i.shape[2]) for i in self.images]).sqrt()

    def batch(self, count: int, side: int, rng: torch.Generator) -> Tensor:
        """[count,3,side,side] float32 in [0,1]."""
        out = torch.empty(count, 3, side, side, dtype=torch.uint8)
        for k, index in enumerate(torch.multinomial(self.weights, count, replacement=True, generator=rng).tolist()):
            image = self.images[index]
            u, v, flip = torch.rand(3, generator=rng).tolist()
            top, left = int(u * (image.shape[1] - side + 1)), int(v * (image.shape[2] - side + 1))
            crop = image[:, top : top + side, left : left + side]
            out[k] = crop.flip(2) if flip < 0.5 else crop
        return out.float() / 255


def _pyramid(image: Tensor, largest: int, scales: Sequence[float]) -> Iterator[Tensor]:
    rgb = Image.fromarray(image.permute(1, 2, 0).numpy())
    for scale in scales:
        size = (round(rgb.width * scale), round(rgb.height * scale))
        if min(size) >= largest:
            resized = rgb.resize(size, Image.Resampling.LANCZOS) if scale != 1 else rgb
            yield torch.from_numpy(np.array(resized)).permute(2, 0, 1).contiguous()
