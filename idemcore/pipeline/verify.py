"""Does an image lie in the cell of a bitstream?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..io.exif import turn_back
from ..io.files import read_file
from ..io.images import Colour, decode_bytes
from .codec import Bitstream


@dataclass(frozen=True)
class Verdict:
    """What was found; true if the image re-encodes to the bitstream."""

    exact: bool
    differing_symbols: int | None
    """Quantised symbols that differ, 0 if exact; None of an image of another size."""
    reason: str
    """Why it is not exact, for people; empty if it is."""

    def __bool__(self) -> bool:
        return self.exact


def verdict(bitstream: Bitstream, images: Iterable[Tensor]) -> Verdict:
    """Judges the byte image [1,3,H,W] that comes nearest, of several that may be meant."""
    differing, why = None, ""
    for image in images:
        if tuple(image.shape[-2:]) != bitstream.size:
            found, wanted = ("{1}x{0}".format(*size) for size in (image.shape[-2:], bitstream.size))
            why = why or f"it has {found} pixels, not {wanted}"
            continue
        image = image.to(bitstream.decoded.device)
        with torch.no_grad():
            if bool(bitstream.cell.contains(image)):
                return Verdict(True, 0, "")
            count = int(bitstream.cell.differing_symbols(image))
        differing = count if differing is None else min(differing, count)
        why = f"{differing} symbols differ"
    return Verdict(False, differing, why)


def readings(path: Path, bitstream: Bitstream, background: Colour | None = None) -> Iterator[Tensor]:
    """The pixels of an image file that may be meant, uint8 [1,3,H,W], none of them twice.

    As they are stored; turned back if the bitstream says that its picture lies on its side; upright and in sRGB.
    """
    data = read_file(path)
    stored = decode_bytes(data, path, background, as_stored=True)
    yield stored
    metadata = bitstream.codec.encoder.metadata(bitstream.stream)
    if metadata and metadata.orientation > 1:
        yield turn_back(stored, metadata.orientation)
    shown = decode_bytes(data, path, background)
    if shown.shape != stored.shape or not shown.equal(stored):
        yield shown
