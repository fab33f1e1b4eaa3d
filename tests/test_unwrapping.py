"""Checkpoints as training programs write them: wrapped in containers, prefixes and objects; nothing of them runs."""

from __future__ import annotations

import argparse
import contextlib
import enum
import pathlib
import pickle
import warnings
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from idemcore.errors import IdemWarning, InputError
from idemcore.weights.checkpoints import read_state_dict, read_weights
from idemcore.weights.pickled import RECIPE
from idemcore.weights.unwrapping import AVERAGED, unwrap

WEIGHTS = {
    "conv.weight": torch.arange(6.0).reshape(2, 3),
    "conv.bias": torch.tensor([0.5, -1.0]),
    "scale": torch.ones(3),
}
DOTTED = {key: value for key, value in WEIGHTS.items() if "." in key}
LAST = {key: value + 1 for key, value in WEIGHTS.items()}
"""Of the last step: not to be taken where averaged weights are there."""


def prefixed(prefix: str, weights: dict[str, Tensor] = WEIGHTS) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in weights.items()}


def same(found: dict[str, Tensor], expected: dict[str, Tensor] = WEIGHTS) -> bool:
    return found.keys() == expected.keys() and all(found[key].equal(value) for key, value in expected.items())


def read(content: object, path: Path, zipped: bool = True) -> tuple[dict[str, Tensor], list[str]]:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        found = read_state_dict(path)
    assert all(note.category is IdemWarning for note in notes)
    return found, [str(note.message) for note in notes]


PREFIXES = ("module.", "model.", "diffusion_model.", "_orig_mod.", "model.diffusion_model.", "module._orig_mod.",
            "_orig_mod.module.", "net.", "ema_model.", "module.module.", "_fsdp_wrapped_module.")  # fmt: skip


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("inside", ["", "state_dict", "ema"])
def test_prefixes_of_wrappers_are_taken_off(prefix: str, inside: str, tmp_path: Path) -> None:
    content = {inside: prefixed(prefix), "epoch": 3} if inside else prefixed(prefix)
    assert same(read(content, tmp_path / "w.pt")[0])


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.filterwarnings("ignore::idemcore.errors.IdemWarning")
def test_prefixes_in_safetensors_too(prefix: str, tmp_path: Path) -> None:
    save_file({key: value.clone() for key, value in prefixed(prefix).items()}, tmp_path / "w.bin", {"side": "8"})
    found, metadata = read_weights(tmp_path / "w.bin")
    assert same(found)
    assert metadata == {"side": "8"}


@pytest.mark.parametrize(
    "name", ["ema", "model", "params_ema", "state_dict", "net", "model_ema", "params", "g_ema", "anything"]
)
@pytest.mark.parametrize("zipped", [True, False])
def test_containers_are_opened(name: str, zipped: bool, tmp_path: Path) -> None:
    found, notes = read({name: WEIGHTS, "step": 1, "optimizer": {"state": {}}}, tmp_path / "w.pt", zipped)
    assert same(found)
    assert bool(notes) == (name in AVERAGED)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"model": LAST, "ema": WEIGHTS}, "'ema'"),
        ({"ema": prefixed("module."), "model": LAST, "step": 7}, "'ema'"),
        ({"params": LAST, "params_ema": WEIGHTS}, "'params_ema'"),
        ({"state_dict": LAST, "state_dict_ema": WEIGHTS}, "'state_dict_ema'"),
        ({"model": {"net": LAST, "ema": WEIGHTS}}, "'ema'"),
        ({"state_dict": {**prefixed("model.", LAST), **prefixed("ema_model.", WEIGHTS)}}, "'ema_model'"),
        (
            {"ema": {"initted": torch.tensor(True), "step": torch.tensor(9), **prefixed("online_model.model.", LAST),
                     **prefixed("ema_model.model.", WEIGHTS)}, "model": prefixed("model.", LAST)},
            "'ema'",
        ),
    ],
)  # fmt: skip
def test_averaged_weights_are_preferred_and_said(content: object, named: str, tmp_path: Path) -> None:
    found, notes = read(content, tmp_path / "w.pt")
    assert same(found)
    assert len(notes) == 1
    assert f"averaged weights in {named} are used" in notes[0]
    assert "w.pt" in notes[0]


