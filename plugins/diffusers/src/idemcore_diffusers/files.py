"""The parts of a pipeline: from a local folder, or from a repository of the Hub that was pulled. Nothing is fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffusers import ConfigMixin, DiTTransformer2DModel, UNet2DConditionModel, UNet2DModel

from idemcore.errors import InputError, MissingError

NETWORKS: dict[str, Any] = {c.__name__: c for c in (UNet2DModel, UNet2DConditionModel, DiTTransformer2DModel)}
PLACES = ("unet", "transformer", "")
"""Subfolders of a network; the folder itself where a network was saved alone."""


def load_network(model: str) -> Any:
    """The network, float32, on the CPU, from .safetensors alone.

    Raises MissingError if there is none here, InputError for one of another class or without .safetensors.
    """
    place, config = find(model, "config.json", PLACES)
    where = where_of(model)
    name = config.get("_class_name")
    if name not in NETWORKS:
        known = ", ".join(NETWORKS)
        raise InputError(f"The network of {model} is a {name}, which is not known here.", f"Bring a {known}.")
    try:
        return from_safetensors(NETWORKS[name], **where, subfolder=place)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"The network of {model} cannot be loaded: {reason}", "Only .safetensors are read.") from error


def from_safetensors(kind: Any, **arguments: Any) -> Any:
    """`kind.from_pretrained` of what is here, in full or else in half precision. Raises what that raises."""
    given = {**arguments, "local_files_only": True, "use_safetensors": True}
    try:
        return kind.from_pretrained(**given)
    except (OSError, ValueError):
        try:
            return kind.from_pretrained(**given, variant="fp16")
        except (OSError, ValueError):
            pass  # what is wrong with the usual files says more
        raise


def load_scheduler(model: str) -> dict[str, Any]:
    """The scheduler's settings. Raises MissingError if there are none here."""
    return find(model, "scheduler_config.json", ("scheduler", ""))[1]


def where_of(model: str) -> dict[str, Any]:
    """A folder, or a repository at a revision: OWNER/NAME@REVISION."""
    name, at, revision = model.partition("@")
    if not at or Path(model).is_dir():
        return {"pretrained_model_name_or_path": model}
    return {"pretrained_model_name_or_path": name, "revision": revision}


def find(model: str, name: str, places: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """The first subfolder that has the file, and its content."""
    mixin: Any = type("Config", (ConfigMixin,), {"config_name": name})
    for place in places:
        try:
            found: dict[str, Any] = mixin.load_config(**where_of(model), subfolder=place or None, local_files_only=True)
        except (OSError, ValueError):
            continue
        return place, found
    raise MissingError(
        f"{model} is not here, or has no {name}.",
        f"Give the folder that save_pretrained wrote, or type `idem models pull hf:{model}`.",
    )
