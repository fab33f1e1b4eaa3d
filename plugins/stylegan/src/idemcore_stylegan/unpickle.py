"""Published files of StyleGAN2: NVIDIA's pickled networks and rosinality's checkpoints, read without running anything.

NVIDIA's pickles hold whole modules and the Python source of their classes, which its own loader runs. Here each module
becomes a plain record, its source an unread text, and only the tensors in it are looked at.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from idemcore.errors import InputError
from idemcore.weights.checkpoints import check_values, read_pytorch, read_safetensors, unwrapped

OLD_PYTORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""First bytes of a PyTorch file before version 1.6, a pickle too."""


def read_generator(path: Path, hint: str = "") -> dict[str, Tensor]:
    """Named tensors of the averaged generator in a .pkl of stylegan2-ada-pytorch, a .pt of rosinality, a .safetensors.

    Of the first, also `conv_clamp` where its modules have one; of the second, also `latent_avg`. Raises MissingError
    with `hint` if the file is not there, InputError if it cannot be read, wants to run code, holds something else, or a
    value is not finite.
    """
    if _is_pickle(path):
        tensors = _flat(_unpickle(path, hint), path, hint)
        check_values(tensors, path, hint)
        return tensors
    content = read_safetensors(path, hint)[0] if path.suffix == ".safetensors" else read_pytorch(path, hint)
    tensors = unwrapped(content, path, hint)
    # The mean of w lies beside the weights, in a container that was taken off.
    mean = content.get("latent_avg") if isinstance(content, dict) else None
    beside = {"latent_avg": mean} if isinstance(mean, Tensor) else {}
    check_values(beside, path, hint)
    return tensors | beside


def _is_pickle(path: Path) -> bool:
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        head = file.read(len(OLD_PYTORCH))
    return head[:1] == b"\x80" and head[1:2] in b"\2\3\4\5" and head != OLD_PYTORCH


class _Refused(Exception):
    """Names what a pickle wants to run."""


class _Record:
    """A pickled module: what its attributes were."""

    def __init__(self, attributes: Any) -> None:
        self.attributes = attributes


_PurePython: Any = pickle._Unpickler
"""That of C allocates whatever a number in the file says."""


