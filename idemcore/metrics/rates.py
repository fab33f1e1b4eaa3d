"""What a bitstream costs, whether the image re-encodes to it, and what finding the image took."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..io.images import to_bytes
from ..protocols import ImageMetric
from ..results.case import Case


def undefined(case: Case) -> Tensor:
    """[B] of nan."""
    return torch.full((len(case),), torch.nan, dtype=torch.float64)


class _Plain(ImageMetric):
    def __init__(self, config: object, runtime: object) -> None:
        """There is nothing to set."""


class Fact(_Plain):
    """A fact of the case, as it is."""

    fact: str
    scale = 1.0

    def measure(self, case: Case) -> Tensor:
        value: Any = getattr(case, self.fact)
        return undefined(case) if value is None else value.cpu().double() * self.scale


class FileRate(_Plain):
    """Bits of the whole file a pixel."""

    def measure(self, case: Case) -> Tensor:
        return undefined(case) if case.file_bits is None else case.file_bits.cpu().double() / case.pixels


class PayloadRate(_Plain):
    """Bits a pixel of what the encoder wrote, without idem's container; a file format of its own is all payload."""

    def measure(self, case: Case) -> Tensor:
        if case.streams is None:
            return undefined(case)
        return torch.tensor([8 * len(stream) / case.pixels for stream in case.streams], dtype=torch.float64)


class Exact(Fact):
    """1 if the image re-encodes to its bitstream, byte for byte, else 0: the mean is the share of exact images."""

    fact = "exact"


class SolverExact(_Plain):
    """1 if what the solver gave, rounded to 8 bits, re-encodes to its bitstream as it is, before certification."""

    @torch.no_grad()
    def measure(self, case: Case) -> Tensor:
        if case.cell is None or case.solution is None:
            return undefined(case)
        return case.cell.contains(to_bytes(case.solution)).cpu().double()


class DifferingSymbols(Fact):
    """Quantised symbols of the reconstruction that differ from the bitstream's."""

    fact = "differing_symbols"


class Passes(Fact):
    """Network passes forwards."""

    fact = "nfe"


class Backwards(Fact):
    """Network passes backwards."""

    fact = "backwards"


class Seconds(Fact):
    """Wall time to solve and certify, seconds."""

    fact = "seconds"


class PeakMemory(Fact):
    """Most memory in use, MiB above that before."""

    fact, scale = "peak_bytes", 2.0**-20