def test_the_note_names_what_is_left_out() -> None:
    assert unwrap({"model": LAST, "ema": WEIGHTS}, "w").note.endswith("not those in 'model'")
    assert unwrap(WEIGHTS, "w").note == ""
    assert unwrap({"model": WEIGHTS}, "w").note == ""


def test_averaged_names_without_dots_are_put_back() -> None:
    """As latent-diffusion's LitEma writes them."""
    short = {f"model_ema.{key.replace('.', '')}": value for key, value in prefixed("diffusion_model.", DOTTED).items()}
    counters = {"model_ema.decay": torch.tensor(0.99), "model_ema.num_updates": torch.tensor(3)}
    others = {"betas": torch.rand(9), "first_stage_model.conv.weight": torch.rand(2)}
    state = {**prefixed("model.diffusion_model.", {k: v + 1 for k, v in DOTTED.items()}), **short, **counters, **others}
    found = unwrap({"state_dict": state}, "w")
    assert same(found.state, DOTTED)
    assert found.averaged == "model_ema"


def test_buffers_without_an_average_are_those_of_the_last_step() -> None:
    """LitEma averages parameters only."""
    buffer = next(iter(DOTTED))
    averaged = {key: value for key, value in DOTTED.items() if key != buffer}
    short = {f"model_ema.{key.replace('.', '')}": value for key, value in averaged.items()}
    last = {key: value + 1 for key, value in DOTTED.items()}
    found = unwrap({"state_dict": {**prefixed("model.", last), **short, "model_ema.decay": torch.tensor(0.9)}}, "w")
    assert same(found.state, {**averaged, buffer: last[buffer]})
    assert found.averaged == "model_ema"


@pytest.mark.parametrize("ema", [torch.ones(5), {"decay": torch.tensor(0.99), "updates": torch.tensor(5)}])
def test_what_is_called_an_average_and_is_none_is_passed_over(ema: object) -> None:
    found = unwrap({"state_dict": DOTTED, "ema": ema}, "w")
    assert same(found.state, DOTTED)
    assert found.averaged == ""


def test_averaged_weights_without_names_are_said(tmp_path: Path) -> None:
    content = {"model": WEIGHTS, "ema": {"decay": 0.99, "shadow_params": list(LAST.values())}}
    found, notes = read(content, tmp_path / "w.pt")
    assert same(found)
    assert "'ema' have no names" in notes[0]


def test_what_stands_beside_the_network_is_passed_over() -> None:
    lightning = {**prefixed("model.", DOTTED), "loss.lpips.weight": torch.rand(3), "n_averaged": torch.tensor(4)}
    assert same(unwrap({"state_dict": lightning, "hyper_parameters": {"lr": 1e-4}}, "w").state, DOTTED)
    swa = {**prefixed("module.", DOTTED), "n_averaged": torch.tensor(4)}
    assert same(unwrap(swa, "w").state, DOTTED)
    assert same(unwrap({**WEIGHTS, "epoch": 3, "args": {"lr": 1}}, "w").state)


def test_names_that_are_a_networks_own_stay() -> None:
    own = {"model.weight": torch.ones(1), "head.weight": torch.ones(1)}
    assert unwrap(own, "w").state.keys() == own.keys()


class Settings:
    def __init__(self) -> None:
        self.lr, self.inner = 1e-4, argparse.Namespace(depth=3)


@dataclass
class Data:
    name: str = "faces"


class Config(dict):  # type: ignore[type-arg]
    pass


