"""Weight files: what is read, what is refused, and that nothing of them runs."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
from collections import Counter, OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from idemcore.errors import InputError, MissingError, UsageError
from idemcore.weights.checkpoints import (
    check_layout,
    fill,
    fingerprint,
    modern_names,
    read_safetensors,
    read_state_dict,
    write_safetensors,
)
from idemcore.weights.pickled import RECIPE

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.tensor([0.5, -1.0])}
SHAPES = {"a.weight": (2, 3), "a.bias": (2,)}


class Surprise:
    """A pickle that would make a folder when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def saved(content: object, **options: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return found.keys() == expected.keys() and all(
        found[key].equal(value) and found[key].dtype == value.dtype for key, value in expected.items()
    )


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        OrderedDict(STATE),
        {key: nn.Parameter(value) for key, value in STATE.items()},
        {"state_dict": STATE},
        {"epoch": 3, "state_dict": OrderedDict(STATE), "loss": 0.5, "optimizer": {"param_groups": [{"lr": 1e-4}]}},
        {"state_dict": STATE, "lr_scheduler": {"milestones": Counter({3800: 1}), "mode_worse": float("inf")}},
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_pytorch_files_flat_and_nested(content: object, zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth.tar"
    path.write_bytes(saved(content, _use_new_zipfile_serialization=zipped))
    found = read_state_dict(path)
    assert same(found, STATE)
    assert not any(value.requires_grad for value in found.values())


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.bin", "id.part"])
def test_safetensors_are_known_by_their_content(name: str, tmp_path: Path) -> None:
    save_file(STATE, tmp_path / name)
    assert same(read_state_dict(tmp_path / name), STATE)


@pytest.mark.parametrize("kind", ["bare", "zip", "legacy", "nested", "protocol 4"])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".pth.tar"])
def test_a_pickle_with_code_is_refused_and_nothing_of_it_runs(kind: str, suffix: str, tmp_path: Path) -> None:
    evil = Surprise(tmp_path / "executed")
    contents = {
        "bare": pickle.dumps(evil, 2),
        "zip": saved({**STATE, "a.extra": evil}),
        "legacy": saved({**STATE, "a.extra": evil}, _use_new_zipfile_serialization=False),
        "nested": saved({"state_dict": STATE, "optimizer": evil}),
        "protocol 4": pickle.dumps(evil, 4),
    }
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(contents[kind])
    with pytest.raises(InputError, match=f"weights{suffix}") as caught:
        read_state_dict(path, "Try another.")
    assert not (tmp_path / "executed").exists()
    assert caught.value.hint in ("Try another.", RECIPE)
    assert "weights_only" not in caught.value.message
    if kind in ("zip", "legacy", "nested") and suffix != ".safetensors":
        assert "mkdir" in caught.value.message
        assert "Nothing of it was run" in caught.value.message
        assert caught.value.hint == RECIPE


