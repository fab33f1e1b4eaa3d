"""Published files as they are stored: what spandrel recognises, by the network's own names."""

from __future__ import annotations

from torch import Tensor

from .networks import recognised


def adapt(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors as they are, with the architecture's name. Raises InputError if spandrel does not know them."""
    network = recognised(state, "the file")
    return state, {"architecture": network.architecture.name}