@pytest.mark.parametrize(
    "company",
    [argparse.Namespace(lr=1e-4, betas=(0.9, 0.99)), Settings(), Data(), Config(a={"b": Config(c=1)}), Settings,
     np.float64(3), np.arange(3), pathlib.PurePosixPath("a/b"), Path("a"),
     {"best": np.float32(1), "where": [Path("x"), Data()]}],
)  # fmt: skip
@pytest.mark.parametrize("zipped", [True, False])
def test_objects_beside_the_weights_are_passed_over(company: object, zipped: bool, tmp_path: Path) -> None:
    assert same(read({"state_dict": WEIGHTS, "args": company}, tmp_path / "w.pt", zipped)[0])
    assert same(read({**WEIGHTS, "args": company}, tmp_path / "w.pt", zipped)[0])


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.register_buffer("scratch", torch.zeros(2), persistent=False)
        self.settings, self.act = Settings(), torch.nn.functional.silu


@pytest.mark.parametrize("wrap", [lambda n: n, lambda n: {"ema": n, "epoch": 3}, nn.DataParallel])
def test_a_whole_module_gives_its_state_dict(wrap: Any, tmp_path: Path) -> None:
    network = Network()
    assert same(read(wrap(network), tmp_path / "w.pt")[0], dict(network.state_dict()))


def test_a_whole_module_of_an_old_file_is_refused_with_a_recipe(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="whole module") as caught:
        read(Network(), tmp_path / "w.pt", zipped=False)
    assert caught.value.hint == RECIPE


class Colour(enum.Enum):
    RED = 1


class Calls:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return print, ("this ran",)


@pytest.mark.parametrize(("company", "named"), [(Calls(), "print"), (Colour.RED, "Colour")])
def test_a_file_that_calls_something_is_refused_with_a_recipe(
    company: object, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"state_dict": WEIGHTS, "args": company}, tmp_path / "w.pt")
    with pytest.raises(InputError, match=rf"w\.pt is refused: it wants to run \S*{named}") as caught:
        read_state_dict(tmp_path / "w.pt")
    assert "torch.save(model.state_dict()" in caught.value.hint
    assert "this ran" not in capsys.readouterr().out


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["pt", "safetensors"])
@pytest.mark.filterwarnings("ignore::idemcore.errors.IdemWarning")
def test_values_that_are_not_finite_are_refused_by_name(
    bad: float, dtype: torch.dtype, kind: str, tmp_path: Path
) -> None:
    state = {key: value.to(dtype, copy=True) for key, value in WEIGHTS.items()}
    state["conv.bias"][1] = bad
    path = tmp_path / f"w.{kind}"
    torch.save({"ema": state}, path) if kind == "pt" else save_file(state, path)
    with pytest.raises(InputError, match=r"w\.\w+ holds no usable weights: 'conv.bias' has 1 of 2 values"):
        read_state_dict(path)


def test_not_a_number_in_the_optimizer_is_none_of_ours(tmp_path: Path) -> None:
    content = {"model": WEIGHTS, "optimizer": {"exp_avg": torch.tensor([float("nan")])}}
    assert same(read(content, tmp_path / "w.pt")[0])


def test_containers_inside_themselves_end() -> None:
    loop: dict[str, Any] = {}
    loop["model"] = loop
    with pytest.raises(InputError, match="no named tensors"):
        unwrap(loop, "w")
    wide: Any = {"x": 1}
    for _ in range(60):
        wide = {"a": wide, "b": wide, "c": wide}
    with pytest.raises(InputError, match="no named tensors"):
        unwrap(wide, "w")
    deep: Any = WEIGHTS
    for _ in range(100_000):
        deep = {"model": deep}
    with pytest.raises(InputError, match="no named tensors"):
        unwrap(deep, "w")


def test_a_module_inside_itself_ends() -> None:
    module = OrderedDict()
    module.__dict__.update(_parameters={"weight": torch.ones(1)}, _modules={"a": module, "b": module})
    assert len(unwrap({"model": module, "other": 1}, "w").state) < 20_000


def test_every_byte_of_a_file_with_objects_may_be_damaged(tmp_path: Path) -> None:
    """Whatever the damage, it is read or refused in words."""
    path = tmp_path / "w.pt"
    torch.save({"model": WEIGHTS, "args": Data(), "net": nn.Linear(2, 2)}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] = rng.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(InputError):
            read_state_dict(path)


def test_pickles_of_plain_python_are_no_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(InputError, match=r"w\.pkl"):
        read_state_dict(tmp_path / "w.pkl")
