"""What goes with a picture beside its pixels: which way up it is, and what its colours mean."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from torch import Tensor

ORIENTATION = 0x0112
_FORMATS = {3: "H", 4: "I"}
"""By TIFF's type. An orientation should be SHORT, 3; some programs write LONG, 4, which Pillow reads too."""
_FLIPS = {1: [], 2: [-1], 3: [-2, -1], 4: [-2], 5: [], 6: [-1], 7: [-2, -1], 8: [-2]}
"""By EXIF's orientation: the axes that are turned round, after rows and columns changed places for those from 5 on."""


@dataclass(frozen=True)
class Metadata:
    """Metadata of one file; empty where it has none."""

    exif: bytes = b""
    """A TIFF structure, as PNG's eXIf chunk has it."""
    icc: bytes = b""
    """The colour profile."""
    density: tuple[int, int, bool] = (0, 0, False)
    """Samples a metre, horizontally and vertically, and true; or the aspect of samples and false; zeros if unknown."""

    @property
    def orientation(self) -> int:
        """EXIF's 1 to 8; 1 is upright, and what a file without it or with a damaged one is taken for."""
        at, form = _orientation_at(self.exif)
        found = struct.unpack_from(form, self.exif, at)[0] if at else 1
        return found if found in _FLIPS else 1

    @property
    def upright(self) -> Metadata:
        """The same, of a picture that `turn` has turned."""
        x, y, metric = self.density
        density = (y, x, metric) if self.orientation > 4 else self.density
        at, form = _orientation_at(self.exif)
        if not at:
            return self
        one = struct.pack(form, 1)
        return replace(self, exif=self.exif[:at] + one + self.exif[at + len(one) :], density=density)


def turn(image: Tensor, orientation: int) -> Tensor:
    """[...,H,W] as it is stored -> upright, which for 5 to 8 swaps height and width."""
    return (image.transpose(-1, -2) if orientation > 4 else image).flip(_FLIPS[orientation])


def turn_back(image: Tensor, orientation: int) -> Tensor:
    """The inverse of `turn`."""
    flipped = image.flip(_FLIPS[orientation])
    return flipped.transpose(-1, -2) if orientation > 4 else flipped


def _orientation_at(exif: bytes) -> tuple[int, str]:
    """Where the value is and how it is packed; 0 if there is none. Of the first directory: others are of previews."""
    order = "<" if exif[:2] == b"II" else ">"
    try:
        magic, directory = struct.unpack_from(order + "HI", exif, 2)
        (count,) = struct.unpack_from(order + "H", exif, directory)
        if exif[:2] not in (b"II", b"MM") or magic != 42:
            return 0, ""
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, kind, length, _ = struct.unpack_from(order + "HHII", exif, entry)
            if (tag, length) == (ORIENTATION, 1) and kind in _FORMATS:
                form = order + _FORMATS[kind]
                struct.unpack_from(form, exif, entry + 8)
                return entry + 8, form
    except struct.error:
        pass
    return 0, ""
