"""Images as Python programs hold them: tensors, NumPy arrays, Pillow's images, paths; each taken for what it must be.

What could be two things is refused in one sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import UsageError
from .images import from_pillow, read_image, to_float

SLACK = 0.01
"""How far outside of [0,1] a float image may be, as filters leave it; it is clamped."""


def as_images(given: Any, what: str = "the image") -> Tensor:
    """Float32 [B,3,H,W] in [0,1] of what is given:

    - a path: see `read_image`
    - a Pillow image
    - a tensor [3,H,W] or [B,3,H,W], a NumPy array [H,W,3], [H,W] or [B,H,W,3] (or with channels as in tensors)
    - a list of these, of one size

    Samples are uint8, or floats in [0,1]. Raises UsageError for anything else.
    """
    if isinstance(given, str | PathLike):
        return read_image(given)
    if isinstance(given, Image.Image):
        return to_float(from_pillow(given, what))
    if isinstance(given, np.ndarray):
        return _samples(_channels_first(given, what), what)
    if isinstance(given, Tensor):
        return _samples(given, what)
    if isinstance(given, Sequence) and given and not isinstance(given, bytes):
        return _joined([as_images(one, f"{what} {number}") for number, one in enumerate(given)], what)
    hint = "Give a path, a tensor [B,3,H,W], a NumPy array [H,W,3] or a Pillow image."
    raise UsageError(f"{what} is of type {type(given).__name__}, which is not an image.", hint)


def as_image(given: Any, what: str = "the image") -> Tensor:
    """Float32 [1,3,H,W] in [0,1] of one image, see `as_images`. Raises UsageError for several, too."""
    images = as_images(given, what)
    if len(images) != 1:
        raise UsageError(f"The batch has {len(images)} images.", "Encode each by itself: `[encode(x) for x in batch]`.")
    return images


def _joined(images: list[Tensor], what: str) -> Tensor:
    sizes = {tuple(image.shape[-2:]) for image in images}
    if len(sizes) > 1:
        found = " and ".join(f"{width}x{height}" for height, width in sorted(sizes)[:2])
        raise UsageError(f"{what} is a list of images of several sizes, {found}.", "Give them one by one.")
    return torch.cat(images)


def _channels_first(array: np.ndarray[Any, Any], what: str) -> Tensor:
    """As a tensor with channels before rows, as tensors have them."""
    if array.dtype.kind not in "fu" or (array.dtype.itemsize > 1 and array.dtype.kind == "u"):
        raise _wrong_type(what, str(array.dtype))
    tensor = torch.from_numpy(np.ascontiguousarray(array.astype(np.float32) if array.dtype.kind == "f" else array))
    if tensor.ndim == 2:
        return tensor.expand(3, -1, -1)
    if tensor.ndim in (3, 4) and tensor.shape[-1] == 3:
        return tensor.movedim(-1, -3)
    return tensor


def _samples(tensor: Tensor, what: str) -> Tensor:
    """Float32 [B,3,H,W] in [0,1] of a tensor [3,H,W] or [B,3,H,W]."""
    if tensor.ndim not in (3, 4) or tensor.shape[-3] != 3 or 0 in tensor.shape:
        hint = "A tensor is [3,H,W] or [B,3,H,W]"
        turned = tensor.ndim in (3, 4) and tensor.shape[-1] == 3
        hint += ": turn it with `.movedim(-1, -3)`." if turned else "; repeat the channel of a grey image three times."
        raise UsageError(f"{what} has the shape {list(tensor.shape)}.", hint)
    batch = tensor if tensor.ndim == 4 else tensor[None]
    if batch.dtype == torch.uint8:
        return to_float(batch)
    if not batch.dtype.is_floating_point:
        raise _wrong_type(what, str(batch.dtype).removeprefix("torch."))
    low, high = (float(value) for value in batch.detach().aminmax())
    if not (low >= -SLACK and high <= 1 + SLACK):  # NaN is refused, too
        raise UsageError(f"{what} has samples from {low:.4g} to {high:.4g}, not in [0,1].", _range_hint(low, high))
    image = batch.detach().to(torch.float32)
    return image if low >= 0 and high <= 1 else image.clamp(0, 1)


def _range_hint(low: float, high: float) -> str:
    if low != low or high != high:
        return "Some are not a number."
    if low < -SLACK:
        return "If they are in [-1,1], give `(image + 1) / 2`."
    return "If they are in 0..255, give `image / 255`, or `image.to(torch.uint8)`."


def _wrong_type(what: str, dtype: str) -> UsageError:
    hint = "Give uint8 samples in 0..255, or floats in [0,1]."
    return UsageError(f"{what} has samples of type {dtype}, whose range is not clear.", hint)
