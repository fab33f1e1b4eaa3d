"""Weights of ADM UNets: the published layouts, and the network of any state dict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from idemcore.errors import InputError, MissingError, UsageError
from idemcore.weights.checkpoints import check_layout, fill, read_weights, shapes_of
from idemcore.weights.store import locate

from .adm_unet import AdmUNet, AdmUNetConfig, AttentionOrder, infer_config
from .config import ATTENTION_ORDERS, PREDICTIONS, SCHEDULES, AdmConfig

FFHQ = AdmUNetConfig(channels=128, multipliers=(1, 1, 2, 2, 4, 4), blocks=1, attention=frozenset({16}))
IMAGENET = AdmUNetConfig(channels=256, multipliers=(1, 1, 2, 2, 4, 4), blocks=2, attention=frozenset({8, 16, 32}))
PUBLISHED = {
    "side": "256", "schedule": "linear", "steps": "1000", "predicts": "noise", "head_channels": "64",
    "attention_order": "legacy",
}  # fmt: skip
"""What the two published files cannot say of themselves."""
HINT = "Give the file of its weights with `--set generator.weights=FILE`."
BUNDLED = Path(__file__).parent / "weights" / "ddpm-faces64.safetensors"
TRAIN_HINT = "Train one with `idem train adm DATA --out DIR` and add `--set generator.weights=DIR/weights.safetensors`."


@dataclass(frozen=True)
class Trained:
    """What is known of a network beside its shape; no shape tells any of it."""

    schedule: str = ""
    """Empty if unknown."""
    steps: int = 1000
    side: int = -1
    """Of the images, pixels; 0 if any size is taken, -1 if unknown."""
    groups: int = 32
    """Of normalisations."""
    predicts: str = "noise"
    """`noise`, or `v` = sqrt(abar) noise - sqrt(1 - abar) x0."""
    heads: int = 0
    """Of attention; 0 if `head_channels` says it, or if unknown."""
    head_channels: int = 0
    attention_order: str = ""
    """Empty if unknown."""

    @classmethod
    def of(cls, metadata: Mapping[str, str]) -> Trained:
        """Raises ValueError if a number is none, or for a word that is none of those known."""
        numbers = {key: int(metadata[key]) for key in ("steps", "side", "groups", *HEADS) if key in metadata}
        words = {key: _one_of(key, metadata[key], known) for key, known in WORDS.items() if key in metadata}
        if "schedule" in words and not HEADS & numbers.keys():
            # Weights that `idem train adm` wrote before it noted these two: it never had others.
            numbers["head_channels"], words["attention_order"] = 64, "legacy"
        return cls(**words, **numbers)  # type: ignore[arg-type]

    def with_settings(self, config: AdmConfig) -> Trained:
        """What the settings say comes before what the weights say."""
        given = {key: value for key in ("schedule", "steps", "attention_order") if (value := getattr(config, key))}
        if config.side >= 0:
            given["side"] = config.side
        if config.heads or config.head_channels:
            given |= {"heads": config.heads, "head_channels": config.head_channels}
        return replace(self, **given)

    def unknown(self, attends: bool) -> list[str]:
        """The settings to ask for, with the values of ADM's published networks for images of 256x256."""
        asked = {
            "schedule=linear": not self.schedule,
            "side=256": self.side < 0,
            "head_channels=64": attends and not (self.heads or self.head_channels),
            "attention_order=legacy": attends and not self.attention_order,
        }
        return [setting for setting, missing in asked.items() if missing]


HEADS = frozenset({"heads", "head_channels"})
WORDS = {"schedule": SCHEDULES, "predicts": PREDICTIONS, "attention_order": ATTENTION_ORDERS}


def _one_of(key: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        raise ValueError(f"its {key} is {value!r}, not one of {', '.join(known)}")
    return value


def adapt_ffhq(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Takes weights of `ddpm-ffhq` as they are. Raises InputError naming the keys of another layout."""
    return _checked(state, FFHQ, "ddpm-ffhq")


def adapt_imagenet(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Takes weights of `ddpm-imagenet` as they are. Raises InputError naming the keys of another layout."""
    return _checked(state, IMAGENET, "ddpm-imagenet")


def _checked(state: dict[str, Tensor], config: AdmUNetConfig, name: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    check_layout(state, shapes_of(_on_meta(config).state_dict()), f"what should be {name}")
    return state, PUBLISHED


def load_network(config: AdmConfig) -> tuple[AdmUNet, Trained]:
    """The network of stored weights, or of a state dict in a .safetensors or PyTorch file; frozen, float32, on the CPU.

    `config.weights` is `bundled`, an id of `idem models` or a path. Raises MissingError if they are not here,
    InputError if they cannot be read or are not an ADM UNet's, UsageError naming settings that they need and that are
    not given.
    """
    if not config.weights:
        raise MissingError("This generator comes without weights.", HINT)
    path, hint = (BUNDLED, TRAIN_HINT) if config.weights == "bundled" else (locate(config.weights), HINT)
    state, metadata = read_weights(path, hint)
    try:
        shape = infer_config(shapes_of(state))
        said = Trained.of(metadata).with_settings(config)
        _ask(path, said.unknown(_attends(shape)))
        network = _on_meta(_with_facts(shape, said))
    except KeyError as error:
        raise InputError(f"{path} does not hold an ADM UNet: it has no {error.args[0]}.", hint) from error
    except (IndexError, ValueError) as error:
        raise InputError(f"{path} does not hold an ADM UNet: {error}.", hint) from error
    fill(network, state, path, hint)
    return network, said


def _ask(path: Path, settings: list[str]) -> None:
    if settings:
        names = ", ".join(setting.partition("=")[0] for setting in settings)
        typed = " ".join(f"--set generator.{setting}" for setting in settings)
        raise UsageError(
            f"{path} does not say how it was trained: {names}; with other values its images would be wrong.",
            f"ADM's published 256x256 networks need `{typed}`, or bring them by `idem models import ddpm-ffhq FILE`.",
        )


def _attends(shape: AdmUNetConfig) -> bool:
    return bool(shape.attention) or shape.middle_attention


def _with_facts(shape: AdmUNetConfig, said: Trained) -> AdmUNetConfig:
    order: AttentionOrder = "new" if said.attention_order == "new" else "legacy"
    channels = said.head_channels or shape.head_channels
    return replace(shape, groups=said.groups, heads=said.heads, head_channels=channels, attention_order=order)


def _on_meta(config: AdmUNetConfig) -> AdmUNet:
    """The layout without the memory."""
    with torch.device("meta"):
        return AdmUNet(config)
