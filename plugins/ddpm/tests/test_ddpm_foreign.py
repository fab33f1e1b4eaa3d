"""ADM checkpoints of other programs: what they cannot say is asked for, and what is given is what is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from idemcore.errors import IdemWarning, InputError, UsageError
from idemcore.runtime import Runtime
from idemcore_ddpm.adm import AdmGenerator
from idemcore_ddpm.adm_unet import AdmUNet, AdmUNetConfig, AttentionBlock
from idemcore_ddpm.config import AdmConfig, FfhqConfig
from idemcore_ddpm.weights import PUBLISHED, load_network

SMALL = AdmUNetConfig(channels=64, multipliers=(1, 2), blocks=1, attention=frozenset({2}))
GIVEN = {"schedule": "linear", "side": 8, "head_channels": 64, "attention_order": "legacy"}


def random_state(config: AdmUNetConfig = SMALL) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {key: torch.randn(value.shape, generator=rng) / 20 for key, value in AdmUNet(config).state_dict().items()}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.save(random_state(), tmp_path / "model500000.pt")
    return tmp_path / "model500000.pt"


def reference(block: AttentionBlock, x: Tensor, heads: int, new: bool) -> Tensor:
    """Attention by einsum, as guided-diffusion's QKVAttention (new) and QKVAttentionLegacy write it."""
    batch, width, *space = x.shape
    flat = x.reshape(batch, width, -1)
    qkv = block.qkv(F.group_norm(flat, 32, block.norm.weight, block.norm.bias))
    if new:
        q, k, v = (part.reshape(batch * heads, width // heads, -1) for part in qkv.chunk(3, dim=1))
    else:
        q, k, v = qkv.reshape(batch * heads, 3 * width // heads, -1).split(width // heads, dim=1)
    weight = torch.softmax(torch.einsum("bct,bcs->bts", q, k) / (width // heads) ** 0.5, dim=-1)
    attended = torch.einsum("bts,bcs->bct", weight, v).reshape(batch, width, -1)
    return (flat + block.proj_out(attended)).reshape(batch, width, *space)


@pytest.mark.parametrize("heads", [1, 2, 4])
@pytest.mark.parametrize("new", [False, True])
def test_attention_in_both_orders(heads: int, new: bool) -> None:
    block = AttentionBlock(64, heads, "new" if new else "legacy")
    rng = torch.Generator().manual_seed(heads)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng) / 5)
    x = torch.randn(2, 64, 3, 5, generator=rng)
    torch.testing.assert_close(block(x), reference(block, x, heads, new), atol=1e-5, rtol=1e-5)


def test_heads_that_do_not_divide_the_width_are_refused(file: Path) -> None:
    with pytest.raises(InputError, match="128 channels cannot be divided into 3 heads"):
        load_network(FfhqConfig(str(file), schedule="linear", side=8, heads=3, attention_order="new"))


@pytest.mark.parametrize("missing", GIVEN)
def test_what_a_file_cannot_say_is_asked_for(missing: str, file: Path) -> None:
    given = {key: value for key, value in GIVEN.items() if key != missing}
    with pytest.raises(UsageError, match=rf"model500000\.pt does not say how it was trained: {missing};") as caught:
        load_network(FfhqConfig(str(file), **given))
    assert f"`--set generator.{missing}={PUBLISHED[missing]}`" in caught.value.hint


def test_all_that_is_missing_is_asked_for_at_once(file: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_network(FfhqConfig(str(file)))
    assert all(f"--set generator.{key}={PUBLISHED[key]}" in caught.value.hint for key in GIVEN)


def test_heads_are_not_asked_for_where_nothing_attends(tmp_path: Path) -> None:
    torch.save(random_state(replace(SMALL, attention=frozenset(), middle_attention=False)), tmp_path / "w.pt")
    assert load_network(AdmConfig(str(tmp_path / "w.pt"), schedule="cosine", side=0))[1].schedule == "cosine"


@pytest.mark.parametrize(
    "change", [{"head_channels": 0, "heads": 4}, {"attention_order": "new"}, {"head_channels": 32}]
)
def test_settings_change_what_is_computed(change: dict[str, object], file: Path, runtime: Runtime) -> None:
    x = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    plain = AdmGenerator(FfhqConfig(str(file), **GIVEN), runtime).denoise(x, 0.3)
    other = AdmGenerator(FfhqConfig(str(file), **GIVEN | change), runtime).denoise(x, 0.3)
    assert not torch.allclose(plain, other, atol=1e-3)


def test_the_native_size_makes_windows(file: Path, runtime: Runtime) -> None:
    assert AdmGenerator(FfhqConfig(str(file), **GIVEN), runtime).size == (8, 8)
    assert AdmGenerator(FfhqConfig(str(file), **GIVEN | {"side": 0}), runtime).size is None


def test_settings_that_cannot_be_are_refused() -> None:
    for bad in ({"schedule": "linaer"}, {"attention_order": "old"}, {"heads": 4, "head_channels": 64}, {"side": -2}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            AdmConfig(**bad)


WRAPPED: dict[str, Callable[[dict[str, Tensor]], object]] = {
    "module.": lambda state: {f"module.{key}": value for key, value in state.items()},
    "model.": lambda state: {f"model.{key}": value for key, value in state.items()},
    "_orig_mod.": lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
    "model.diffusion_model.": lambda state: {f"model.diffusion_model.{key}": value for key, value in state.items()},
    "ema": lambda state: {"ema": state, "model": {key: value + 1 for key, value in state.items()}, "step": 3},
    "params_ema": lambda state: {"params_ema": state},
    "net": lambda state: {"net": state, "epoch": 1},
}


@pytest.mark.parametrize("how", WRAPPED)
@pytest.mark.filterwarnings("ignore::idemcore.errors.IdemWarning")
def test_wrapped_weights_give_the_same_network(how: str, file: Path, tmp_path: Path) -> None:
    torch.save(WRAPPED[how](random_state()), tmp_path / "wrapped.pt")
    plain, wrapped = (load_network(FfhqConfig(str(path), **GIVEN))[0] for path in (file, tmp_path / "wrapped.pt"))
    assert all(value.equal(wrapped.state_dict()[name]) for name, value in plain.state_dict().items())


def test_averaged_weights_are_said(tmp_path: Path) -> None:
    torch.save(WRAPPED["ema"](random_state()), tmp_path / "wrapped.pt")
    with pytest.warns(IdemWarning, match="averaged weights in 'ema' are used, not those in 'model'"):
        load_network(FfhqConfig(str(tmp_path / "wrapped.pt"), **GIVEN))


def test_a_value_that_is_not_finite_is_refused_at_load(tmp_path: Path) -> None:
    state = random_state()
    state["out.2.bias"][0] = float("nan")
    save_file(state, tmp_path / "w.safetensors", PUBLISHED)
    with pytest.raises(InputError, match=r"'out\.2\.bias' has 1 of 6 values"):
        load_network(FfhqConfig(str(tmp_path / "w.safetensors")))


def test_a_value_too_large_for_float32_is_refused_at_load(tmp_path: Path) -> None:
    state = random_state()
    state["out.2.bias"] = torch.full((6,), 1e300, dtype=torch.float64)
    save_file(state, tmp_path / "w.safetensors", PUBLISHED)
    with pytest.raises(InputError, match=r"'out\.2\.bias' has 6 of 6 values"):
        load_network(FfhqConfig(str(tmp_path / "w.safetensors")))