WHOLE = saved(STATE)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (b"no weights at all", "not a checkpoint"),
        (b"junk\n", "not a checkpoint"),
        (b"<!DOCTYPE html><title>Google Drive - Virus scan warning</title>", "web page"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a checkpoint"),
        (bytes(64), "not a checkpoint"),
        (WHOLE[:-100], "ends too early"),
        (WHOLE[:100], "ends too early"),
        (saved(STATE, _use_new_zipfile_serialization=False)[:-8], "ends too early"),
        (saved({}), "no named tensors"),
        (saved(3), "no named tensors"),
        (saved([torch.zeros(1)]), "no named tensors"),
        (saved(torch.zeros(3)), "no named tensors"),
        (saved({1: torch.zeros(1)}), "no named tensors"),
        (saved({"one": STATE, "other": STATE}), "several sets of weights: one, other"),
    ],
)
def test_what_is_no_checkpoint_is_refused(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.pt") as caught:
        read_state_dict(path)
    assert told in caught.value.message


@pytest.mark.parametrize(
    "damage", [lambda d: d[:-1], lambda d: d[:20], lambda d: d + b"\0", lambda d: bytes(8) + d[8:]]
)
def test_damaged_safetensors_are_refused(damage: object, tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    save_file(STATE, path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"bad\.safetensors cannot be read"):
        read_safetensors(path)


def test_a_missing_file_and_a_folder_are_missing_weights(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.pt", tmp_path):
        with pytest.raises(MissingError, match="no weight file") as caught:
            read_state_dict(path, "Get it.")
        assert caught.value.hint == "Get it."


def test_every_truncation_of_a_small_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.pt"
    for length in range(0, len(WHOLE), 37):
        path.write_bytes(WHOLE[:length])
        with pytest.raises(InputError):
            read_state_dict(path)


def test_the_right_layout_passes_in_any_precision() -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        check_layout({key: value.to(dtype) for key, value in STATE.items()}, SHAPES, "file")
    check_layout({**STATE, "n": torch.tensor(3)}, {**SHAPES, "n": ()}, "file", integers={"n"})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"a.bias": None}, "missing a.bias."),
        ({"b": torch.zeros(1)}, "unexpected b."),
        ({"a.weight": torch.zeros(3, 2)}, "misshapen a.weight (3, 2) for (2, 3)."),
        ({"a.bias": torch.zeros(2, 1)}, "misshapen a.bias (2, 1) for (2,)."),
        ({"a.bias": torch.zeros(())}, "misshapen a.bias () for (2,)."),
        ({"a.bias": torch.zeros(2, dtype=torch.int64)}, "of the wrong type a.bias int64 for floating point."),
        ({"a.bias": torch.zeros(2, dtype=torch.bool)}, "of the wrong type a.bias bool for floating point."),
        ({"a.bias": torch.zeros(2, dtype=torch.complex64)}, "of the wrong type a.bias complex64 for floating point."),
        ({"a.bias": None, "b": torch.zeros(1)}, "missing a.bias; unexpected b."),
        ({k: torch.zeros(1) for k in "pqrstu"}, "unexpected p, q, r and 3 more."),
    ],
)
def test_each_fault_of_a_layout_is_named(change: dict[str, torch.Tensor | None], told: str) -> None:
    found = {key: value for key, value in {**STATE, **change}.items() if value is not None}
    with pytest.raises(InputError) as caught:
        check_layout(found, SHAPES, "weights.pt", "Look elsewhere.")
    assert caught.value.message == f"weights.pt does not fit the network: {told}"
    assert caught.value.hint == "Look elsewhere."


def test_floats_are_no_integers() -> None:
    with pytest.raises(InputError, match="of the wrong type n float32 for integers"):
        check_layout({"n": torch.zeros(())}, {"n": ()}, "file", integers={"n"})


class Counted(nn.Linear):
    def __init__(self) -> None:
        super().__init__(3, 2)
        self.register_buffer("count", torch.tensor(0))


def test_fill_freezes_and_keeps_the_kind_of_each_number(tmp_path: Path) -> None:
    state = {"weight": STATE["a.weight"].half(), "bias": STATE["a.bias"].double(), "count": torch.tensor(7)}
    with torch.device("meta"):
        network = Counted()
    fill(network, state, tmp_path / "x.pt")
    assert {value.dtype for value in network.parameters()} == {torch.float32}
    assert (int(network.count), network.count.dtype) == (7, torch.int64)
    assert network.weight.equal(STATE["a.weight"])
    assert not network.training
    assert not any(value.requires_grad for value in network.parameters())
    with pytest.raises(InputError, match=r"x\.pt.*missing count"):
        fill(Counted(), {"weight": state["weight"], "bias": state["bias"]}, tmp_path / "x.pt")


def test_compressai_names_old_and_new_are_one() -> None:
    old = {f"entropy_bottleneck._{kind}{n}": torch.tensor(n) for kind in ("matrix", "bias", "factor") for n in (0, 3)}
    middle = {f"entropy_bottleneck._{kind}.{n}": torch.tensor(n)
              for kind in ("matrices", "biases", "factors") for n in (0, 3)}  # fmt: skip
    new = {f"entropy_bottleneck.{kind}.{n}": torch.tensor(n)
           for kind in ("matrices", "biases", "factors") for n in (0, 3)}  # fmt: skip
    others = {
        "entropy_bottleneck._quantized_cdf": torch.tensor(8),
        "g_a.0.bias": torch.tensor(9),
        "module": STATE["a.bias"],
    }
    for names in (old, middle, new):
        assert same(modern_names({**names, **others}), {**new, **others})


