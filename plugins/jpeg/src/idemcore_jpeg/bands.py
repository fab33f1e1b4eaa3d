"""Bands of MCU rows: no MCU knows of another, so what is done to a large image is done to a part of it at a time."""

from __future__ import annotations

from dataclasses import dataclass

from .box import Box
from .layout import Layout

BAND = 2**20
"""Most pixels of a band, if an MCU row has no more: what bounds memory, and one budget of the search in `snap.py`."""


@dataclass(frozen=True)
class Band:
    """Some MCU rows of a box."""

    rows: slice
    """Of pixels."""
    box: Box


def bands(box: Box) -> list[Band]:
    """The box in bands from top to bottom, of equal heights but for the last; one, the box itself, if it is small."""
    layout, (tall, wide) = box.layout, box.layout.tile
    most = max(1, BAND // (tall * wide * layout.grid[1]))
    if layout.grid[0] <= most:
        return [Band(slice(0, layout.height), box)]
    layouts: dict[int, Layout] = {}
    found = []
    for first in range(0, layout.grid[0], most):
        top, bottom = first * tall, min((first + most) * tall, layout.height)
        if bottom - top not in layouts:
            layouts[bottom - top] = Layout(bottom - top, layout.width, layout.sampling, box.symbols.device)
        part = box.part(layouts[bottom - top], slice(None), slice(first, first + most))
        found.append(Band(slice(top, bottom), part))
    return found
