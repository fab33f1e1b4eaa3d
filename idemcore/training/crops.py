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

    def __init__(self, data: Path, largest: int, scales: Sequence[float] = (1.0,), held_out: float = 0.0) -> None:
        """Keeps each photograph at each of `scales` where it is at least `largest` pixels wide and high.

        A share `held_out` of the photographs, evenly spaced by name, is kept for validation instead; of one or two
        photographs none is. Raises InputError if there are none to train on; a file that cannot be read is left out
        with a warning.
        """
        found = list(pictures(data))
        kept = [k for k in range(len(found)) if len(found) > 2 and _chosen(k, held_out)]
        self.held_out = [found[k] for k in kept]
        """Uint8 [3,H,W] each, at full size."""
        training = [image for k, image in enumerate(found) if k not in kept]
        self.images = [scaled for image in training for scaled in _pyramid(image, largest, scales)]
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


def _chosen(index: int, share: float) -> bool:
    """For a share of all indices, evenly spaced."""
    return int((index + 1) * share + 0.5) > int(index * share + 0.5)


def middle(image: Tensor, side: int) -> Tensor:
    """The middle of [3,H,W], at most side x side; sides are multiples of 16 where they can be."""
    height, width = (max(1, min(side, length // 16 * 16 or length)) for length in image.shape[1:])
    top, left = (image.shape[1] - height) // 2, (image.shape[2] - width) // 2
    return image[:, top : top + height, left : left + width]


def _pyramid(image: Tensor, largest: int, scales: Sequence[float]) -> Iterator[Tensor]:
    rgb = Image.fromarray(image.permute(1, 2, 0).numpy())
    for scale in scales:
        size = (round(rgb.width * scale), round(rgb.height * scale))
        if min(size) >= largest:
            resized = rgb.resize(size, Image.Resampling.LANCZOS) if scale != 1 else rgb
            yield torch.from_numpy(np.array(resized)).permute(2, 0, 1).contiguous()
