"""What training programs wrap around a state dict, taken off again: one place for every plugin.

    {"epoch": 3, "args": Namespace, "model": ..., "ema": {"module._orig_mod.conv.weight": ...}}  ->  conv.weight

Averaged weights (EMA) are preferred to those of the last step, since those are what papers evaluate.
"""  # fmt: skip

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import InputError
from .pickled import is_module, module_state

AVERAGED = (
    "ema", "model_ema", "ema_model", "params_ema", "state_dict_ema", "ema_state_dict", "model_state_dict_ema", "g_ema",
    "G_ema", "net_ema", "netG_ema", "generator_ema", "ema_params", "averaged_model", "averaged",
)  # fmt: skip
"""Entries, or first parts of names, that hold averaged weights."""
PLAIN = (
    "state_dict", "model_state_dict", "model", "params", "net", "network", "module", "weights", "online_model",
    "generator", "netG", "unet", "denoiser", "denoise_fn", "diffusion_model",
)  # fmt: skip
"""Entries that hold the weights of the last step, the outermost first."""
COUNTERS = frozenset({"decay", "num_updates"})
"""What an average counts, among its weights."""
PREFIXES = frozenset({*AVERAGED, *PLAIN, "_orig_mod", "_fsdp_wrapped_module"})
"""First parts of names that wrappers add."""
INSERTED = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""What PyTorch's own wrappers insert anywhere in a name; no network has a part of this name."""
BESIDE = frozenset(
    {"loss", "loss_fn", "criterion", "perceptual_loss", "lpips", "discriminator", "first_stage_model",
     "cond_stage_model", "metrics", "optimizer", "opt", "scheduler"}
)  # fmt: skip
"""First parts of names that belong to training, not to the network."""


@dataclass(frozen=True)
class Unwrapped:
    """A state dict by the network's own names."""

    state: dict[str, Any]
    """Still to be checked: values may be other than tensors."""
    averaged: str = ""
    """The entry that holds the averaged weights, if those are what `state` has."""
    left_out: tuple[str, ...] = ()
    """Other entries that hold weights of the same network."""
    unnamed: str = ""
    """An entry of averaged weights that could not be used, as it has no names."""

    @property
    def note(self) -> str:
        """What a user should know, or ""."""
        if self.averaged:
            others = f", not those in {' or '.join(map(repr, self.left_out))}" if self.left_out else ""
            return f"the averaged weights in {self.averaged!r} are used{others}"
        if self.unnamed:
            return f"the averaged weights in {self.unnamed!r} have no names and are left out; the last step's are used"
        return ""


def unwrap(content: Any, where: str | Path, hint: str = "") -> Unwrapped:
    """The state dict in what a file holds, whatever is wrapped around it.

    Containers are taken off first, then what all names begin with. Entries that are no tensors are passed over.
    Raises InputError, which begins with `where`, if there is none, or several of which none is known to be preferable.
    """
    try:
        found = _inside(content, {})
    except RecursionError:
        found = None
    except _Several as error:
        message = f"{where} holds several sets of weights: {error}."
        raise InputError(message, "Save the one to use in a file of its own.") from error
    if found is None or not found.state:
        raise InputError(f"{where} holds no state dict: no named tensors.", hint)
    return _without_prefixes(found)


class _Several(Exception):
    """Names the entries to choose from."""


def _inside(content: Any, seen: dict[int, Unwrapped | None]) -> Unwrapped | None:
    """`seen`: what earlier calls found, by id; a container inside itself holds nothing."""
    if id(content) not in seen:
        seen[id(content)] = None
        seen[id(content)] = _opened(content, seen)
    return seen[id(content)]


