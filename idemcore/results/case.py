"""What a metric is given: reconstructions, with all that is known of them. Light: imports no torch.

Case (a batch of images) -> ImageMetric.measure -> one value an image -> summarise
                         -> SetMetric.update ... -> SetMetric.result -> Score
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import Unsupported

if TYPE_CHECKING:
    from torch import Tensor


class Cells(Protocol):
    """What of a `protocols.Cell` metrics ask."""

    def contains(self, byte_image: Tensor) -> Tensor:
        """See `Cell.contains`."""

    def position(self, x: Tensor) -> Tensor:
        """See `Cell.position`."""


@dataclass(frozen=True)
class Case:
    """B reconstructions of one size with all that metrics may ask about them; what is not known is None."""

    images: tuple[str, ...]
    """[B] what names each original: its file's name or hash. Several draws of one image share it."""
    reconstruction: Tensor
    """uint8 [B,3,H,W], as are the other images."""
    original: Tensor | None = None
    decoded: Tensor | None = None
    """g(y) rounded to 8 bits: the plain decode."""
    recode: Callable[[Tensor], Tensor] | None = None
    """From byte images [B,3,H,W] to what the codec makes of them, g(f(x)) rounded to 8 bits."""
    solution: Tensor | None = None
    """float32 [B,3,H,W]: what the solver gave, before certification."""
    streams: tuple[bytes, ...] | None = None
    """[B] what the encoder wrote, without the container."""
    file_bits: Tensor | None = None
    """[B] of the whole file."""
    cell: Cells | None = None
    """The B quantisation cells."""
    exact: Tensor | None = None
    """bool [B]: it re-encodes to its bitstream."""
    differing_symbols: Tensor | None = None
    """int64 [B]."""
    nfe: Tensor | None = None
    """[B] network passes forwards."""
    backwards: Tensor | None = None
    """[B] network passes backwards."""
    seconds: Tensor | None = None
    """[B] wall time to solve and certify."""
    peak_bytes: Tensor | None = None
    """[B] most memory in use while solving and certifying, above that before."""

    def __len__(self) -> int:
        return len(self.images)

    @property
    def pixels(self) -> int:
        """H * W."""
        return int(self.reconstruction.shape[-2] * self.reconstruction.shape[-1])

    @cached_property
    def positions(self) -> tuple[Tensor, Tensor] | None:
        """[B,K] of the reconstruction and of the original, see `Cell.position`; None where they are not known."""
        if self.cell is None or self.original is None:
            return None
        import torch

        try:
            with torch.no_grad():
                return self.cell.position(self.reconstruction / 255), self.cell.position(self.original / 255)
        except Unsupported:
            return None

    def take(self, numbers: Sequence[int]) -> Case:
        """These of its images, without the cells and the codec; itself if they are all."""
        if len(numbers) == len(self):
            return self
        picked: dict[str, Any] = {"cell": None, "recode": None}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, tuple):
                picked[field.name] = tuple(value[k] for k in numbers)
            elif value is not None and field.name not in picked:
                picked[field.name] = value[list(numbers)]
        return replace(self, **picked)

    def plain(self) -> Case:
        """The plain decode in the reconstruction's place, with its own facts: no pass, and whether it is exact."""
        if self.decoded is None:
            raise ValueError("the case holds no plain decode")
        import torch

        mine = {"original", "decoded", "streams", "file_bits", "cell"}
        facts = {name: None for name in self.__dataclass_fields__ if name not in {*mine, "images", "reconstruction"}}
        none, exact = torch.zeros(len(self)), None
        if self.cell is not None:
            with torch.no_grad():
                exact = self.cell.contains(self.decoded)
        known: dict[str, Any] = {**facts, "nfe": none, "backwards": none, "exact": exact}
        return replace(self, reconstruction=self.decoded, **known)
