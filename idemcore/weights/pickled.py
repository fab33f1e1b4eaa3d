"""PyTorch files, read without running anything that they hold: tensors, plain containers, and objects as records.

Training programs store more than weights: an argparse.Namespace, a configuration, NumPy scalars, sometimes the whole
module. Pickle makes an object from its class and its attributes. Here every unknown class is a stand-in, so only the
attributes come back. A pickle that *calls* something unknown is refused.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError

RECIPE = (
    "If you trust the file, save its weights alone where its own code is installed:"
    " `torch.save(model.state_dict(), 'weights.pt')`. See 'Files that hold objects' in the documentation."
)
"""What to do with a file that cannot be read without running code."""

_NAMED = re.compile(r"\bGLOBAL ([\w.]*\w)(?= )")
_MOST_CLASSES = 200
"""Classes of other programs in one file; published checkpoints have fewer than 20."""
_MOST_MODULES, _LONGEST_NAME = 10_000, 500
_HARMLESS = frozenset(
    {f"{module}.{name}" for module in ("numpy.core.multiarray", "numpy._core.multiarray")
     for name in ("scalar", "_reconstruct")}
    | {"numpy.dtype", "numpy.ndarray"}
    | {f"{module}.{name}" for module in ("pathlib", "pathlib._local")
       for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path")}
)  # fmt: skip
"""What configurations call beside the weights; the calls are not made."""


class Refused(Exception):
    """Names what a pickle wants to call."""


class _Kind(type):
    """The class of stand-ins: a call of one stands for a call of what it stands for."""

    def __call__(cls, *_: Any) -> Any:
        name = f"{cls.__module__}.{cls.__qualname__}"
        if name not in _HARMLESS:
            raise Refused(name)
        return type.__call__(_Nothing)


class _Nothing:
    """Stands for the result of a harmless call."""

    def __setstate__(self, _: Any) -> None:
        """Takes any state, and keeps none."""


def _stand_in(name: str) -> type:
    """For the class of this full name. Its objects are an OrderedDict of their items, with their attributes."""
    module, _, short = name.rpartition(".")
    attributes = {"__module__": module, "__qualname__": short, "__new__": lambda cls, *_: OrderedDict()}
    return _Kind(short, (), attributes)


def load_pickled(path: Path, hint: str = "") -> Any:
    """All that a PyTorch file holds. Objects are mappings whose `__dict__` has their attributes.

    Raises InputError if the file cannot be read or wants to run code; `hint` ends the former message.
    """
    stand_ins: dict[str, type] = {}
    while True:
        try:
            with torch.serialization.safe_globals([_Nothing, *stand_ins.values()]), warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of pickle protocols and types on their way out
                return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path) or None)
        except Refused as error:
            _forget_sparse_tensors()
            raise _refusal(path, str(error)) from error
        except Exception as error:  # the unpickler raises whatever its parsing of damaged bytes meets
            _forget_sparse_tensors()
            name = found[1] if (found := _NAMED.search(str(error))) else ""
            if name in stand_ins or len(stand_ins) == _MOST_CLASSES or "blocked" in str(error):
                raise _refusal(path, name) from error
            if "persistent_load of storage" in str(error):  # as PyTorch stored whole modules before version 1.6
                raise _refusal(path, "the code of a whole module") from error
            if not name:
                message = (
                    f"The weight file {path} cannot be read: it is damaged, ends too early or is not a checkpoint."
                )
                raise InputError(message, hint) from error
            stand_ins[name] = _stand_in(name)


def _refusal(path: Path, wanted: str) -> InputError:
    message = f"{path} is refused: it wants to run {wanted}, where only named tensors are read. Nothing of it was run."
    return InputError(message, RECIPE)


def _forget_sparse_tensors() -> None:
    """PyTorch keeps those of a file that it failed to load, and looks at them at the next load, in this thread.

    By then the file that they are mapped from may be shorter, and the process ends with SIGBUS.
    """
    kept_by_thread = getattr(torch.serialization, "_serialization_tls", None)
    for holder, name in ((torch._utils, "_sparse_tensors_to_validate"), (kept_by_thread, "sparse_tensors_to_validate")):
        getattr(holder, name, []).clear()


def is_module(value: Any) -> bool:
    """Is it the record of a torch.nn.Module?"""
    return isinstance(value, OrderedDict) and isinstance(getattr(value, "__dict__", {}).get("_parameters"), Mapping)


def module_state(module: Any) -> dict[str, Any]:
    """The parameters and buffers in the record of a module, named as its `state_dict()` would name them."""
    found: dict[str, Any] = {}
    queue = [("", module)]
    for prefix, part in queue:  # grows while it is walked
        attributes = part.__dict__
        passing = attributes.get("_non_persistent_buffers_set") or ()
        for kind in ("_parameters", "_buffers"):
            values = _mapping(attributes.get(kind))
            found |= {
                f"{prefix}{key}": value for key, value in values.items() if value is not None and key not in passing
            }
        children = {f"{prefix}{key}.": child for key, child in _mapping(attributes.get("_modules")).items()}
        # A damaged file may hold a module inside itself.
        queue += [entry for entry in children.items() if is_module(entry[1]) and len(entry[0]) < _LONGEST_NAME]
        del queue[_MOST_MODULES:]
    return found


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}
