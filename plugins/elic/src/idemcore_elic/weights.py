"""Published ELIC checkpoints: their layout, checked key by key, and what is kept of them."""

from __future__ import annotations

from torch import Tensor

from idemcore.learned.published import keep_parameters
from idemcore.learned.weights import codec_metadata
from idemcore.weights.checkpoints import check_layout, modern_names

from .encoder import build
from .library import LIBRARY

WHERE = "The checkpoint"


def adapt(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """From the state dict of a published file to tensors and metadata to store. Raises InputError.

    The masks of the checkerboard are constants of the network: of the file's, only the shapes are looked at.
    """
    state = modern_names(state)
    masks = {key: value for key, value in state.items() if key.endswith(".mask")}
    kept = keep_parameters({key: value for key, value in state.items() if key not in masks}, build, WHERE)
    contexts = [key for key in kept if key.startswith("context_prediction.") and key.endswith(".weight")]
    shapes = {key.removesuffix("weight") + "mask": tuple(kept[key].shape) for key in contexts}
    check_layout(masks, shapes, WHERE)
    return kept, codec_metadata(kept, LIBRARY.name)
