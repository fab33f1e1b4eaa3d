"""Reading weight files, and saying exactly how one differs from the network it should fill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from idemcore.errors import InputError, MissingError


def read_safetensors(path: Path, hint: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata. Raises MissingError with `hint` if the file is not there or cannot be read."""
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error, hint) from error


def read_state_dict(path: Path, hint: str) -> dict[str, Tensor]:
    """A flat state dict from .safetensors, or from a PyTorch file, of which only tensors are unpickled.

    Raises MissingError with `hint` if the file is not there or cannot be read, InputError if it holds something else.
    """
    if path.suffix == ".safetensors":
        return read_safetensors(path, hint)[0]
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises whatever its parsing of damaged bytes meets
        raise _unreadable(path, error, hint) from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"{path} is a PyTorch file, but not a flat dict of named tensors.", hint)
    return content


def _unreadable(path: Path, error: Exception, hint: str) -> MissingError:
    if not path.is_file():
        return MissingError(f"There is no weight file at {path}.", hint)
    told = "" if isinstance(error, LookupError) else str(error)  # that of an unknown opcode is a number
    reason = next(iter(told.splitlines()), "it is damaged or ends too early").rstrip(".")
    return MissingError(f"The weight file {path} cannot be read: {reason}.", hint)


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items()}


def fill(network: nn.Module, state: Mapping[str, Tensor], path: Path, hint: str) -> None:
    """Gives a network (on the meta device or not) its weights as frozen float32.

    Raises InputError that names the keys that are missing, unexpected or of another shape.
    """
    expected, found = shapes_of(network.state_dict()), shapes_of(state)
    shared = expected.keys() & found.keys()
    problems = (
        _problem("missing", sorted(expected.keys() - found.keys())),
        _problem("unexpected", sorted(found.keys() - expected.keys())),
        _problem("misshapen", [f"{k} {found[k]} for {expected[k]}" for k in sorted(shared) if found[k] != expected[k]]),
    )
    if any(problems):
        raise InputError(f"{path} does not fit the network: {'; '.join(p for p in problems if p)}.", hint)
    # Copies lie at aligned addresses, on which the rounding of some kernels depends; a view into a file may not.
    aligned = {key: value.to(torch.float32, copy=True) for key, value in state.items()}
    network.load_state_dict(aligned, assign=True)
    network.eval().requires_grad_(False)


def _problem(kind: str, keys: Sequence[str], shown: int = 3) -> str:
    if not keys:
        return ""
    more = f" and {len(keys) - shown} more" if len(keys) > shown else ""
    return f"{kind} {', '.join(keys[:shown])}{more}"
