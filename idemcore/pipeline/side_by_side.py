"""A picture that compares: panels side by side, each with the same zoomed crop below and a caption above."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..io.images import to_float

PANEL = 640
"""Longest side of a panel, in pixels; larger images are scaled down to it."""
SMALLEST = 256
"""Images shorter than this are shown magnified by a whole number."""
ZOOM = 4
GAP = 20
INK, MUTED, PAPER, MARK = (28, 30, 34), (104, 110, 120), (250, 250, 248), (255, 92, 48)


@dataclass(frozen=True)
class Panel:
    """One of the images compared: uint8 [1,3,H,W], all of one size."""

    image: Tensor
    title: str
    note: str


def compare(original: Panel, decoded: Panel, *others: Panel) -> Tensor:
    """uint8 [1,3,h,w]. The crop is where the decode lost most of the original's detail."""
    height, width = original.image.shape[-2:]
    box = zoom_box(original.image, decoded.image, (max(1, height // ZOOM), max(1, width // ZOOM)))
    columns = [_column(panel, box) for panel in (original, decoded, *others)]
    page_width = sum(c.width for c in columns) + GAP * (len(columns) + 1)
    page = Image.new("RGB", (page_width, columns[0].height + 2 * GAP), PAPER)
    x = GAP
    for column in columns:
        page.paste(column, (x, GAP))
        x += column.width + GAP
    return torch.from_numpy(np.array(page)).permute(2, 0, 1)[None].contiguous()


def zoom_box(original: Tensor, decoded: Tensor, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the window of `size` (h, w) in which most local contrast was lost.

    Lost contrast is the difference of the two images' standard deviations in 7x7 neighbourhoods of the luminance: a
    texture counts everywhere it was smoothed, an edge only along its line.
    """
    lost = (_contrast(original) - _contrast(decoded)).clamp(min=0)
    score = F.avg_pool2d(lost, size, stride=1)
    top, left = divmod(int(score.flatten().argmax()), score.shape[-1])
    return left, top, left + size[1], top + size[0]


def _contrast(byte_image: Tensor) -> Tensor:
    """Standard deviation of the luminance around each pixel, [1,1,H,W]."""
    red, green, blue = to_float(byte_image).split(1, dim=1)
    luminance = 0.299 * red + 0.587 * green + 0.114 * blue
    mean, mean_square = (
        F.avg_pool2d(v, 7, stride=1, padding=3, count_include_pad=False) for v in (luminance, luminance**2)
    )
    return (mean_square - mean**2).clamp(min=0).sqrt()


def _column(panel: Panel, box: tuple[int, int, int, int]) -> Image.Image:
    """Caption, the whole image with the crop marked, the crop magnified."""
    whole = Image.fromarray(panel.image[0].permute(1, 2, 0).cpu().numpy())
    scale = _scale(whole.size)
    shown = _resized(whole, scale)
    crop = whole.crop(box).resize(shown.size, Image.Resampling.BICUBIC)
    ImageDraw.Draw(shown).rectangle([round(v * scale) for v in box], outline=MARK, width=2)
    head = 64
    column = Image.new("RGB", (shown.width, head + 2 * shown.height + GAP), PAPER)
    draw = ImageDraw.Draw(column)
    _text(draw, (0, 0), panel.title, 26, INK, column.width)
    _text(draw, (0, 34), panel.note, 19, MUTED, column.width)
    column.paste(shown, (0, head))
    column.paste(crop, (0, head + shown.height + GAP))
    draw.rectangle((0, head + shown.height + GAP, column.width - 1, column.height - 1), outline=MARK, width=2)
    return column


def _scale(size: tuple[int, int]) -> float:
    longest = max(size)
    return min(1.0, PANEL / longest) if longest >= SMALLEST else float(-(-SMALLEST // longest))


def _resized(image: Image.Image, scale: float) -> Image.Image:
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC)


def _text(
    draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, size: int, colour: tuple[int, int, int], width: int
) -> None:
    """One line, in a smaller size if it would not fit the width."""
    font = ImageFont.load_default(size)
    while size > 8 and draw.textlength(text, font=font) > width:
        size -= 1
        font = ImageFont.load_default(size)
    draw.text(place, text, font=font, fill=colour)
