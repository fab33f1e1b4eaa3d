"""A device of its own kind, for machines without one: tensors on it compute on the CPU, but do not mix.

    with fake_gpu(monkeypatch):           # or fake_gpu(monkeypatch, "mps"), which has no float64
        x = torch.rand(3).to("cuda")     # x.device is cuda:0
        x + torch.rand(3)                # RuntimeError, as on a GPU
        x.numpy()                        # an error, likewise
        x.cpu() + torch.rand(3)          # fine

It tells code that forgets where its tensors are. It tells nothing of kernels, of precision or of speed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

PRETENDED = {"kind": "cuda"}
TAKE_CPU_INDEXES = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_", "aten::copy_")


class OnGpu(Tensor):
    """A tensor that says it is on the GPU; `held` has its values."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnGpu:
        if PRETENDED["kind"] == "mps" and held.dtype in (torch.float64, torch.complex128):
            raise TypeError(f"Cannot convert a MPS Tensor to {held.dtype} dtype as MPS does not support it")
        made = Tensor._make_wrapper_subclass(cls, held.shape, held.stride(), held.storage_offset(), dtype=held.dtype)
        made.held = held
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """As Python code sees it; PyTorch itself must not look for a driver."""
        return torch.device(PRETENDED["kind"], 0)

    def __repr__(self) -> str:  # type: ignore[override]
        return f"OnGpu({self.held})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = func._schema.name
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        strangers = [t for t in tensors if not isinstance(t, OnGpu) and t.ndim]
        backwards = torch._C._current_graph_task_id() != -1  # where autograd fills gaps with zeros of its own
        if strangers and not backwards and name not in TAKE_CPU_INDEXES:
            found = f"{PRETENDED['kind']}:0 and cpu"
            raise RuntimeError(f"Expected all tensors to be on the same device, but found {found}, in {name}")
        found = func(*_opened(args), **_opened(kwargs))
        if name == "aten::copy_":
            return args[0]
        if func._schema.is_mutable:  # what was changed in place is handed back as it came
            return _same(found, args, kwargs)
        return tree_map(lambda x: OnGpu(x) if isinstance(x, Tensor) else x, found)


def _opened(tree: Any) -> Any:
    return tree_map(lambda x: x.held if isinstance(x, OnGpu) else x, tree)


def _same(found: Any, args: Any, kwargs: Any) -> Any:
    wrapped = {id(x.held): x for x in tree_leaves((args, kwargs)) if isinstance(x, OnGpu)}

    def back(x: Any) -> Any:
        return wrapped.get(id(x), OnGpu(x)) if isinstance(x, Tensor) else x

    return tree_map(back, found)


class _Arrive(torch.autograd.Function):
    """A copy to the GPU, whose gradient comes back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return OnGpu(x.detach().clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient.held if isinstance(gradient, OnGpu) else gradient


class _Leave(torch.autograd.Function):
    """A copy to the CPU."""

    @staticmethod
    def forward(ctx: Any, x: OnGpu) -> Tensor:
        return x.held.detach().clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return OnGpu(gradient)


class FakeGpu(TorchFunctionMode):
    """Within it, what is asked to be on the pretended device is an `OnGpu`."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is Tensor.to:
            return self._to(args, kwargs)
        if func is Tensor.tolist:
            return func(_leave(args[0]))
        if func is Tensor.cuda:
            return _arrive(args[0])
        if func is Tensor.cpu:
            return _leave(args[0])
        if _on_gpu(kwargs.get("device")):
            kwargs["device"] = "cpu"
            return _arrive(func(*_leave(args), **kwargs))
        return func(*args, **kwargs)

    @staticmethod
    def _to(args: Any, kwargs: dict[str, Any]) -> Tensor:
        """Tensor.to(device), (dtype), (device, dtype), (other) and the like."""
        x, *rest = args
        rest = [part for a in rest for part in ((a.device, a.dtype) if isinstance(a, Tensor) else (a,))]
        devices = [a for a in [*rest, kwargs.pop("device", None)] if isinstance(a, (str, torch.device))]
        rest = [a for a in rest if not isinstance(a, (str, torch.device)) and a is not None]
        if devices and not _on_gpu(devices[0]):
            x = _leave(x)
        dtype = kwargs.pop("dtype", None) or next((a for a in rest if isinstance(a, torch.dtype)), x.dtype)
        layout = {k: v for k, v in kwargs.items() if k == "memory_format" and v is not None}
        x = x.to(dtype, **layout)  # before it arrives, as PyTorch does: the device may not have the type it came in
        return _arrive(x) if devices and _on_gpu(devices[0]) else x


def _leave(tree: Any) -> Any:
    return tree_map(lambda x: _Leave.apply(x) if isinstance(x, OnGpu) else x, tree)


def _arrive(x: Any) -> Any:
    return tree_map(lambda t: _Arrive.apply(t) if isinstance(t, Tensor) and not isinstance(t, OnGpu) else t, x)


def _on_gpu(device: Any) -> bool:
    return device is not None and torch.device(device).type == PRETENDED["kind"]


@contextmanager
def fake_gpu(monkeypatch: Any, kind: str = "cuda") -> Iterator[None]:
    """`FakeGpu`, and a torch that says that there is one: `cuda`, `mps` or `xpu`."""
    monkeypatch.setattr(torch.backends.mps if kind == "mps" else getattr(torch, kind), "is_available", lambda: True)
    monkeypatch.setitem(PRETENDED, "kind", kind)
    module = getattr(torch, kind)
    monkeypatch.setattr(module, "device_count", lambda: 1)
    if kind == "cuda":
        monkeypatch.setattr(module, "is_bf16_supported", lambda including_emulation=True: False)
    counters = ("reset_peak_memory_stats", "memory_allocated", "max_memory_allocated") if kind != "mps" else ()
    for name in ("synchronize", *counters):
        monkeypatch.setattr(module, name, lambda device=None: 0)
    run_backward = torch.autograd._engine_run_backward  # type: ignore[attr-defined]

    def run_backward_within(*args: Any, **kwargs: Any) -> Any:
        with FakeGpu():  # which is off inside a function that it was asked about, and a checkpoint computes again here
            return run_backward(*args, **kwargs)

    monkeypatch.setattr(torch.autograd, "_engine_run_backward", run_backward_within)
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # not the data of parameters alone
    try:
        with FakeGpu():
            yield
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)
