"""ELIC as an Encoder, and its training recipe."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from idemcore.learned.encoder import LearnedEncoder
from idemcore.learned.training import train_codec
from idemcore.runtime import Runtime

from .config import ElicConfig
from .library import LIBRARY
from .network import Elic, shape_of


class ElicEncoder(LearnedEncoder):
    """The codec `elic`; its network's widths are read from the weights."""

    def __init__(self, config: ElicConfig, runtime: Runtime) -> None:
        """Raises UsageError, MissingError or InputError if the weights are not here or not ELIC's."""
        path = LIBRARY.locate(config.weights, config.quality)
        model, model_id, error_ratio = LIBRARY.load(path, build)
        super().__init__(model, model_id, runtime, config, error_ratio)


def build(state: Mapping[str, Tensor]) -> Elic:
    """An unfilled network of the shape of these weights."""
    shape = shape_of(state)
    with torch.device("meta"):
        return Elic(shape)


train = partial(train_codec, LIBRARY, Elic)
"""Recipe of `idem train elic`, see `train_codec`."""
