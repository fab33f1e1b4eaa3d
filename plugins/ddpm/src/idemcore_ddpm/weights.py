"""Weights of ADM UNets: the published layouts, and the network of any state dict."""

from __future__ import annotations

import torch
from torch import Tensor

from idemcore.checkpoints import check_layout, fill, read_state_dict, shapes_of
from idemcore.errors import InputError, MissingError
from idemcore.models import locate

from .adm_unet import AdmUNet, AdmUNetConfig, infer_config

FFHQ = AdmUNetConfig(channels=128, multipliers=(1, 1, 2, 2, 4, 4), blocks=1, attention=frozenset({16}))
IMAGENET = AdmUNetConfig(channels=256, multipliers=(1, 1, 2, 2, 4, 4), blocks=2, attention=frozenset({8, 16, 32}))
HINT = "Give the file of its weights with `--set generator.weights=FILE`."


def adapt_ffhq(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Of `ddpm-ffhq`, as it is. Raises InputError naming the keys if `state` has another layout."""
    return _checked(state, FFHQ, "ddpm-ffhq")


def adapt_imagenet(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Of `ddpm-imagenet`, as it is. Raises InputError naming the keys if `state` has another layout."""
    return _checked(state, IMAGENET, "ddpm-imagenet")


def _checked(state: dict[str, Tensor], config: AdmUNetConfig, name: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    check_layout(state, shapes_of(_on_meta(config).state_dict()), f"what should be {name}")
    return state, {}


def load_network(weights: str) -> AdmUNet:
    """The network of stored weights, or of a state dict in a .safetensors or PyTorch file; frozen, float32, on the CPU.

    `weights` is an id of `idem models` or a path. Raises MissingError if they are not here, InputError if they cannot
    be read or are not an ADM UNet's.
    """
    if not weights:
        raise MissingError("This generator comes without weights.", HINT)
    path = locate(weights)
    state = read_state_dict(path, HINT)
    try:
        network = _on_meta(infer_config(shapes_of(state)))
    except KeyError as error:
        raise InputError(f"{path} does not hold an ADM UNet: it has no {error.args[0]}.", HINT) from error
    except (IndexError, ValueError) as error:
        raise InputError(f"{path} does not hold an ADM UNet: {error}.", HINT) from error
    fill(network, state, path, HINT)
    return network


def _on_meta(config: AdmUNetConfig) -> AdmUNet:
    """The layout without the memory."""
    with torch.device("meta"):
        return AdmUNet(config)
