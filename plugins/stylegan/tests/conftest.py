"""A small StyleGAN2 of random values, and pickles of it as NVIDIA's code leaves them."""

from __future__ import annotations

import math
import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from idemcore.runtime import Runtime
from idemcore_stylegan import weights
from idemcore_stylegan.network import StyleGan, StyleGanConfig
from idemcore_stylegan.ops import low_pass

SOURCE = "raise AssertionError('the source in the pickle was run')"


@pytest.fixture
def runtime() -> Runtime:
    return Runtime(torch.device("cpu"), torch.float32)


@pytest.fixture
def small() -> StyleGanConfig:
    """16x16."""
    return StyleGanConfig(widths=(12, 10, 6), z=20, w=16, mapping_layers=3)


@pytest.fixture
def random_network() -> Callable[[StyleGanConfig], StyleGan]:
    """`random_network(config)`: every parameter random, biases, noise strengths and the mean of w too."""

    def make(config: StyleGanConfig) -> StyleGan:
        rng = torch.Generator().manual_seed(0)
        with torch.random.fork_rng(devices=[]):
            network = StyleGan(config).requires_grad_(False)
        for name, value in network.state_dict().items():
            value.copy_(torch.randn(value.shape, generator=rng))
            if name.startswith("mapping.fc"):
                value.mul_(100)
            elif value.ndim < 2:
                value.mul_(0.3).add_(name.endswith("affine.bias"))
        return network

    return make


@pytest.fixture
def network(random_network: Callable[[StyleGanConfig], StyleGan], small: StyleGanConfig) -> StyleGan:
    return random_network(small)


class EasyDict(dict[str, object]):
    """NVIDIA's dict whose entries are attributes too."""

    def __getattr__(self, name: str) -> object:
        if name in self:
            return self[name]
        raise AttributeError(name)


def _reconstruct_persistent_obj(meta: dict[str, object]) -> object:
    raise AssertionError("NVIDIA's loader, which runs the source")


class Pickled(nn.Module):
    """Is pickled as NVIDIA's modules are: a call of its loader with source and attributes."""

    def __init__(self, conv_clamp: float | None = None) -> None:
        super().__init__()
        self.weight_gain = 1 / np.sqrt(7)
        self.conv_clamp = conv_clamp
        self._init_kwargs = EasyDict(z_dim=512, mapping_kwargs=EasyDict(), sizes={4, 8})

    def __reduce__(self) -> tuple[object, ...]:
        state = {key: OrderedDict(value) if type(value) is dict else value for key, value in self.__dict__.items()}
        meta = {"type": "class", "version": 6, "module_src": SOURCE, "class_name": "Generator", "state": state}
        return _reconstruct_persistent_obj, (meta,), None


def _pickled_module(state: dict[str, Tensor], conv_clamp: float | None = None) -> Pickled:
    root = Pickled()
    for name, value in state.items():
        *path, last = name.split(".")
        module: nn.Module = root
        for part in path:
            if part not in module._modules:
                module.add_module(part, Pickled(conv_clamp if part.startswith(("conv", "torgb")) else None))
            module = module._modules[part]
        if last in ("resample_filter", "noise_const", "w_avg"):
            module.register_buffer(last, value)
        else:
            module.register_parameter(last, nn.Parameter(value, requires_grad=False))
    return root


@pytest.fixture
def pickled_module() -> Callable[..., Pickled]:
    """`pickled_module(state)`: modules that hold these tensors, as parameters or buffers as NVIDIA's do."""
    return _pickled_module


@pytest.fixture
def nvidia_state() -> Callable[[StyleGan], dict[str, Tensor]]:
    """`nvidia_state(network)`: what a generator of stylegan2-ada-pytorch holds."""
    return lambda network: {
        **network.state_dict(),
        **{name: low_pass() for name in weights.nvidia(network.config).filters},
    }


@pytest.fixture
def snapshot(nvidia_state: Callable[[StyleGan], dict[str, Tensor]]) -> Callable[[StyleGan], dict[str, object]]:
    """`snapshot(network)`: what stylegan2-ada-pytorch saves."""

    def make(network: StyleGan) -> dict[str, object]:
        clamp = None if network.config.clamp == math.inf else network.config.clamp
        other, settings = _pickled_module({"b4.fc.weight": torch.zeros(2, 2)}), EasyDict(xflip=True)
        generator = _pickled_module(nvidia_state(network), clamp)
        return {"G": other, "D": other, "G_ema": generator, "training_set_kwargs": settings, "augment_pipe": None}

    return make


@pytest.fixture
def dump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """`dump(content, name, protocol)`: a pickle in which `Pickled` and `EasyDict` have NVIDIA's names."""

    def write(content: object, name: str = "network.pkl", protocol: int = 3) -> Path:
        stand_ins = {"torch_utils.persistence": _reconstruct_persistent_obj, "dnnlib.util": EasyDict}
        with monkeypatch.context() as patch:
            for module, thing in stand_ins.items():
                patch.setitem(sys.modules, module.partition(".")[0], ModuleType(module.partition(".")[0]))
                patch.setitem(sys.modules, module, ModuleType(module))
                patch.setattr(thing, "__module__", module)
                setattr(sys.modules[module], thing.__name__, thing)
            (tmp_path / name).write_bytes(pickle.dumps(content, protocol=protocol))
        return tmp_path / name

    return write
