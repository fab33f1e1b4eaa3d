"""What a file says about its coefficients: all of them, or some, or the upper bits of some.

A progressive file sends its coefficients in parts, upper bits first (ITU-T T.81, annex G): where scans are missing or
cut, a coefficient is known to lie in an interval of integers, which may be all that there are.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .sampling import Factors
from .stream import ZIGZAG, Scan

NOTHING = 16
"""Low bits that are not known of a coefficient of which nothing is known."""
REACH = 2048
"""No image has a coefficient of this size: 8-bit samples give 1024 at most."""
Plane = npt.NDArray[np.int32]


@dataclass
class Knowledge:
    """What one file tells; components in order."""

    buffers: list[array[int]]
    """Quantised coefficients as the scanner writes them: int16, 64 a block in natural order, row by row."""
    shapes: list[tuple[int, int]]
    """Rows and columns of blocks, with those that fill up the last MCUs."""
    factors: list[Factors]
    unknown: list[npt.NDArray[np.uint8]]
    """Low bits that are not known, natural order: [64] as long as all blocks are alike, then [R,C,64]."""
    as_libjpeg: bool = True
    """libjpeg reads the same from the file itself."""
    notes: list[str] = field(default_factory=list)
    """Oddities that keep no decoder from reading the file: each the rest of a sentence."""

    @classmethod
    def of(cls, factors: list[Factors], rows: int, columns: int) -> Knowledge:
        """Nothing yet."""
        shapes = [(rows * v, columns * h) for v, h in factors]
        buffers = [array("h", bytes(128 * tall * wide)) for tall, wide in shapes]
        unknown = [np.full(64, NOTHING, np.uint8) for _ in shapes]
        return cls(buffers, shapes, factors, unknown)

    @property
    def planes(self) -> list[npt.NDArray[np.int16]]:
        """[R,C,64] of each component."""
        pairs = zip(self.buffers, self.shapes, strict=True)
        return [np.frombuffer(buffer, np.int16).reshape(*shape, 64) for buffer, shape in pairs]

    @property
    def complete(self) -> bool:
        """Every bit is known."""
        return not any(unknown.any() for unknown in self.unknown)

    def note(self, text: str) -> None:
        """Once."""
        if text not in self.notes:
            self.notes.append(text)

    def refinable(
        self, scan: Scan, grid: tuple[int, int]
    ) -> tuple[npt.NDArray[np.bool_] | None, npt.NDArray[np.bool_]]:
        """Units of an AC refinement whose earlier bits are known, and those with coefficients that are not 0.

        The first is None where all units are alike: then libjpeg reads on, whatever is missing.
        """
        component, band, (rows, columns) = scan.components[0], _band(scan), grid
        plane, unknown = self.planes[component][:rows, :columns], self.unknown[component]
        used = np.zeros(grid, bool)
        for position in band:
            used |= plane[..., position] != 0
        ready = None if unknown.ndim == 1 else (unknown[:rows, :columns, band] == scan.high).all(-1).ravel()
        return ready, used.ravel()

    def learn(self, scan: Scan, read: npt.NDArray[np.bool_]) -> None:
        """Takes note of a scan; `read` [rows, columns] of its units."""
        band = _band(scan)
        for component in scan.components:
            if read.all() and self.unknown[component].ndim == 1:
                self.unknown[component][band] = _after(self.unknown[component][band], scan)
                continue
            if self.unknown[component].ndim == 1:
                self.unknown[component] = np.tile(self.unknown[component], (*self.shapes[component], 1))
            blocks = self.unknown[component]
            if len(scan.components) > 1:
                v, h = self.factors[component]
                inside = read.repeat(v, 0).repeat(h, 1)
            else:
                inside, blocks = read, blocks[: read.shape[0], : read.shape[1]]
            for position in band:
                blocks[..., position] = np.where(inside, _after(blocks[..., position], scan), blocks[..., position])

    def interval(self, component: int, table: npt.NDArray[np.int32]) -> tuple[Plane, Plane]:
        """Smallest and largest value [R,C,64] that each coefficient may have, given what is known of it."""
        value = self.planes[component].astype(np.int32)
        unknown = np.broadcast_to(self.unknown[component], value.shape).astype(np.int32)
        step = np.where(unknown < NOTHING, 1 << unknown, 1)
        size = np.abs(value) // step * step
        lowest = np.where(value > 0, size, -size)
        is_dc = np.arange(64) == 0
        lowest = np.where(is_dc, value // step * step, lowest)
        # AC coefficients are cut towards zero, DC ones downwards (annex G.1.2.1).
        up, down = (is_dc | (lowest >= 0)) * (step - 1), (~is_dc & (lowest <= 0)) * (step - 1)
        reach, nothing = REACH // table + 1, unknown == NOTHING
        return np.where(nothing, -reach, lowest - down), np.where(nothing, reach, lowest + up)


def _band(scan: Scan) -> npt.NDArray[np.int64]:
    """Positions in natural order of the coefficients that a scan has."""
    return ZIGZAG[scan.start : scan.end + 1]


def _after(unknown: npt.NDArray[np.uint8], scan: Scan) -> npt.NDArray[np.uint8]:
    """Low bits that are unknown after a scan. A refinement without what it refines tells nothing."""
    return np.where(unknown == scan.high, scan.low, unknown) if scan.high else np.full_like(unknown, scan.low)
