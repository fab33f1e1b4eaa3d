"""CompressAI's published checkpoints: their layout, checked key by key, and what is kept of them."""

from __future__ import annotations

from torch import Tensor

from idemcore.learned.published import keep_parameters
from idemcore.learned.weights import codec_metadata
from idemcore.weights.checkpoints import modern_names

from .library import LIBRARY
from .zoo import network_for


def adapt(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """From the state dict of a published file to tensors and metadata to store. Raises InputError.

    The mask of an autoregressive context is a constant of the network, and is left out.
    """
    state = {key: value for key, value in modern_names(state).items() if key != "context_prediction.mask"}
    kept = keep_parameters(state, network_for, "The checkpoint")
    return kept, codec_metadata(kept, LIBRARY.name)
