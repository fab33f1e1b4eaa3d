"""Latent pipelines of diffusers, made ready for single steps from any level.

Nothing is fetched, and no code from elsewhere runs.

What a pipeline does between latents - its network's inputs, guidance, packing, the step itself - it does by its own
`__call__`; here only weights are put in place and the prompt is encoded, once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler, LCMScheduler
from diffusers.utils import is_accelerate_available, is_peft_available, is_transformers_available
from safetensors import SafetensorError
from safetensors.torch import load_file

from idemcore.errors import InputError, MissingError, UsageError
from idemcore.runtime import Runtime

from .config import LatentConfig
from .files import PLACES, find, from_safetensors, where_of
from .levels import Discrete, Flow, Levels, Trigonometric
from .pixel import alphas_of
from .quiet import quiet

UNUSED = ("safety_checker", "feature_extractor", "image_encoder")
"""Parts of pipelines that no restoration uses."""
EXTRA = 'pip install "idemcore-diffusers[latent]"'


def discrete(pipeline: Any) -> Levels:
    """One step of a consistency model, which for other networks ends at their estimate as well."""
    abar = alphas_of(pipeline.scheduler.config, type(pipeline).__name__)
    pipeline.scheduler = LCMScheduler.from_config(pipeline.scheduler.config)
    return Discrete(abar)


def flow(pipeline: Any) -> Levels:
    """One step of Euler's, from the very level that is asked for: schedules are not shifted."""
    plain = {"shift": 1.0, "use_dynamic_shifting": False, "shift_terminal": None}
    pipeline.scheduler = FlowMatchEulerDiscreteScheduler.from_config(pipeline.scheduler.config, **plain)
    return Flow()


@dataclass(frozen=True)
class Kind:
    """What differs between pipelines."""

    encoded: tuple[str, ...]
    """Arguments that `encode_prompt` gives, in its order; "" for one that is not an argument."""
    levels: Callable[[Any], Levels]
    unguided: bool = True
    """`encode_prompt` can leave out what guidance needs."""
    fixed: tuple[tuple[str, Any], ...] = ()
    """More arguments of every call."""


_TEXT = ("prompt_embeds", "negative_prompt_embeds")
_POOLED = ("pooled_prompt_embeds", "negative_pooled_prompt_embeds")
_MASKED = ("prompt_embeds", "prompt_attention_mask")
_AS_IT_IS = (("use_resolution_binning", False),)
KINDS = {
    "StableDiffusionPipeline": Kind(_TEXT, discrete),
    "StableDiffusionXLPipeline": Kind(_TEXT + _POOLED, discrete),
    "StableDiffusion3Pipeline": Kind(_TEXT + _POOLED, flow),
    "FluxPipeline": Kind(("prompt_embeds", "pooled_prompt_embeds", ""), flow, unguided=False),
    "SanaPipeline": Kind((*_MASKED, "negative_prompt_embeds", "negative_prompt_attention_mask"), flow, fixed=_AS_IT_IS),
    "SanaSprintPipeline": Kind(_MASKED, lambda _: Trigonometric(), unguided=False, fixed=_AS_IT_IS),
    "LDMPipeline": Kind((), discrete),
}
"""By the class in model_index.json."""


@dataclass(frozen=True)
class Loaded:
    """A pipeline on its device."""

    pipeline: Any
    levels: Levels
    arguments: dict[str, Any]
    """Of every call: what is known of the prompt."""

    @property
    def autoencoder(self) -> Any:
        return getattr(self.pipeline, "vae", None) or self.pipeline.vqvae

    @property
    def network(self) -> Any:
        return _network(self.pipeline)


def load(config: LatentConfig, runtime: Runtime) -> Loaded:
    """Raises MissingError for what is not here, InputError for another pipeline, UsageError for misfits."""
    kind = kind_of(config.model)
    if kind.encoded and not is_transformers_available():
        raise MissingError(f"{config.model} reads its prompt by the library transformers.", EXTRA)
    _check(config, kind, runtime)
    with quiet(), torch.random.fork_rng(devices=[]):  # networks draw weights before they are read
        return _load(config, kind, runtime)


def _load(config: LatentConfig, kind: Kind, runtime: Runtime) -> Loaded:
    pipeline = _pipeline(config, runtime.dtype)
    if config.network:
        _replace_network(pipeline, config.network)
    if config.lora:
        _merge_lora(pipeline, config.lora)
    arguments = {**dict(kind.fixed), **_prompt(pipeline, kind, config)}
    loaded = Loaded(pipeline, kind.levels(pipeline), arguments)
    _settle(loaded, config, runtime)
    return loaded


