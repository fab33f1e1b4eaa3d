"""A network from its file alone: spandrel recognises the architecture by the names and shapes of its tensors."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

import torch
from spandrel import MAIN_REGISTRY, ImageModelDescriptor, ModelDescriptor, UnsupportedModelError
from torch import Tensor, nn

from idemcore.errors import InputError
from idemcore.weights.checkpoints import read_state_dict
from idemcore.weights.store import locate

Network: TypeAlias = ImageModelDescriptor[nn.Module]
HINT = "Give generator.model=FILE, or an id that `idem models` lists."


def load(model: str) -> Network:
    """The network of an id or a file, frozen, float32, on the CPU. Nothing that the file holds is run.

    Raises MissingError if it is not there, InputError if it cannot be read or spandrel does not know it.
    """
    path = locate(model)
    return recognised(read_state_dict(path, HINT), path)


def recognised(state: Mapping[str, Tensor], where: Path | str) -> Network:
    """The network whose layout a state dict has. Raises InputError for one that restores no RGB or grey images."""
    network = _built(state, where)
    if network is None:  # DnCNN and the first ESRGANs call their layers `model.0`, which looks like a wrapper's prefix
        network = _built({f"model.{name}": value for name, value in state.items()}, where)
    if network is None:
        raise InputError(f"{where} is of no architecture that spandrel {version('spandrel')} knows.", HINT)
    channels = (network.input_channels, network.output_channels)
    if not isinstance(network, ImageModelDescriptor) or channels not in ((3, 3), (1, 1)):
        raise InputError(f"{where} ({network.architecture.name}) makes no image of an image alone.", HINT)
    network.model.eval().requires_grad_(False)
    return network


def _built(state: Mapping[str, Tensor], where: Path | str) -> ModelDescriptor | None:
    """None if spandrel does not know the layout. Raises InputError if it does, and the tensors do not fit."""
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.meshgrid")
            return MAIN_REGISTRY.load(dict(state))
    except UnsupportedModelError:
        return None
    except (RuntimeError, KeyError, IndexError, ValueError, AssertionError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{where} has a layout that spandrel knows, but does not fit it: {reason}.", HINT) from error
