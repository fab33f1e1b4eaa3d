"""What a metric is: of one image, or of a set of images. Light: imports no torch.

Case (a batch of images with all that is known of them) -> ImageMetric.measure -> one value an image -> summarise
                                                        -> SetMetric.update ... -> SetMetric.result -> Score
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ..protocols import Unsupported

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from ..hookspecs import MetricSpec
    from ..protocols import Cell

SetT = TypeVar("SetT", bound="SetMetric")
State = Mapping[str, "npt.NDArray[Any]"]
"""What a set metric holds, as arrays by name, ready for `numpy.savez`."""

_T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""97.5 % quantiles of Student's t with 1 to 10 degrees of freedom."""


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
    cell: Cell | None = None
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

        from ..io.images import to_float

        try:
            with torch.no_grad():
                return self.cell.position(to_float(self.reconstruction)), self.cell.position(to_float(self.original))
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
        """The plain decode in the reconstruction's place, with the rate but none of the reconstruction's facts."""
        if self.decoded is None:
            raise ValueError("the case holds no plain decode")
        mine = {"original", "decoded", "streams", "file_bits", "cell"}
        facts = {name: None for name in self.__dataclass_fields__ if name not in {*mine, "images", "reconstruction"}}
        return replace(self, reconstruction=self.decoded, **facts)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Score:
    """A value of a set of images; nan where undefined."""

    value: float
    low: float | None = None
    """95 % confidence interval over images; None where it is not estimated."""
    high: float | None = None
    count: int = 0
    """Images behind it."""


class Metric(ABC):
    """Built from its config dataclass: `Class(config, runtime)`; MissingError if weights or a package are not here."""

    name: str = ""
    """What the user typed, e.g. `fd:timm/resnet18`; set by `build`."""
    spec: MetricSpec
    """Set by `build`."""


class ImageMetric(Metric):
    """One value an image."""

    @abstractmethod
    def measure(self, case: Case) -> Tensor:
        """Float64 [B] on the CPU; nan where the case lacks what is needed, or where undefined."""


class SetMetric(Metric):
    """One value a set of images, in memory that does not grow with their number.

    It is given the first draw of each image, or every draw, and then those of an image follow one another. `merge` of
    the parts of a set gives what the whole set would, but for the order of floating-point sums.
    """

    every_draw: ClassVar[bool] = False
    """It is about the draws of an image, not about a set of images."""

    @abstractmethod
    def reset(self) -> None:
        """Forgets all images."""

    @abstractmethod
    def update(self, case: Case) -> None:
        """Takes in B images. A case that lacks what is needed is left out."""

    @abstractmethod
    def result(self) -> Score:
        """Of all images since `reset`; value nan where there are too few."""

    @abstractmethod
    def state(self) -> State:
        """All that `update` learned, for `load`."""

    @abstractmethod
    def load(self, state: State) -> None:
        """Takes the place of what was learned."""

    @abstractmethod
    def merge(self: SetT, other: SetT) -> None:
        """Adds what another instance of the same settings learned of other images."""


def summarise(images: Sequence[str], values: Sequence[float]) -> Score:
    """Mean over images, with the interval of Student's t. Draws of one image, which are not independent, are averaged
    first; nan is left out."""
    groups: dict[str, list[float]] = {}
    for image, value in zip(images, values, strict=True):
        if not math.isnan(value):
            groups.setdefault(image, []).append(value)
    means = [sum(group) / len(group) for group in groups.values()]
    return mean_score(means)


def mean_score(values: Sequence[float]) -> Score:
    """Mean of independent values with the 95 % interval of Student's t; no interval of fewer than two."""
    count = len(values)
    if not count:
        return Score(math.nan)
    mean = math.fsum(values) / count
    if count == 1 or math.isinf(mean):
        return Score(mean, count=count)
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    half = t_quantile(count - 1) * math.sqrt(variance / count)
    return Score(mean, mean - half, mean + half, count)


def t_quantile(degrees: int) -> float:
    """97.5 % quantile of Student's t: a table to 10 degrees of freedom, then Cornish and Fisher's expansion."""
    if degrees <= len(_T_975):
        return _T_975[degrees - 1]
    z = 1.959964
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / degrees + second / degrees**2 + third / degrees**3
