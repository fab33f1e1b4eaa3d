"""The hyperprior models as an Encoder, and their training recipe."""

from __future__ import annotations

from functools import partial

from idemcore.learned.encoder import LearnedEncoder
from idemcore.learned.training import train_codec
from idemcore.runtime import Runtime

from .config import HyperpriorConfig
from .library import LIBRARY
from .network import Hyperprior
from .zoo import network_for


class HyperpriorEncoder(LearnedEncoder):
    """The codec `hyperprior`; kind and widths of its network are read from the weights."""

    def __init__(self, config: HyperpriorConfig, runtime: Runtime) -> None:
        """Raises UsageError, MissingError or InputError if the weights are not here or not a hyperprior model's."""
        path = LIBRARY.locate(config.weights, config.quality)
        model, model_id, error_ratio = LIBRARY.load(path, network_for)
        super().__init__(model, model_id, runtime, config, error_ratio)


train = partial(train_codec, LIBRARY, Hyperprior)
"""Recipe of `idem train hyperprior`, see `train_codec`."""
