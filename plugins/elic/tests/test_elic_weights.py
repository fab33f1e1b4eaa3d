"""Published ELIC checkpoints: taken as they are and used, or refused by name with nothing stored."""

from __future__ import annotations

import json
import pickle
import re
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from idemcore.errors import InputError
from idemcore.learned.weights import model_id
from idemcore.pipeline.codec import Codec, open_bitstream
from idemcore.runtime import Runtime
from idemcore.weights import store as models
from idemcore_elic.network import Shape, shape_of
from idemcore_elic.weights import adapt

State = dict[str, Tensor]
CPU = Runtime(torch.device("cpu"), torch.float32)
SHAPES: dict[str, list[int]] = json.loads((Path(__file__).parent / "data" / "elic_chandelier.json").read_text())
FILE = models.find_one("elic-chandelier-1")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty."""
    monkeypatch.setenv("IDEM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def small(make: SimpleNamespace) -> State:
    """A checkpoint of the tiny network, with all that the published ones hold beside the parameters."""
    parameters = make.model().state_dict()
    derived = {name: torch.zeros(shape) for name, shape in SHAPES.items() if name.startswith("gaussian_conditional")}
    derived |= {
        f"entropy_bottleneck.{name}": torch.zeros(SHAPES[f"entropy_bottleneck.{name}"], dtype=kind)
        for name, kind in {
            "_offset": torch.int32, "_quantized_cdf": torch.int32, "_cdf_length": torch.int32,
            "target": torch.float32, "likelihood_lower_bound.bound": torch.float32,
        }.items()
    }  # fmt: skip
    masks = {
        name.replace("weight", "mask"): torch.ones_like(value)
        for name, value in parameters.items()
        if re.fullmatch(r"context_prediction\.\d\.weight", name)
    }
    return {**parameters, **derived, **masks}


def stored(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file()]


def old_names(state: State) -> State:
    """As CompressAI before 1.2.7 called them."""
    kinds = {"matrices": "_matrix", "biases": "_bias", "factors": "_factor"}

    def old(name: str) -> str:
        found = re.fullmatch(r"entropy_bottleneck\.(matrices|biases|factors)\.(\d)", name)
        return f"entropy_bottleneck.{kinds[found[1]]}{found[2]}" if found else name

    return {old(name): value for name, value in state.items()}


def test_the_published_layout_is_taken_and_its_shape_read() -> None:
    with torch.device("meta"):
        state = {name: torch.empty(shape) for name, shape in SHAPES.items()}
    kept = {name for name in state if not name.startswith("gaussian_conditional") and not name.endswith(".mask")}
    kept -= {f"entropy_bottleneck.{name}" for name in ("_offset", "_quantized_cdf", "_cdf_length", "target")}
    kept -= {"entropy_bottleneck.likelihood_lower_bound.bound"}
    assert shape_of({name: state[name] for name in kept}) == Shape()


WAYS: dict[str, Callable[[State], object]] = {
    "flat": lambda state: state,
    "in a training checkpoint": lambda state: {"epoch": 3, "state_dict": state, "loss": torch.tensor(1.0)},
    "with old names": old_names,
    "compiled": lambda state: {f"_orig_mod.{name}": value for name, value in state.items()},
    "averaged": lambda state: {"model": {k: v + 1 for k, v in state.items()}, "ema": {"module": state}},
    "with objects": lambda state: {"net": state, "args": Namespace(lr=1e-4)},
    "of several GPUs": lambda state: {f"module.{name}": value for name, value in state.items()},
    "of several GPUs with old names": lambda state: {f"module.{k}": v for k, v in old_names(state).items()},
    "after update()": lambda state: state | {
        "entropy_bottleneck._quantized_cdf": torch.ones(8, 30, dtype=torch.int32),
        "gaussian_conditional._quantized_cdf": torch.ones(64, 3133, dtype=torch.int32),
        "gaussian_conditional.scale_table": torch.ones(64),
    },
    "without the derived": lambda state: {
        k: v for k, v in state.items() if not k.startswith("gaussian") and "._" not in k and "target" not in k
    },
    "in float64": lambda state: {k: v.double() if v.is_floating_point() else v for k, v in state.items()},
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_a_checkpoint_saved_in_any_way_gives_the_same_weights(
    way: str, small: State, tmp_path: Path, make: SimpleNamespace
) -> None:
    torch.save(WAYS[way](small), tmp_path / "checkpoint.pth.tar")
    assert models.import_file(FILE, tmp_path / "checkpoint.pth.tar") is None
    assert models.verify(FILE) == "here"
    codec = Codec.load("elic", CPU, weights="chandelier", quality=1)
    expected = make.model().state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in codec.encoder.model.state_dict().items())
    assert codec.encoder.model_id == model_id(expected, "elic")


def test_files_of_two_qualities_are_told_apart(small: State, tmp_path: Path, make: SimpleNamespace) -> None:
    image, streams = make.real(make.picture(1, 20, 30)), {}
    for quality in (0, 3, 5):
        torch.save({**small, **make.model(quality).state_dict()}, tmp_path / "checkpoint.pt")
        models.import_file(models.find_one(f"elic-chandelier-{quality}"), tmp_path / "checkpoint.pt")
        streams[quality] = Codec.load("elic", CPU, weights="chandelier", quality=quality).encode(image)
    for written in streams.values():
        assert torch.equal(open_bitstream(written.data, runtime=CPU).decoded, written.decoded)


class Surprise:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed",)


def without(*names: str) -> Callable[[State], State]:
    return lambda state: {name: value for name, value in state.items() if name not in names}


def changed(name: str, change: Callable[[Tensor], object]) -> Callable[[State], dict[str, Any]]:
    return lambda state: {**state, name: change(state[name])}


WRONG: dict[str, tuple[Callable[[State], object], str]] = {
    "missing weight": (without("g_a.4.weight"), r"missing g_a\.4\.weight"),
    "missing first weight": (without("g_a.0.weight"), r"g_a\.0\.weight.* is missing"),
    "missing bias": (without("h_s.4.bias"), r"missing h_s\.4\.bias"),
    "missing mask": (without("context_prediction.2.mask"), r"missing context_prediction\.2\.mask"),
    "missing last group": (without("context_prediction.4.weight"), "unexpected .* misshapen"),
    "missing quantiles": (without("entropy_bottleneck.quantiles"), r"missing entropy_bottleneck\.quantiles"),
    "missing matrix": (without("entropy_bottleneck.matrices.2"), r"missing entropy_bottleneck\.matrices\.2"),
    "missing channel context": (without("cc_transforms.0.0.weight"), r"cc_transforms\.0\.0\.weight.* is missing"),
    "extra weight": (lambda s: {**s, "g_a.99.weight": torch.zeros(3)}, r"unexpected g_a\.99\.weight"),
    "extra mask": (lambda s: {**s, "g_a.0.mask": torch.zeros(3)}, r"unexpected g_a\.0\.mask"),
    "optimizer": (lambda s: {**s, "step": torch.tensor(3)}, "unexpected step"),
    "both names": (lambda s: {**s, "entropy_bottleneck._bias0": torch.zeros(8, 3, 1)}, "unexpected .*_bias0"),
    "transposed": (changed("g_s.1.weight", lambda v: v.transpose(0, 1)), r"misshapen g_s\.1\.weight \(8, 12, 5, 5\)"),
    "transposed 1x1": (changed("g_a.1.conv1.weight", lambda v: v.transpose(0, 1)), r"misshapen g_a\.1\.conv1\.weight"),
    "transposed first": (changed("g_a.0.weight", lambda v: v.transpose(0, 1)), "misshapen"),
    "another kernel": (changed("h_a.0.weight", lambda v: v[..., :1, :1]), r"misshapen h_a\.0\.weight"),
    "flattened": (changed("h_a.0.weight", lambda v: v.flatten()), r"misshapen h_a\.0\.weight"),
    "a number": (changed("g_a.0.weight", lambda v: v.sum()), "widths cannot be read"),
    "other groups": (changed("context_prediction.1.weight", lambda v: v[:, :1]), "misshapen"),
    "wrong mask": (changed("context_prediction.1.mask", lambda v: v[:1]), r"misshapen context_prediction\.1\.mask"),
    "integers": (changed("g_a.0.weight", lambda v: v.long()), r"wrong type g_a\.0\.weight int64"),
    "booleans": (changed("h_a.2.bias", lambda v: v > 0), r"wrong type h_a\.2\.bias bool"),
    "complex": (changed("h_a.2.bias", lambda v: v + 0j), r"wrong type h_a\.2\.bias complex64"),
    "no tensor": (changed("h_a.2.bias", lambda v: v.tolist()), r"missing h_a\.2\.bias"),
    "code": (lambda s: {**s, "hook": Surprise()}, "wants to run .*print"),
    "a list": (lambda s: list(s.values()), "no state dict"),
    "two networks": (lambda s: {"one": s, "other": s}, "several sets of weights"),
    "not a number": (changed("h_a.2.bias", lambda v: v * float("nan")), r"'h_a\.2\.bias' has \d+ of \d+ values"),
    "nothing": (lambda s: {}, "no state dict"),
    "another network": (lambda s: {"weight": torch.zeros(3, 3)}, "missing"),
    "half of it": (lambda s: dict(list(s.items())[: len(s) // 2]), "missing"),
    "truncated": (lambda s: b"truncated", "ends too early"),
    "empty": (lambda s: b"", "is empty"),
    "a web page": (lambda s: b"<!DOCTYPE html><html>Google Drive", "web page"),
    "plain pickle": (lambda s: pickle.dumps({"a": Surprise()}), "refused|cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_another_layout_is_refused_by_name_and_nothing_is_stored(
    kind: str, small: State, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = WRONG[kind][0](small)
    path = tmp_path / "checkpoint.pth.tar"
    if kind == "truncated":
        torch.save(small, path)
        path.write_bytes(path.read_bytes()[:-999])
    else:
        path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(InputError, match=WRONG[kind][1]) as caught:
        models.import_file(FILE, path)
    assert "checkpoint.pth.tar" in caught.value.message
    assert not stored(cache)
    assert models.state(FILE) == "missing"
    assert "executed" not in capsys.readouterr().out


def test_a_refused_file_leaves_the_stored_one(small: State, tmp_path: Path) -> None:
    torch.save(small, tmp_path / "good.pt")
    models.import_file(FILE, tmp_path / "good.pt")
    torch.save(without("g_a.4.weight")(small), tmp_path / "bad.pt")
    with pytest.raises(InputError):
        models.import_file(FILE, tmp_path / "bad.pt")
    assert models.verify(FILE) == "here"


def test_adapting_keeps_the_parameters_and_changes_nothing(small: State, make: SimpleNamespace) -> None:
    before = dict(small)
    kept, told = adapt(small)
    assert small.keys() == before.keys()
    assert kept.keys() == make.model().state_dict().keys()
    assert told == {"codec": "elic", "model_id": model_id(kept, "elic").hex()}


def test_the_full_published_layout_is_imported_and_codes_an_image(
    idem: Callable[..., Any], tmp_path: Path, make: SimpleNamespace
) -> None:
    """N 192, M 320 with random values: by the command line, 256x256 pixels to a file and back, exactly."""
    state = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
    make.randomise({name: value for name, value in state.items() if value.numel()})
    entropy = make.full_density(192)
    state |= {f"entropy_bottleneck.{name}": value for name, value in entropy.state_dict().items()}
    torch.save({"state_dict": old_names(state)}, tmp_path / "checkpoint.pth.tar")
    result = idem("models", "import", "elic-chandelier-1", tmp_path / "checkpoint.pth.tar")
    assert result.exit_code == 0, result.stderr
    Image.fromarray(make.picture(1, 256, 256)[0].permute(1, 2, 0).numpy()).save(tmp_path / "photo.png")
    chosen = ("--codec", "elic", "--set", "codec.weights=chandelier", "--quality", 1, "--device", "cpu")
    result = idem("encode", tmp_path / "photo.png", "-o", tmp_path / "photo.idem", *chosen)
    assert result.exit_code == 0, result.stderr
    opened = open_bitstream((tmp_path / "photo.idem").read_bytes(), runtime=CPU)
    encoder = opened.codec.encoder
    assert opened.codec.part.config.weights == "chandelier"
    y, z = encoder.analyse(make.real(make.picture(1, 256, 256)))
    assert y.isfinite().all()
    assert 1 < float(y.std()) < 100
    sent = encoder.coder.quantise(y, z)
    (found,) = (encoder.latents([opened.stream], (256, 256)),)
    assert all(torch.equal(getattr(found, part), getattr(sent, part)) for part in vars(sent))
    assert encoder.encode(make.real(make.picture(1, 256, 256))) == [opened.stream]
