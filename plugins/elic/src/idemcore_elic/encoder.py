"""ELIC as an Encoder, and its training recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from idemcore.learned.config import CodecTrainConfig
from idemcore.learned.encoder import LearnedEncoder
from idemcore.learned.training import train_codec
from idemcore.learned.weights import Library
from idemcore.runtime import Runtime

from .config import ElicConfig
from .network import Elic, shape_of
from .rans import range_coder

LIBRARY = Library("elic", Path(__file__).parent / "weights", {"chandelier": "elic-chandelier"})


class ElicEncoder(LearnedEncoder):
    """The codec `elic`; its network's widths are read from the weights."""

    def __init__(self, config: ElicConfig, runtime: Runtime) -> None:
        """Raises UsageError, MissingError or InputError if the weights are not here or not ELIC's."""
        path = LIBRARY.locate(config.weights, config.quality)
        model, model_id = LIBRARY.load(path, build)
        super().__init__(model, model_id, range_coder(), runtime, config)


def build(state: Mapping[str, Tensor]) -> Elic:
    """An unfilled network of the shape of these weights."""
    shape = shape_of(state)
    with torch.device("meta"):
        return Elic(shape)


def identify(model_id: bytes, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """The settings that decode a container of this model, or None."""
    return LIBRARY.identify(model_id, settings)


def train(
    data: Path,
    out: Path,
    config: CodecTrainConfig,
    device: torch.device,
    progress: Callable[[dict[str, float]], None] = lambda _: None,
) -> Path:
    """Recipe of `idem train elic`, see `train_codec`."""
    return train_codec("elic", Elic, data, out, config, device, progress)