def test_a_name_that_would_collide_stays_to_be_refused() -> None:
    both = {"entropy_bottleneck._bias0": torch.tensor(1), "entropy_bottleneck.biases.0": torch.tensor(2)}
    assert same(modern_names(both), both)


def test_old_names_are_those_that_compressai_maps_itself() -> None:
    pytest.importorskip("compressai")
    from compressai.entropy_models import EntropyBottleneck

    new = EntropyBottleneck(2).state_dict(prefix="entropy_bottleneck.")
    kept = {key for key in new if ".matrices." in key or ".biases." in key or ".factors." in key}
    singular = {"matrices": "_matrix", "biases": "_bias", "factors": "_factor"}
    old = {f"entropy_bottleneck.{singular[key.split('.')[1]]}{key.split('.')[2]}": new[key] for key in kept}
    assert len(kept) > 10
    assert same(modern_names(old), {key: new[key] for key in kept})


def test_written_safetensors_hold_views_and_shared_tensors(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    tensors = {"t": base.T, "whole": base, "row": base[1], "half": base.bfloat16(), "none": torch.zeros(0, 2)}
    write_safetensors(tmp_path / "w.safetensors", tensors, {"note": "x"})
    found, metadata = read_safetensors(tmp_path / "w.safetensors")
    assert same(found, tensors)
    assert metadata == {"note": "x"}
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_a_written_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "w.safetensors", STATE, {})
    (tmp_path / "other").touch()
    assert (tmp_path / "w.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.safetensors"
    write_safetensors(path, STATE, {})

    def full(tensors: object, filename: Path, metadata: object) -> None:
        Path(filename).write_bytes(b"half")
        raise OSError(28, "No space left on device", str(filename))

    monkeypatch.setattr("idemcore.weights.checkpoints.save_file", full)
    with pytest.raises(Exception, match="No space left"):
        write_safetensors(path, {"b": torch.zeros(1)}, {})
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]
    assert same(load_file(path), STATE)


def test_a_folder_that_does_not_exist_is_an_error_of_the_path(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="make it first"):
        write_safetensors(tmp_path / "absent" / "w.safetensors", STATE, {})


def test_the_fingerprint_sees_every_change_and_no_order() -> None:
    reference = fingerprint(STATE, {"a": "1", "b": "2"})
    assert fingerprint(dict(reversed(STATE.items())), {"b": "2", "a": "1"}) == reference
    flipped = STATE["a.bias"].clone()
    flipped.view(torch.uint8)[5] ^= 1
    changed = [
        ({**STATE, "a.bias": flipped}, {"a": "1", "b": "2"}),
        ({**STATE, "a.weight": STATE["a.weight"].reshape(3, 2)}, {"a": "1", "b": "2"}),
        ({**STATE, "a.weight": STATE["a.weight"].view(torch.int32)}, {"a": "1", "b": "2"}),
        ({"a.weight": STATE["a.weight"], "b.bias": STATE["a.bias"]}, {"a": "1", "b": "2"}),
        (STATE, {"a": "1", "b": "3"}),
        (STATE, {}),
    ]
    assert reference not in [fingerprint(*pair) for pair in changed]


class Runs:
    def __reduce__(self):
        return os.system, ("true",)


LOADS_TWICE = """
import sys
from pathlib import Path
from idemcore.weights.checkpoints import read_state_dict
from idemcore.errors import InputError
refused, sound = map(Path, sys.argv[1:])
try:
    read_state_dict(refused)
except InputError as error:
    print(error)
refused.write_bytes(b"")
print(sorted(read_state_dict(sound)))
"""


def test_a_refused_file_may_change_before_the_next_is_read(tmp_path):
    """PyTorch kept its sparse tensors, mapped from it, and looked at them at the next load: SIGBUS."""
    torch.save({"a": torch.eye(3).to_sparse(), "b": Runs()}, tmp_path / "refused.pt")
    torch.save({"a": torch.eye(3)}, tmp_path / "sound.pt")
    command = [sys.executable, "-c", LOADS_TWICE, tmp_path / "refused.pt", tmp_path / "sound.pt"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "wants to run" in done.stdout
    assert done.stdout.endswith("['a']\n")