def _opened(content: Any, seen: dict[int, Unwrapped | None]) -> Unwrapped | None:
    if is_module(content):
        return Unwrapped(module_state(content))
    if not isinstance(content, Mapping):
        return None
    entries = {
        key: value for key, value in (content or getattr(content, "__dict__", {})).items() if isinstance(key, str)
    }
    tensors = {key: value for key, value in entries.items() if isinstance(value, Tensor)}
    if any("." in key for key in tensors):  # names of parameters, beside which containers are only company
        return Unwrapped(tensors)
    if inner := {key: found for key, value in entries.items() if (found := _inside(value, seen))}:
        return _preferred(inner, entries)
    return Unwrapped(tensors) if tensors else None


def _preferred(inner: Mapping[str, Unwrapped], entries: Mapping[str, Any]) -> Unwrapped:
    """Averaged weights before others, and known entries before unknown ones."""
    plain = [name for name in PLAIN if name in inner]
    averaged = [name for name in AVERAGED if name in inner and _is_of(inner[name], [inner[other] for other in plain])]
    known = [*averaged, *plain]
    if not known:
        return _only(inner)
    first, *others = known
    found = inner[first]
    if first in AVERAGED:
        return replace(found, averaged=found.averaged or first, left_out=(*found.left_out, *others))
    return replace(found, unnamed=found.unnamed or next((name for name in AVERAGED if _holds(entries, name)), ""))


def _is_of(averaged: Unwrapped, plain: Sequence[Unwrapped]) -> bool:
    """Is it a network's, and not the settings and counters of an average that is elsewhere?"""
    dotted = any("." in name for name in averaged.state)
    return dotted or not plain or any(averaged.state.keys() & one.state.keys() for one in plain)


def _holds(entries: Mapping[str, Any], name: str) -> bool:
    value = entries.get(name)
    return isinstance(value, Tensor) or bool(value)


def _only(inner: Mapping[str, Unwrapped]) -> Unwrapped:
    """The one entry by an unknown name whose tensors are named as parameters are."""
    weights = {name: found for name, found in inner.items() if any("." in key for key in found.state)} or inner
    if len(weights) > 1:
        raise _Several(", ".join(list(weights)[:5]))
    return next(iter(weights.values()))


def _without_prefixes(found: Unwrapped) -> Unwrapped:
    """Takes off what wrappers put before all names, however many of them there are."""
    state = {_without_inserted(name): value for name, value in found.state.items()}
    while step := _narrower(state):
        averaged, state = step
        if averaged and not found.averaged:
            left_out = tuple(sorted(_groups(found.state).keys() & set(PLAIN)))
            found = replace(found, averaged=averaged, left_out=left_out)
    return replace(found, state=state)


def _without_inserted(name: str) -> str:
    for part in INSERTED:
        name = name.replace(part, "")
    return name


def _narrower(state: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """The group of averaged weights, or that of the only prefix, and the former's name; None if neither is there."""
    groups = _groups(state)
    for name in AVERAGED:
        if name in groups and (names := _unflattened(groups, name)):
            return name, names
    if any(name.startswith("diffusion_model.") for name in groups.get("model", {})):
        return "", groups["model"]
    own = groups.keys() - BESIDE
    loose = [value for name, value in state.items() if "." not in name]
    if len(own) == 1 and own <= PREFIXES and all(value.ndim <= 1 for value in loose):
        return "", groups[own.pop()]
    return None


def _groups(state: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Dotted names by their first part, without it."""
    groups: dict[str, dict[str, Any]] = {}
    for name, value in state.items():
        first, dot, rest = name.partition(".")
        if dot:
            groups.setdefault(first, {})[rest] = value
    return groups


def _unflattened(groups: Mapping[str, dict[str, Any]], averaged: str) -> dict[str, Any]:
    """The averaged weights of this group by their names; {} if they cannot be told.

    Some programs take the dots out of these names: they are put back by the names in the group of the last step.
    """
    group = groups[averaged]
    if any("." in name for name in group):
        return group
    for plain in (groups[name] for name in PLAIN if name in groups):
        short = {name.replace(".", ""): name for name in plain}
        averages = group.keys() - COUNTERS
        if len(short) == len(plain) and averages and averages <= short.keys():  # buffers have no average
            return {name: group.get(key, plain[name]) for key, name in short.items()}
    return {}
