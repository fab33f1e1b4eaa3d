"""Checkpoints: reading weight files without running any of them, checking their layout, and storing them.

    .safetensors, .pt, .pth.tar -> read_weights -> modern_names -> check_layout -> write_safetensors, or fill

Only named tensors are read from a PyTorch file, whatever is wrapped around them. A file that wants to run code is
refused.
"""  # fmt: skip

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import IdemError, IdemWarning, InputError, MissingError, article
from ..io.files import replacing
from .pickled import load_pickled
from .unwrapping import unwrap

SHOWN = 3
"""Keys of each kind that an error names; it counts the others."""

_OLD_NAME = re.compile(r"entropy_bottleneck\._(matrix|matrices|bias|biases|factor|factors)\.?(\d+)")
_PLURAL = {"matrix": "matrices", "bias": "biases", "factor": "factors"}


def read_safetensors(path: Path, hint: str = "") -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by the file's own names, on the CPU, and metadata.

    Raises MissingError with `hint` if the file is not there, InputError if it cannot be read or a value is not finite.
    """
    _peek(path, hint)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, "it is damaged or ends too early", hint) from error
    check_values(tensors, path, hint)
    return tensors, metadata


def read_weights(path: Path, hint: str = "") -> tuple[dict[str, Tensor], dict[str, str]]:
    """The state dict of a .safetensors or PyTorch file, and the metadata of the former.

    What training programs wrap around it is taken off, see `unwrapping.unwrap`. If averaged weights are chosen among
    others, an IdemWarning says so.

    Raises MissingError with `hint` if the file is not there, InputError if it cannot be read, wants to run code, holds
    something else, or a value is not finite. The tensors are on the CPU and may be mapped from the file: it must stay
    until they are used.
    """
    head = _peek(path, hint)
    metadata: dict[str, str] = {}
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        content, metadata = read_safetensors(path, hint)
    else:
        content = load_pickled(path, hint)
    return unwrapped(content, path, hint), metadata


def read_state_dict(path: Path, hint: str = "") -> dict[str, Tensor]:
    """The tensors of `read_weights`."""
    return read_weights(path, hint)[0]


def unwrapped(content: Any, path: Path, hint: str = "") -> dict[str, Tensor]:
    """The state dict in what the file at `path` holds, checked, by the network's own names.

    Raises InputError as `read_weights` does. An IdemWarning tells which weights were chosen.
    """
    found = unwrap(content, path, hint)
    if found.note:
        warnings.warn(f"{path}: {found.note}", IdemWarning, stacklevel=2)
    for name, value in found.state.items():
        if not isinstance(value, Tensor):
            raise InputError(
                f"{path} holds no state dict: its entry {name!r} is {article(type(value).__name__)}.", hint
            )
    check_values(found.state, path, hint)
    return {name: value.detach() for name, value in found.state.items()}


def check_values(state: Mapping[str, Tensor], path: Path | str, hint: str = "") -> None:
    """Raises InputError naming a tensor that holds less than its shape claims, or a value that is not finite."""
    for name, value in state.items():
        if fault := _unusable(value):
            raise InputError(f"{path} holds no usable weights: {name!r} {fault}.", hint)


def _unusable(value: Tensor) -> str:
    if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized or value.is_nested:
        return "is not a dense tensor with values"
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        return "is larger than what the file holds of it"
    found = not_finite(value)
    return f"has {found} of {value.numel()} values that are NaN or infinite" if found else ""


def not_finite(value: Tensor) -> int:
    """How many values are NaN or infinite."""
    if not (value.is_floating_point() or value.is_complex()):
        return 0
    wide = value.float() if value.element_size() == 1 else value  # PyTorch has no `isfinite` of float8
    return value.numel() - int(wide.isfinite().sum())


def read_pytorch(path: Path, hint: str = "") -> Any:
    """All that a PyTorch file holds: tensors, as in `read_weights`, numbers, text and containers of them.

    Raises MissingError with `hint` if the file is not there, InputError if it cannot be read or wants to run code.
    """
    _peek(path, hint)
    return load_pickled(path, hint)


def _peek(path: Path, hint: str) -> bytes:
    """The first bytes, if there are any and they can be those of a checkpoint."""
    if not path.is_file():
        raise MissingError(f"There is no weight file at {path}.", hint)
    try:
        with open(path, "rb") as file:
            head = file.read(32)
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error), hint) from error
    if not head:
        raise _unreadable(path, "it is empty", hint)
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise _unreadable(path, "it is a web page, not the file that the page offers", hint)
    return head


def _unreadable(path: Path, reason: str, hint: str) -> InputError:
    return InputError(f"The weight file {path} cannot be read: {reason}.", hint)


def modern_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A CompressAI state dict of any version, by the names of version 1.2.7 and later.

    `entropy_bottleneck._matrix0` (or `._matrices.0`) becomes `entropy_bottleneck.matrices.0`, biases and factors alike.
    A name that would collide stays.
    """
    return {name if _modern(name) in state else _modern(name): value for name, value in state.items()}


