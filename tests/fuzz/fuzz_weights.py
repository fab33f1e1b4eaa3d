"""Targets: files of weights, as `idem models import` reads them."""

from __future__ import annotations

import io
import pickle
import random
import struct
import sys
import zipfile
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

from fuzz_target import Made, as_file, one_in, scratch

LAYOUT = {"g_a.weight": (3, 4), "entropy_bottleneck.biases.0": (4,), "count": ()}


def weights_state() -> dict[str, torch.Tensor]:
    import torch

    return {"g_a.weight": torch.arange(12.0).reshape(3, 4), "entropy_bottleneck._bias0": torch.ones(4),
            "count": torch.tensor(3)}  # fmt: skip


def imported(path: Path) -> None:
    """What `idem models import` does with a file of named tensors."""
    from idemcore.weights.checkpoints import check_layout, modern_names, read_state_dict, write_safetensors

    state = modern_names(read_state_dict(path))
    check_layout(state, LAYOUT, path, integers={"count"})
    write_safetensors(path.with_name("stored.safetensors"), state, {"id": "fuzz"})


def safetensors() -> Made:
    from safetensors.torch import save

    from idemcore.learned.weights import _metadata
    from idemcore.weights.store import _is_whole

    def read(path: Path) -> None:
        _metadata(path)
        _is_whole(path)
        imported(path)

    half = {key: value.half() if value.is_floating_point() else value for key, value in weights_state().items()}
    seeds = [save(weights_state()), save(half, metadata={"codec": "x", "model_id": "01020304"}), save({})]
    names = ("F32", "F16", "BF16", "F64", "I64", "BOOL", "F8_E4M3", "U16", "C64", "F4")
    return (
        as_file(read, "w.safetensors"),
        seeds,
        [
            *(f'"{name}"'.encode() for name in names),
            b'"data_offsets":[0,0]',
            b"[]",
            b"-1",
            b"1e9",
            b"99999999999",
            b"null",
            b"__metadata__",
            b"{",
            b"}",
            b",",
        ],
    )


def safetensors_header(rng: random.Random, data: bytes) -> bytes:
    """With the length of its header, most of the time."""
    end = data.rfind(b"}") + 1
    return data if one_in(4, rng) or end < 9 else struct.pack("<Q", end - 8) + data[8:]


TORCH_WORDS = [
    b"torch._utils\n_rebuild_tensor_v2\n", b"torch._utils\n_rebuild_parameter\n", b"torch\nFloatStorage\n",
    b"torch\nLongStorage\n", b"torch\nHalfStorage\n", b"collections\nOrderedDict\n", b"builtins\nset\n",
    b"torch\ndevice\n",
    b"torch._utils\n_rebuild_sparse_tensor\n", b"torch._utils\n_rebuild_meta_tensor_no_storage\n", b"torch\nSize\n",
    b"torch._utils\n_rebuild_qtensor\n", b"torch._tensor\n_rebuild_from_type_v2\n", b"numpy\ndtype\n", b"os\nsystem\n",
    b"torch\nfloat32\n", b"torch\nsparse_coo\n", b"K\0", b"J\xff\xff\xff\x7f", b"(", b")", b"t", b"R", b"b", b"}", b"]",
    b"\x85", b"\x86", b"\x87", b"q\0", b"h\0", b"r\xff\xff\xff\x0f", b"\x94", b"0", b"2", b"u", b"s", b"a", b"e",
    b"Q", b".",
    b"N", b"\x88", b"X\4\0\0\0cpu!", b"G\x7f\xf0\0\0\0\0\0\0", b"\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\0",
]  # fmt: skip


def pytorch() -> Made:
    """PyTorch's files: the pickle of the zip format, put back into its zip, and whole files of the old format."""
    import torch

    def run(data: bytes) -> None:
        path = scratch("w.pt")
        path.write_bytes(data if data[:2] in (b"PK", b"\x80\x02") and b"data/0" in data else _with_pickle(data))
        imported(path)

    seeds = []
    sparse = {**weights_state(), "g_a.weight": torch.eye(3, 4).to_sparse()}
    contents = ({"state_dict": weights_state(), "epoch": 3}, weights_state(), {"a": torch.nn.Parameter(torch.ones(2))},
                {**weights_state(), "g_a.weight": torch.empty(3, 4, device="meta")}, sparse)  # fmt: skip
    for content in contents:
        buffer = io.BytesIO()
        torch.save(content, buffer)
        seeds.append(zipfile.ZipFile(buffer).read("archive/data.pkl"))
    buffer = io.BytesIO()
    torch.save(weights_state(), buffer, _use_new_zipfile_serialization=False)
    return run, [*seeds, buffer.getvalue()], TORCH_WORDS


@cache
def _archive() -> dict[str, bytes]:
    import torch

    buffer = io.BytesIO()
    torch.save(weights_state(), buffer)
    with zipfile.ZipFile(buffer) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _with_pickle(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in _archive().items():
            archive.writestr(name, data if name == "archive/data.pkl" else content)
    return buffer.getvalue()


def pytorch_zip() -> Made:
    """The zip format of PyTorch itself."""
    import torch

    buffer = io.BytesIO()
    torch.save({"state_dict": weights_state()}, buffer)
    words = [b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"data.pkl", b"byteorder", b"data/0"]
    return as_file(imported, "w.pt"), [buffer.getvalue()], words


def _reconstruct_persistent_obj(meta: object) -> object:
    raise AssertionError("run")


class _Module:
    def __init__(self, **modules: object) -> None:
        import torch

        parameters = {"weight": torch.nn.Parameter(torch.ones(2, 3)), "none": None}
        self.state = {"_modules": modules, "_parameters": parameters, "_buffers": {"gain": torch.ones(())}}
        self.state |= {"conv_clamp": 256, "numpy": np.float64(0.5), "sizes": {4, 8}}

    def __reduce__(self) -> tuple[Any, ...]:
        return _reconstruct_persistent_obj, ({"type": "class", "version": 6, "module_src": "", "state": self.state},)


def stylegan() -> Made:
    """NVIDIA's pickles, through the unpickler that knows tensors, containers and modules only."""
    from idemcore_stylegan.unpickle import read_generator

    stand_in = ModuleType("torch_utils.persistence")
    stand_in._reconstruct_persistent_obj = _reconstruct_persistent_obj  # type: ignore[attr-defined]
    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    sys.modules["torch_utils"], sys.modules["torch_utils.persistence"] = ModuleType("torch_utils"), stand_in
    try:
        content = {"G": None, "G_ema": _Module(synthesis=_Module(), mapping=_Module(fc0=_Module()))}
        seeds = [pickle.dumps(content, protocol=protocol) for protocol in (3, 4, 5)]
    finally:
        del sys.modules["torch_utils"], sys.modules["torch_utils.persistence"]
    names = [b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n", b"ctorch.storage\n_load_from_bytes\n",
             b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch._utils\n_rebuild_parameter\n", b"cbuiltins\nset\n",
             b"ccollections\nOrderedDict\n", b"cnumpy.core.multiarray\nscalar\n", b"cnumpy\ndtype\n", b"cos\nsystem\n",
             b"_modules", b"_parameters", b"_buffers", b"conv_clamp", b"G_ema", b"state"]  # fmt: skip
    return as_file(read_generator, "network.pkl"), seeds, [*names, *TORCH_WORDS]
