"""Draws, and what metrics are asked about them: the one path of `idem eval` and `idem sweep`.

encode -> Encoded -+-> Decoder.draw (a batch of one size) -> Drawn -> case_of -> Case -> measure -> values of each image
                   +-- a batch that fails is tried again image by image: `each_or_alone`
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from ..errors import IdemError
from ..io.images import to_bytes, to_float
from ..metrics import Case, ImageMetric, Metric
from ..pipeline.codec import Bitstream, Codec
from ..pipeline.decoder import Drawn, joint_cell
from ..plugins.blame import as_failure
from ..protocols import Cell
from ..results.rows import SweepRow

T = TypeVar("T")
R = TypeVar("R")
Values = dict[str, float]
"""By metric; nan where undefined."""


@dataclass(frozen=True)
class Encoded:
    """An image with its bitstream."""

    name: str
    """The same for every draw of the image."""
    original: Tensor
    """uint8 [1,3,H,W]."""
    bitstream: Bitstream
    seconds: float
    """Wall time to encode."""


def encode(codec: Codec, name: str, byte_image: Tensor) -> Encoded:
    """Encodes uint8 [1,3,H,W]."""
    begin = time.perf_counter()
    bitstream = codec.bitstream_of(to_float(byte_image))
    return Encoded(name, byte_image, bitstream, time.perf_counter() - begin)


def each_or_alone(items: Sequence[T], attempt: Callable[[Sequence[T]], Sequence[R]]) -> list[R | IdemError]:
    """A result of each item, of all together; where that fails, of each alone, and the error of what fails then too."""
    try:
        return list(attempt(items))
    except Exception as error:  # whatever a plugin or a device does wrong
        failure = as_failure(error)
    # Here, not in the handler, which would keep alive what the failed batch allocated.
    return [failure] if len(items) == 1 else [found for item in items for found in each_or_alone([item], attempt)]


def case_of(images: Sequence[Encoded], drawn: Drawn) -> Case:
    """What metrics are asked about B draws of B images, or several draws of fewer."""
    count, certified, solution = len(images), drawn.certified, drawn.solution
    return _case(
        images,
        drawn.cell,
        certified.image,
        exact=torch.tensor(certified.exact),
        differing_symbols=torch.tensor(certified.differing_symbols),
        nfe=torch.full((count,), solution.nfe),
        backwards=torch.full((count,), solution.backwards),
        seconds=torch.full((count,), _spent(drawn.seconds), dtype=torch.float64),
        solution=solution.image,
        peak_bytes=None if drawn.peak_bytes is None else torch.full((count,), drawn.peak_bytes),
    )


def case_again(images: Sequence[Encoded], byte_image: Tensor, rows: Sequence[SweepRow]) -> Case:
    """`case_of` for draws made earlier, uint8 [B,3,H,W]. What only the solver knew is None."""
    return _case(
        images,
        joint_cell([image.bitstream for image in images]),
        byte_image,
        exact=torch.tensor([bool(row.exact) for row in rows]),
        differing_symbols=torch.tensor([row.differing_symbols for row in rows]),
        nfe=torch.tensor([row.nfe for row in rows]),
        backwards=torch.tensor([row.backwards for row in rows]),
        seconds=torch.tensor([_spent(row.seconds) for row in rows]).double(),
    )


def _case(images: Sequence[Encoded], cell: Cell, byte_image: Tensor, **facts: Tensor | None) -> Case:
    device = cell.centre.device
    bitstreams = [image.bitstream for image in images]
    return Case(
        images=tuple(image.name for image in images),
        reconstruction=byte_image.to(device),
        original=torch.cat([image.original for image in images]).to(device),
        decoded=to_bytes(cell.centre),
        recode=partial(_recoded, bitstreams[0]),
        streams=tuple(bitstream.stream for bitstream in bitstreams),
        file_bits=torch.tensor([8 * len(bitstream.data) for bitstream in bitstreams]),
        cell=cell,
        **facts,
    )


def _spent(seconds: Mapping[str, float]) -> float:
    return seconds["solve"] + seconds["certify"]


def _recoded(bitstream: Bitstream, byte_image: Tensor) -> Tensor:
    """What the bitstream's codec makes of images of its size."""
    encoder = bitstream.codec.encoder
    with torch.no_grad():
        return to_bytes(encoder.decode(encoder.encode(to_float(byte_image)), bitstream.contained_size))


def measure(metrics: Iterable[Metric], case: Case) -> list[Values]:
    """The image metrics among `metrics`, for each of the case's B images."""
    found = {metric.name: metric.measure(case).tolist() for metric in metrics if isinstance(metric, ImageMetric)}
    return [{name: values[b] for name, values in found.items()} for b in range(len(case))]


def watches_memory(metrics: Iterable[Metric]) -> bool:
    """One of them asks for the peak."""
    return any(metric.spec.name == "peak-memory" for metric in metrics)


def finite_or_none(values: Mapping[str, float]) -> dict[str, float | None]:
    """As JSON has them: None for nan and infinity."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
