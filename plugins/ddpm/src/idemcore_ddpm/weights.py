"""Weights of ADM UNets: the published layouts, and the network of any state dict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from idemcore.errors import InputError, MissingError
from idemcore.weights.checkpoints import check_layout, fill, read_safetensors, read_state_dict, shapes_of
from idemcore.weights.store import locate

from .adm_unet import AdmUNet, AdmUNetConfig, infer_config
from .config import PREDICTIONS

FFHQ = AdmUNetConfig(channels=128, multipliers=(1, 1, 2, 2, 4, 4), blocks=1, attention=frozenset({16}))
IMAGENET = AdmUNetConfig(channels=256, multipliers=(1, 1, 2, 2, 4, 4), blocks=2, attention=frozenset({8, 16, 32}))
HINT = "Give the file of its weights with `--set generator.weights=FILE`."
BUNDLED = Path(__file__).parent / "weights" / "ddpm-faces64.safetensors"
TRAIN_HINT = "Train one with `idem train adm DATA --out DIR` and add `--set generator.weights=DIR/weights.safetensors`."


@dataclass(frozen=True)
class Trained:
    """What weights of `idem train adm` say of themselves; the defaults are those of the published checkpoints."""

    schedule: str = "linear"
    steps: int = 1000
    side: int = 0
    """Of the images, pixels; 0 if they do not say it, and then any size is taken."""
    groups: int = 32
    """Of normalisations."""
    predicts: str = "noise"
    """`noise`, or `v` = sqrt(abar) noise - sqrt(1 - abar) x0."""

    @classmethod
    def of(cls, metadata: Mapping[str, str]) -> Trained:
        """Raises ValueError if a number is none, or for something else that is predicted."""
        predicts = metadata.get("predicts", "noise")
        if predicts not in PREDICTIONS:
            raise ValueError(f"it predicts {predicts!r}, not one of {', '.join(PREDICTIONS)}")
        numbers = {key: int(metadata[key]) for key in ("steps", "side", "groups") if key in metadata}
        return cls(metadata.get("schedule", "linear"), predicts=predicts, **numbers)


def adapt_ffhq(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Of `ddpm-ffhq`, as it is. Raises InputError naming the keys if `state` has another layout."""
    return _checked(state, FFHQ, "ddpm-ffhq")


def adapt_imagenet(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Of `ddpm-imagenet`, as it is. Raises InputError naming the keys if `state` has another layout."""
    return _checked(state, IMAGENET, "ddpm-imagenet")


def _checked(state: dict[str, Tensor], config: AdmUNetConfig, name: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    check_layout(state, shapes_of(_on_meta(config).state_dict()), f"what should be {name}")
    return state, {}


def load_network(weights: str) -> tuple[AdmUNet, Trained]:
    """The network of stored weights, or of a state dict in a .safetensors or PyTorch file; frozen, float32, on the CPU.

    `weights` is `bundled`, an id of `idem models` or a path. Raises MissingError if they are not here, InputError if
    they cannot be read or are not an ADM UNet's.
    """
    if not weights:
        raise MissingError("This generator comes without weights.", HINT)
    path, hint = (BUNDLED, TRAIN_HINT) if weights == "bundled" else (locate(weights), HINT)
    state, metadata = _read(path, hint)
    try:
        said = Trained.of(metadata)
        network = _on_meta(infer_config(shapes_of(state), said.groups))
    except KeyError as error:
        raise InputError(f"{path} does not hold an ADM UNet: it has no {error.args[0]}.", hint) from error
    except (IndexError, ValueError) as error:
        raise InputError(f"{path} does not hold an ADM UNet: {error}.", hint) from error
    fill(network, state, path, hint)
    return network, said


def _read(path: Path, hint: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """State dict and metadata, which a PyTorch file has not."""
    return read_safetensors(path, hint) if path.suffix == ".safetensors" else (read_state_dict(path, hint), {})


def _on_meta(config: AdmUNetConfig) -> AdmUNet:
    """The layout without the memory."""
    with torch.device("meta"):
        return AdmUNet(config)
