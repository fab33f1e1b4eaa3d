"""The hyperprior models as an Encoder, and their training recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from compressai import ans

from idemcore.learned.config import CodecTrainConfig
from idemcore.learned.encoder import LearnedEncoder
from idemcore.learned.training import train_codec
from idemcore.learned.weights import Library
from idemcore.runtime import Runtime

from .config import HyperpriorConfig
from .network import Hyperprior, network_for

PUBLISHED = ("bmshj2018-hyperprior", "mbt2018-mean")
LIBRARY = Library("hyperprior", Path(__file__).parent / "weights", {name: name for name in PUBLISHED})


class HyperpriorEncoder(LearnedEncoder):
    """The codec `hyperprior`; kind and widths of its network are read from the weights."""

    def __init__(self, config: HyperpriorConfig, runtime: Runtime) -> None:
        """Raises UsageError, MissingError or InputError if the weights are not here or not a hyperprior model's."""
        path = LIBRARY.locate(config.weights, config.quality)
        model, model_id = LIBRARY.load(path, network_for)
        super().__init__(model, model_id, ans, runtime, config)


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
    """Recipe of `idem train hyperprior`, see `train_codec`."""
    return train_codec("hyperprior", Hyperprior, data, out, config, device, progress)
