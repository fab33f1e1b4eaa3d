"""Checkpoints: reading weight files without running any of them, checking their layout, and storing them.

    .safetensors, .pt, .pth.tar -> read_state_dict -> modern_names -> check_layout -> write_safetensors, or fill

Of a PyTorch file only named tensors are unpickled; a file that wants to run code is refused.
"""  # fmt: skip

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import IdemError, InputError, MissingError
from ..io.files import replacing

SHOWN = 3
"""Keys of each kind that an error names; it counts the others."""

_WANTS_TO_RUN = re.compile(r"\bGLOBAL (\S+)")
_OLD_NAME = re.compile(r"entropy_bottleneck\._(matrix|matrices|bias|biases|factor|factors)\.?(\d+)")
_PLURAL = {"matrix": "matrices", "bias": "biases", "factor": "factors"}


def read_safetensors(path: Path, hint: str = "") -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors, on the CPU, and metadata.

    Raises MissingError with `hint` if the file is not there, InputError if it cannot be read.
    """
    _peek(path, hint)
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, "it is damaged or ends too early", hint) from error


def read_state_dict(path: Path, hint: str = "") -> dict[str, Tensor]:
    """The state dict of a .safetensors or PyTorch file: flat, or under `state_dict` as in training checkpoints.

    Raises MissingError with `hint` if the file is not there, InputError if it cannot be read, wants to run code, or
    holds something else. The tensors are on the CPU and may be mapped from the file: it must stay until they are used.
    """
    head = _peek(path, hint)
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        state: Any = read_safetensors(path, hint)[0]
    else:
        content = _unpickled(path, hint)
        nested = content.get("state_dict") if isinstance(content, dict) else None
        state = nested if isinstance(nested, dict) else content
    if not isinstance(state, dict) or not state:
        raise InputError(f"{path} holds no state dict: no named tensors.", hint)
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise InputError(f"{path} holds no state dict: its entry {name!r} is a {type(value).__name__}.", hint)
    check_dense(state, path, hint)
    return {name: value.detach() for name, value in state.items()}


def check_dense(state: Mapping[str, Tensor], path: Path, hint: str = "") -> None:
    """Raises InputError for a tensor that holds less than its shape claims: a few bytes can claim any size."""
    for name, value in state.items():
        if fault := _unusable(value):
            raise InputError(f"{path} holds no weights: {name!r} {fault}.", hint)


def _unusable(value: Tensor) -> str:
    if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized or value.is_nested:
        return "is no dense tensor with values"
    held = value.untyped_storage().nbytes()
    return "is larger than what the file holds of it" if value.numel() * value.element_size() > held else ""


def read_pytorch(path: Path, hint: str = "") -> Any:
    """All that a PyTorch file holds: tensors, as in `read_state_dict`, numbers, text and containers of them.

    Raises MissingError with `hint` if the file is not there, InputError if it cannot be read or wants to run code.
    """
    _peek(path, hint)
    return _unpickled(path, hint)


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


def _unpickled(path: Path, hint: str) -> Any:
    try:
        mapped = True if zipfile.is_zipfile(path) else None
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # the unpickler raises whatever its parsing of damaged bytes meets
        _forget_sparse_tensors()
        if wanted := _WANTS_TO_RUN.search(str(error)):
            message = f"{path} is refused: it wants to run {wanted[1]}, where only named tensors are read."
            raise InputError(f"{message} Nothing of it was run.", hint) from error
        raise _unreadable(path, "it is damaged, ends too early or is no checkpoint", hint) from error


def _forget_sparse_tensors() -> None:
    """PyTorch keeps those of a file that it failed to load, and looks at them at the next load, in this thread.

    By then the file that they are mapped from may be shorter, and the process ends with SIGBUS.
    """
    kept_by_thread = getattr(torch.serialization, "_serialization_tls", None)
    for holder, name in ((torch._utils, "_sparse_tensors_to_validate"), (kept_by_thread, "sparse_tensors_to_validate")):
        getattr(holder, name, []).clear()


def _unreadable(path: Path, reason: str, hint: str) -> InputError:
    return InputError(f"The weight file {path} cannot be read: {reason}.", hint)


def modern_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A CompressAI state dict of any version, by the names of version 1.2.7 and later.

    `entropy_bottleneck._matrix0` (or `._matrices.0`) becomes `entropy_bottleneck.matrices.0`, biases and factors alike;
    a leading `module.` of all keys, the mark of training on several GPUs, goes. A name that would collide stays.
    """
    parallel = all(name.startswith("module.") for name in state)
    plain = {name.removeprefix("module.") if parallel else name: value for name, value in state.items()}
    return {name if _modern(name) in plain else _modern(name): value for name, value in plain.items()}


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

    Raises InputError that names the keys that do not fit, see `check_layout`.
    """
    expected = network.state_dict()
    integers = {name for name, value in expected.items() if not value.is_floating_point()}
    check_layout(state, shapes_of(expected), path, hint, integers)
    # Copies lie at aligned addresses, on which the rounding of some kernels depends; a view into a file may not.
    aligned = {
        name: value.to(expected[name].dtype if name in integers else torch.float32, copy=True)
        for name, value in state.items()
    }
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
    """On the CPU, contiguous, and none sharing its memory with another: what safetensors stores."""
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