def kind_of(model: str) -> Kind:
    """Raises MissingError if it is not here, InputError for a pipeline that is not known."""
    name = find(model, "model_index.json", ("",))[1].get("_class_name")
    if name not in KINDS:
        raise InputError(f"{model} is a {name}, which is not known here.", f"Bring a {', '.join(KINDS)}.")
    return KINDS[name]


def _check(config: LatentConfig, kind: Kind, runtime: Runtime) -> None:
    if (config.prompt or config.guidance > 1) and not kind.encoded:
        raise UsageError(f"{config.model} reads no text.", "Leave generator.prompt and generator.guidance out.")
    if config.offload != "none" and runtime.device.type == "cpu":
        raise UsageError("generator.offload keeps weights from an accelerator; this is a CPU.", "Leave it out.")
    if config.offload != "none" and not is_accelerate_available():
        raise MissingError("generator.offload needs the library accelerate.", EXTRA)
    if config.lora and not is_peft_available():
        raise MissingError("generator.lora needs the library peft.", EXTRA)


def _pipeline(config: LatentConfig, dtype: torch.dtype) -> Any:
    index = find(config.model, "model_index.json", ("",))[1]
    absent = {name: None for name, kind in index.items() if name in UNUSED or kind == [None, None]}
    try:
        return from_safetensors(DiffusionPipeline, **where_of(config.model), **absent, torch_dtype=dtype)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise _unreadable(config.model, error) from error


def _replace_network(pipeline: Any, model: str) -> None:
    """By the weights of another, such as a distilled one."""
    name = "unet" if hasattr(pipeline, "unet") else "transformer"
    own = _network(pipeline)
    try:
        if model.endswith(".safetensors"):
            own.load_state_dict(load_file(model))
            return
        inner, config = find(model, "config.json", PLACES)
        if config.get("_class_name") != type(own).__name__:
            raise InputError(
                f"The network of {model} is a {config.get('_class_name')}, not a {type(own).__name__}.", ""
            )
        other = from_safetensors(type(own), **where_of(model), subfolder=inner, torch_dtype=own.dtype)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise _unreadable(model, error) from error
    pipeline.register_modules(**{name: other})


def _merge_lora(pipeline: Any, lora: str) -> None:
    try:
        where = where_of(lora)
        name = where.pop("pretrained_model_name_or_path")
        path = Path(name)
        more = {"weight_name": path.name} if path.is_file() else {}
        pipeline.load_lora_weights(str(path.parent) if more else name, **more, **where, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise _unreadable(lora, error) from error
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()


@torch.no_grad()
def _prompt(pipeline: Any, kind: Kind, config: LatentConfig) -> dict[str, Any]:
    """What its call is given of the prompt; after this its text encoders, often the largest part, are let go."""
    if not kind.encoded:
        return {}
    usual = {name: one.default for name, one in signature(type(pipeline).__call__).parameters.items()}
    wanted = {
        **usual, "prompt": config.prompt, "device": torch.device("cpu"),
        "do_classifier_free_guidance": kind.unguided and config.guidance > 1,
    }  # fmt: skip
    names = signature(pipeline.encode_prompt).parameters
    found = pipeline.encode_prompt(**{name: wanted[name] for name in names if name in wanted})
    for name in [name for name in pipeline.components if name.startswith(("text_encoder", "tokenizer"))]:
        pipeline.register_modules(**{name: None})
    given = {key: value for key, value in zip(kind.encoded, found, strict=True) if key and value is not None}
    return {**given, "guidance_scale": config.guidance}


def _settle(loaded: Loaded, config: LatentConfig, runtime: Runtime) -> None:
    """Moves it to the device, frozen and silent."""
    pipeline = loaded.pipeline
    pipeline.set_progress_bar_config(disable=True)
    for module in (loaded.autoencoder, loaded.network):
        module.eval().requires_grad_(False)
    if config.vae_tiling:
        loaded.autoencoder.enable_tiling()
    if config.offload == "model":
        pipeline.enable_model_cpu_offload(device=runtime.device)
    elif config.offload == "sequential":
        pipeline.enable_sequential_cpu_offload(device=runtime.device)
    else:
        pipeline.to(runtime.device)
    for key, value in loaded.arguments.items():
        if isinstance(value, torch.Tensor):
            loaded.arguments[key] = value.to(runtime.device)


def _network(pipeline: Any) -> Any:
    return getattr(pipeline, "unet", None) or pipeline.transformer


def _unreadable(model: str, error: Exception) -> InputError:
    reason = str(error).strip().splitlines()[0][:300]
    return InputError(f"{model} cannot be loaded: {reason}", "Only .safetensors of a matching network are read.")
