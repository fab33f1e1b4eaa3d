"""A network and the settings of its scheduler as a denoiser: DDPM, DDIM and their kin, EDM, flow matching."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from idemcore.errors import InputError, UsageError
from idemcore.networks.continuous import EdmDenoiser, FlowDenoiser
from idemcore.networks.predictions import Network, Prediction, TimestepDenoiser
from idemcore.protocols import DiffusionGenerator
from idemcore.runtime import Runtime

from .config import DiffusersConfig
from .files import load_network, load_scheduler

PREDICTIONS: dict[str, Prediction] = {"epsilon": "eps", "v_prediction": "v", "sample": "x"}
"""From the scheduler's word."""
LEAST_ABAR = 1e-5
"""Timesteps with less signal are left out: schedules of zero terminal SNR end in pure noise, of infinite level."""


def prior(config: DiffusersConfig, runtime: Runtime) -> DiffusionGenerator:
    """The denoiser of a model. Raises MissingError if it is not here, InputError or UsageError for one that is none."""
    module, scheduler = load_network(config.model), load_scheduler(config.model)
    channels = (module.config.in_channels, module.config.out_channels or module.config.in_channels)
    if channels not in ((3, 3), (3, 6)):
        hint = "A latent model works behind its autoencoder only; bring one of pixels."
        raise InputError(f"{config.model} takes {channels[0]} channels and makes {channels[1]}, not RGB.", hint)
    network = called(module.to(runtime.device, runtime.dtype).eval().requires_grad_(False), label_of(module, config))
    shape = {"multiple": multiple_of(module), "size": size_of(module), "dtype": runtime.dtype}
    return denoiser(network, scheduler, config.model, shape)


def denoiser(network: Network, scheduler: dict[str, Any], model: str, shape: dict[str, Any]) -> DiffusionGenerator:
    """Around a network, as the scheduler's settings say that it was trained."""
    kind, predicts = str(scheduler.get("_class_name")), str(scheduler.get("prediction_type", "epsilon"))
    if kind.startswith("FlowMatch"):
        steps = scheduler.get("num_train_timesteps", 1000)
        return FlowDenoiser(network, time=lambda t: steps * t, **shape)
    if kind.startswith("EDM"):
        sign = -1 if predicts == "v_prediction" else 1
        levels = {f"sigma_{end}": scheduler[f"sigma_{end}"] / 2 for end in ("min", "max")}
        return EdmDenoiser(lambda z, t: sign * network(z, t), scheduler.get("sigma_data", 0.5), **levels, **shape)
    if predicts not in PREDICTIONS:
        raise InputError(f"The network of {model} predicts '{predicts}'.", f"Known: {', '.join(PREDICTIONS)}.")
    abar = alphas_of(scheduler, model)
    return TimestepDenoiser(network, abar[abar >= LEAST_ABAR], PREDICTIONS[predicts], **shape)


def alphas_of(scheduler: Mapping[str, Any], model: str) -> Tensor:
    """Float64 [T], abar of DDPM's timesteps. Raises InputError for a scheduler that has no betas, of another family."""
    if "beta_schedule" not in scheduler:
        text = f"The scheduler of {model} is a {scheduler.get('_class_name')}, which is not known."
        raise InputError(text, "Known are DDPM and all that share its betas, EDM, and flow matching.")
    return DDPMScheduler.from_config(scheduler).alphas_cumprod.double()


def called(module: Any, label: int | None) -> Network:
    """The module as a function of z [B,3,H,W] and time [B] alone."""

    def network(z: Tensor, t: Tensor) -> Tensor:
        named: dict[str, Any] = {}
        if label is not None:
            named["class_labels"] = torch.full((len(z),), label, device=z.device)
        if width := context_of(module):
            named["encoder_hidden_states"] = z.new_zeros(len(z), 1, width)
        return module(z, t.to(z.device), **named).sample

    return network


def context_of(module: Any) -> int:
    """Width of the text that the network is told, as it comes from its encoder; 0 for one without."""
    config = module.config
    width = getattr(config, "encoder_hid_dim", None) or getattr(config, "cross_attention_dim", None) or 0
    return int(width[0] if isinstance(width, list | tuple) else width)


def label_of(module: Any, config: DiffusersConfig) -> int | None:
    """The class that the network is told; None for one without classes. Raises UsageError for one that is none."""
    null = getattr(module.config, "num_embeds_ada_norm", None)  # a DiT has one class more: that of no class
    classes = null or getattr(module.config, "num_class_embeds", None)
    if not classes:
        if config.label >= 0:
            raise UsageError(f"{config.model} knows no classes.", "Leave generator.label out.")
        return None
    label = null if config.label == -1 else config.label
    if label is None or not 0 <= label <= (null or classes - 1):
        raise UsageError(
            f"generator.label is {config.label}; {config.model} knows classes 0 to {classes - 1}.",
            "Say which: --set generator.label=N.",
        )
    return int(label)


def multiple_of(module: Any) -> int:
    """The sides that the network takes are multiples of this."""
    widths = getattr(module.config, "block_out_channels", None)
    return 2 ** (len(widths) - 1) if widths else int(module.config.patch_size)


def size_of(module: Any) -> tuple[int, int] | None:
    """(H, W) of a transformer, whose positions are those of one size; None for a UNet, which takes any."""
    if getattr(module.config, "block_out_channels", None):
        return None
    return module.config.sample_size, module.config.sample_size
