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
    """Endless random crops of a folder or zip file of photographs, flipped left to right half of the time.

    All photographs lie in one table of pixels on the device, from which a batch is gathered at once: a GPU does not
    wait for the processor.
    """

    def __init__(
        self,
        data: Path,
        largest: int,
        scales: Sequence[float] = (1.0,),
        held_out: float = 0.0,
        device: torch.device | str = "cpu",
    ) -> None:
        """Keeps each photograph at each of `scales` where it is at least `largest` pixels wide and high.

        A share `held_out` of the photographs, evenly spaced by name, is kept for validation instead; of one or two
        photographs none is. Raises InputError if there are none to train on; a file that cannot be read is left out
        with a warning.
        """
        found = list(pictures(data))
        kept = held_out_indices(len(found), held_out)
        self.held_out = [found[k] for k in kept]
        """Uint8 [3,H,W] each, at full size, on the CPU."""
        training = [image for k, image in enumerate(found) if k not in kept]
        scaled = [one for image in training for one in _pyramid(image, largest, scales)]
        if not scaled:
            raise InputError(
                f"No image under {data} can be read and has {largest} pixels or more a side, as the largest crop.",
                "Bring larger images, or smaller crops: --set 'train.crops=[32]'.",
            )
        areas = torch.tensor([image.shape[1] * image.shape[2] for image in scaled])
        self.weights = areas.float().sqrt()
        self.place = torch.tensor([[*image.shape[1:], 0] for image in scaled])
        self.place[1:, 2] = areas.cumsum(0)[:-1]
        """Int64 [N,3]: height, width and first pixel of each image, on the CPU."""
        self.pixels = torch.empty(int(areas.sum()), 3, dtype=torch.uint8, device=device)
        """Uint8 [pixels of all images,3]."""
        for image, own in zip(scaled, self.images, strict=True):
            own.copy_(image)

    @property
    def images(self) -> list[Tensor]:
        """Uint8 [3,H,W] each, views of `pixels`."""
        parts = [self.pixels[first : first + height * width].view(height, width, 3)
                 for height, width, first in self.place.tolist()]  # fmt: skip
        return [part.permute(2, 0, 1) for part in parts]

    def batch(self, count: int, side: int, rng: torch.Generator) -> Tensor:
        """[count,3,side,side] float32 in [0,1], channels last, on the device; `rng` is one of the CPU."""
        chosen = torch.multinomial(self.weights, count, replacement=True, generator=rng)
        height, width, first = self.place[chosen].T
        u, v, flip = torch.rand(3, count, generator=rng)
        top, left = (u * (height - side + 1)).long(), (v * (width - side + 1)).long()
        corner, width, mirrored = (
            one[:, None, None].to(self.pixels.device) for one in (first + top * width + left, width, flip < 0.5)
        )
        step = torch.arange(side, device=self.pixels.device)
        column = torch.where(mirrored, side - 1 - step, step)
        found = self.pixels[corner + step[:, None] * width + column]
        return found.permute(0, 3, 1, 2).float() / 255


def held_out_indices(count: int, share: float) -> list[int]:
    """A share of 0..count-1, evenly spaced; none where there are too few images to spare one."""
    return [k for k in range(count) if count > 2 and int((k + 1) * share + 0.5) > int(k * share + 0.5)]


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
