"""How densely a JPEG file samples each component, and which colours the components are. Imports nothing heavy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Factors = tuple[int, int]
"""Rows and columns of blocks that an MCU has of a component."""

CHROMA = {(1, 1): "4:4:4", (1, 2): "4:2:2", (2, 1): "4:4:0", (2, 2): "4:2:0", (1, 4): "4:1:1", (2, 4): "4:1:0"}
"""Names of luma's factors where chroma has 1x1."""


@dataclass(frozen=True)
class Sampling:
    """Sampling factors of each component, without common divisors, and its colours: grey, YCbCr or RGB."""

    factors: tuple[Factors, ...]
    colours: str

    @classmethod
    def of(cls, factors: Sequence[Factors], colours: str) -> Sampling:
        """Factors as a file has them: 2x2 1x2 1x2 is the same grid of samples as 2x1 1x1 1x1."""
        v, h = (math.gcd(*(pair[axis] for pair in factors)) for axis in (0, 1))
        return cls(tuple((tall // v, wide // h) for tall, wide in factors), colours)

    @classmethod
    def named(cls, name: str) -> Sampling:
        """From a name such as 4:2:0, grey or RGB."""
        if name in ("grey", "RGB"):
            return cls(((1, 1),) * (1 if name == "grey" else 3), name)
        return cls((next(f for f, known in CHROMA.items() if known == name), (1, 1), (1, 1)), "YCbCr")

    @property
    def mcu(self) -> Factors:
        """Rows and columns of blocks of the densest component."""
        return max(v for v, _ in self.factors), max(h for _, h in self.factors)

    @property
    def has_whole_ratios(self) -> bool:
        """Each component has every pixel, or every second, third or fourth: libjpeg takes no other."""
        (tall, wide), pairs = self.mcu, self.factors
        return all(tall % v == 0 and wide % h == 0 for v, h in pairs)

    @property
    def name(self) -> str:
        """grey, 4:2:0 and its kin, or columns x rows of each component, as cjpeg's option -sample has them."""
        if len(self.factors) == 1:
            return "grey"
        if self.factors[1:] == ((1, 1), (1, 1)) and self.factors[0] in CHROMA:
            return CHROMA[self.factors[0]]
        return " ".join(f"{h}x{v}" for v, h in self.factors)
