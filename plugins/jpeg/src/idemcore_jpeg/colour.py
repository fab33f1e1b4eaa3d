"""From RGB to what a file's components hold, in libjpeg's integers (jccolor.c) and in real numbers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

HALF = 1 << 15
CENTRED = (128 << 16) + HALF - 1
RGB_TO_YCC = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
YCC_TO_RGB = torch.tensor([[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]])


@dataclass(frozen=True)
class Colours:
    """A colour space of C components."""

    fixed: Tensor
    """Int32 [C,3]: a row for each component, in 16-bit fixed point; columns R, G, B."""
    offset: Tensor
    """Int32 [C]: what is added before the shift by 16 bits that rounds."""
    forward: Tensor
    """Float32 [3,3]: the same in real numbers, chroma about 0. Grey has the chroma rows too, for the way back."""
    inverse: Tensor
    centre: Tensor
    """Float32 [C]: what `forward` gives for a coefficient of 0."""

    def integers(self, rgb: Tensor) -> Tensor:
        """Int32 [3,...] 0..255 -> int32 [C,...], before the shift by 16 bits."""
        r, g, b = rgb.int()
        rows = zip(self.fixed.tolist(), self.offset.tolist(), strict=True)
        return torch.stack([r * to_r + g * to_g + b * to_b + offset for (to_r, to_g, to_b), offset in rows])


_YCC = torch.tensor([[19595, 38470, 7471], [-11059, -21709, 32768], [32768, -27439, -5329]], dtype=torch.int32)
_OFFSET = torch.tensor([HALF, CENTRED, CENTRED], dtype=torch.int32)
_CENTRE = torch.tensor([128.0, 0.0, 0.0])

COLOURS = {
    "YCbCr": Colours(_YCC, _OFFSET, RGB_TO_YCC, YCC_TO_RGB, _CENTRE),
    "grey": Colours(_YCC[:1], _OFFSET[:1], RGB_TO_YCC, YCC_TO_RGB, _CENTRE[:1]),
    "RGB": Colours(
        torch.eye(3, dtype=torch.int32) << 16,
        torch.full((3,), HALF, dtype=torch.int32),
        torch.eye(3),
        torch.eye(3),
        torch.full((3,), 128.0),
    ),
}
"""By the names of `sampling.Sampling.colours`."""