class _Unpickler(_PurePython):  # type: ignore[misc]
    """Knows tensors, containers and modules; every other name is refused.

    What is known is either a type of Python that cannot be altered, or a bound method, to which a pickle cannot assign.
    Tuples become lists: nested in one another they could be keys that take for ever to hash.
    """

    dispatch: ClassVar = dict(_PurePython.dispatch)

    def load_tuple(self) -> None:
        items = self.pop_mark()
        self.append(items)

    def load_empty_tuple(self) -> None:
        self.append([])

    def load_tuple1(self) -> None:
        self.stack[-1:] = [self.stack[-1:]]

    def load_tuple2(self) -> None:
        self.stack[-2:] = [self.stack[-2:]]

    def load_tuple3(self) -> None:
        self.stack[-3:] = [self.stack[-3:]]

    def load_build(self) -> None:
        """Only of what is thrown away: the state of a tensor can be another of any size."""
        if not isinstance(self.stack[-2], _Nothing):
            raise pickle.UnpicklingError("a state of something that has none")
        self.stack.pop()

    dispatch[pickle.TUPLE[0]], dispatch[pickle.EMPTY_TUPLE[0]] = load_tuple, load_empty_tuple
    dispatch[pickle.TUPLE1[0]], dispatch[pickle.TUPLE2[0]] = load_tuple1, load_tuple2
    dispatch[pickle.TUPLE3[0]], dispatch[pickle.BUILD[0]] = load_tuple3, load_build

    def find_class(self, module: str, name: str) -> Any:
        known = {
            "torch_utils.persistence._reconstruct_persistent_obj": self._module,
            "torch.storage._load_from_bytes": self._storage,
            "torch._utils._rebuild_tensor_v2": self._tensor,
            "torch._utils._rebuild_parameter": self._parameter,
            "numpy.core.multiarray.scalar": self._nothing,
            "numpy.core.multiarray._reconstruct": self._nothing,
            "numpy.ndarray": self._nothing,
            "numpy.dtype": self._nothing,
            "dnnlib.util.EasyDict": dict,
            "collections.OrderedDict": dict,
            "builtins.set": set,
        }
        if (wanted := f"{module}.{name}".replace("numpy._core.", "numpy.core.")) not in known:
            raise _Refused(wanted)
        return known[wanted]

    def _module(self, meta: dict[str, Any]) -> _Record:
        return _Record(dict(meta["state"]))

    def _storage(self, data: bytes) -> Tensor:
        """All numbers of a storage, which PyTorch pickles as a file inside the file."""
        try:
            storage = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise _Refused("code inside a tensor") from error
        return torch.empty(0, dtype=storage.dtype).set_(storage)

    def _tensor(self, storage: Tensor, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
        if math.prod(size) > storage.numel():
            raise pickle.UnpicklingError("a tensor larger than its storage")
        return storage.as_strided(size, stride, offset).clone()

    def _parameter(self, data: Tensor, *_: Any) -> Tensor:
        return data

    def _nothing(self, *_: Any) -> _Nothing:
        return _Nothing()


class _Nothing:
    """Stands for what NumPy made, none of which is needed."""

    __slots__ = ()


def _unpickle(path: Path, hint: str) -> Any:
    try:
        with open(path, "rb") as file:
            return _Unpickler(file).load()
    except _Refused as error:
        if str(error).startswith("dnnlib.tflib."):
            message = f"{path} is a network of TensorFlow, of NVIDIA's older code, which is not read here."
            raise InputError(message, "Bring the .pkl of stylegan2-ada-pytorch, or convert it there.") from error
        message = f"{path} is refused: it wants to run {error}, where only tensors are read."
        raise InputError(f"{message} Nothing of it was run.", hint) from error
    except Exception as error:  # the unpickler raises whatever its parsing of damaged bytes meets
        raise InputError(f"The weight file {path} cannot be read: it is damaged or ends too early.", hint) from error


def _flat(content: Any, path: Path, hint: str) -> dict[str, Tensor]:
    """The tensors of the averaged generator by their dotted names."""
    generator = content.get("G_ema") if isinstance(content, dict) else None
    if not isinstance(generator, _Record):
        raise InputError(f"{path} holds no StyleGAN2: it has no module `G_ema`.", hint)
    try:
        modules = list(_modules(generator, "", set()))
        tensors = dict(entry for name, module in modules for entry in _tensors(module, name))
        for _, module in modules:
            if (clamp := module.attributes.get("conv_clamp")) is not None:
                tensors["conv_clamp"] = torch.tensor(float(clamp))
        return tensors
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError, OverflowError, RuntimeError) as error:
        raise InputError(f"{path} holds no StyleGAN2: `G_ema` is not made of modules.", hint) from error


def _modules(module: _Record, name: str, seen: set[int]) -> Iterator[tuple[str, _Record]]:
    """A module and all in it, with the prefix of their names."""
    if id(module) in seen:
        raise ValueError("a module in two places")
    seen.add(id(module))
    yield name, module
    for key, child in module.attributes["_modules"].items():
        _check_name(key)
        yield from _modules(child, f"{name}{key}.", seen)


def _check_name(key: Any) -> None:
    if not isinstance(key, str):
        raise TypeError("a name that is no text")


def _tensors(module: _Record, name: str) -> Iterator[tuple[str, Tensor]]:
    for key, value in (*module.attributes["_parameters"].items(), *module.attributes["_buffers"].items()):
        if value is not None:
            _check_name(key)
            if not isinstance(value, Tensor):
                raise TypeError(f"{name}{key} is not a tensor")
            yield f"{name}{key}", value