def _modern(name: str) -> str:
    if not (old := _OLD_NAME.fullmatch(name)):
        return name
    return f"entropy_bottleneck.{_PLURAL.get(old[1], old[1])}.{old[2]}"


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The layout of a state dict: name -> shape."""
    return {key: tuple(value.shape) for key, value in state.items()}


def check_layout(
    found: Mapping[str, Tensor],
    expected: Mapping[str, Sequence[int]],
    where: str | Path,
    hint: str = "",
    integers: Collection[str] = (),
) -> None:
    """Raises InputError naming the keys that are missing, unexpected, misshapen or of the wrong kind of number.

    All tensors are floating point except `integers`. `where` begins the message: the file, or what it should hold.
    """
    shapes = shapes_of(found)
    shared = sorted(expected.keys() & found.keys())
    misshapen = [f"{k} {shapes[k]} for {tuple(expected[k])}" for k in shared if shapes[k] != tuple(expected[k])]
    mistyped = [_mistyped(k, found[k], k in integers) for k in shared]
    problems = (
        _problem("missing", sorted(expected.keys() - found.keys())),
        _problem("unexpected", sorted(found.keys() - expected.keys())),
        _problem("misshapen", misshapen),
        _problem("of the wrong type", list(filter(None, mistyped))),
    )
    if any(problems):
        raise InputError(f"{where} does not fit the network: {'; '.join(filter(None, problems))}.", hint)


def _mistyped(name: str, value: Tensor, integer: bool) -> str:
    fits = not (value.is_floating_point() or value.is_complex()) if integer else value.is_floating_point()
    dtype = str(value.dtype).removeprefix("torch.")
    return "" if fits else f"{name} {dtype} for {'integers' if integer else 'floating point'}"


def _problem(kind: str, keys: Sequence[str]) -> str:
    if not keys:
        return ""
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return f"{kind} {', '.join(keys[:SHOWN])}{more}"


def fill(network: nn.Module, state: Mapping[str, Tensor], path: Path, hint: str = "") -> None:
    """Gives a network (on the meta device or not) its weights, frozen, floating-point ones as float32.

    Raises InputError that names the keys that do not fit, see `check_layout`, or a tensor whose values are not finite.
    """
    expected = network.state_dict()
    integers = {name for name, value in expected.items() if not value.is_floating_point()}
    check_layout(state, shapes_of(expected), path, hint, integers)
    # Copies lie at aligned addresses, on which the rounding of some kernels depends; a view into a file may not.
    aligned = {
        name: value.to(expected[name].dtype if name in integers else torch.float32, copy=True)
        for name, value in state.items()
    }
    check_values(aligned, path, hint)  # again: a float64 may be infinite as float32
    network.load_state_dict(aligned, assign=True)
    network.eval().requires_grad_(False)


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Stores tensors of any device and layout in one piece or not at all. Raises UsageError or IdemError on failure."""
    with replacing(path) as temporary:
        temporary.touch()  # a path that cannot be right is told as such, and not by safetensors
        mode = temporary.stat().st_mode
        try:
            save_file(dict(_apart(tensors)), temporary, metadata=dict(metadata))
            temporary.chmod(mode)  # safetensors makes it the owner's alone, and caches are shared
        except SafetensorError as error:
            raise IdemError(f"Cannot write {path}: {error}.") from error


def _apart(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Copies to the CPU, contiguous, none sharing memory with another, as safetensors wants them."""
    seen: set[int] = set()
    for name, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        address = value.untyped_storage().data_ptr()
        yield name, value.clone() if address in seen else value
        seen.add(address)


def fingerprint(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Sha256, in hex, over metadata and over the names, types, shapes and bytes of all tensors, in any order."""
    digest = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"\0{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
