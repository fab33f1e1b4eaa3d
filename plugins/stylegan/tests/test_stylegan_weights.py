"""Published files: taken in both layouts, refused by name, and never run."""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from idemcore.errors import InputError, MissingError
from idemcore.runtime import Runtime
from idemcore.weights import store as models
from idemcore_stylegan import weights
from idemcore_stylegan.config import FfhqConfig, StyleGanSettings
from idemcore_stylegan.generator import StyleGanGenerator
from idemcore_stylegan.network import StyleGan, StyleGanConfig, mean_w
from idemcore_stylegan.ops import low_pass
from idemcore_stylegan.unpickle import read_generator

State = dict[str, Tensor]
Dump = Callable[..., Path]
Module = Callable[..., torch.nn.Module]
Snapshot = Callable[[StyleGan], dict[str, object]]
DATA = Path(__file__).parent / "data"
PUBLISHED: dict[str, Callable[[State], tuple[State, dict[str, str]]]] = {
    "nvidia_256": weights.adapt_ffhq_256,
    "nvidia_1024": weights.adapt_ffhq_1024,
    "rosinality_256": weights.adapt_ffhq_256,
    "rosinality_1024": weights.adapt_ffhq_1024,
}


def published(name: str) -> State:
    """Random values in the published layout, on the meta device but for the filters."""
    shapes = json.loads((DATA / f"stylegan2_{name}.json").read_text())
    state = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    layout = layout_of(name)
    filters = {key: low_pass(gain) for key, gain in layout.filters.items()}
    mean = {"latent_avg": torch.empty(512, device="meta")} if name.startswith("rosinality") else {}
    return {**state, **filters, **mean}


def rosinality_state(network: StyleGan) -> State:
    """`g_ema` of rosinality's checkpoints."""
    layout, own = weights.rosinality(network.config), network.state_dict()
    state = {their: own[name].reshape(layout.shapes[their]) for their, name in layout.names.items()}
    return {**state, **{name: low_pass(gain) for name, gain in layout.filters.items()}}


def layout_of(name: str) -> weights.Layout:
    family, resolution = name.split("_")
    build, widths = {"256": weights.FFHQ_256, "1024": weights.FFHQ_1024}[resolution][family == "rosinality"]
    return build(StyleGanConfig(widths))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_the_mean_is_estimated_in_any_precision(dtype: torch.dtype) -> None:
    config = StyleGanConfig((8, 8), w=8, z=8)
    own = {name: torch.rand(shape, dtype=dtype) for name, shape in weights.own_shapes(config).items()
           if name.startswith("mapping.") and name != "mapping.w_avg"}  # fmt: skip
    assert weights._estimated_mean(own, config).isfinite().all()


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_layouts_are_taken(name: str) -> None:
    adapted, metadata = PUBLISHED[name](published(name))
    assert metadata == {}
    assert {key: tuple(value.shape) for key, value in adapted.items()} == weights.own_shapes(layout_of(name).config)


@pytest.mark.parametrize("name", PUBLISHED)
def test_another_layout_is_refused_by_name(name: str) -> None:
    if name.startswith("nvidia"):
        lost, shaped, blurred = "mapping.fc7.bias", "synthesis.b64.conv0.weight", "synthesis.b8.conv0.resample_filter"
    else:
        lost, shaped, blurred = "style.8.bias", "convs.8.conv.weight", "convs.0.conv.blur.kernel"
    state = published(name)
    changes: dict[str, State] = {
        f"missing {lost}": {key: value for key, value in state.items() if key != lost},
        f"missing {blurred}": {key: value for key, value in state.items() if key != blurred},
        "unexpected mapping.embed.weight": {**state, "mapping.embed.weight": torch.empty(512, 10)},
        f"misshapen {shaped}": {**state, shaped: torch.empty(3)},
        f"wrong type {lost} int64": {**state, lost: torch.zeros(512, dtype=torch.int64)},
        f"{blurred} is not the filter": {**state, blurred: torch.full((4, 4), 1 / 16)},
    }
    for named, changed in changes.items():
        with pytest.raises(InputError) as caught:
            PUBLISHED[name](changed)
        assert named in caught.value.message


def test_one_size_is_not_taken_for_the_other() -> None:
    with pytest.raises(InputError, match=r"missing synthesis\.b1024"):
        weights.adapt_ffhq_1024(published("nvidia_256"))
    with pytest.raises(InputError, match="unexpected convs"):
        weights.adapt_ffhq_256(published("rosinality_1024"))


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_the_tensors_of_a_pickle_come_out_under_their_names(
    protocol: int, network: StyleGan, dump: Dump, snapshot: Snapshot, nvidia_state: Callable[[StyleGan], State]
) -> None:
    expected = nvidia_state(network)
    found = read_generator(dump(snapshot(network), protocol=protocol))
    assert found.keys() == expected.keys()
    assert all(found[name].equal(value) for name, value in expected.items())
    assert not {"torch_utils", "dnnlib"} & sys.modules.keys()


def test_features_are_cut_off_where_the_pickle_says(
    dump: Dump, snapshot: Snapshot, small: StyleGanConfig, random_network: Callable[[StyleGanConfig], StyleGan]
) -> None:
    network = random_network(replace(small, clamp=2.5))
    path = dump(snapshot(network))
    assert weights.load_network(str(path)).config == network.config


def test_tensors_may_be_views_of_one_storage(
    network: StyleGan, dump: Dump, nvidia_state: Callable[[StyleGan], State], pickled_module: Module
) -> None:
    state = nvidia_state(network)
    whole = torch.arange(40.0)
    state["mapping.fc0.bias"], state["mapping.fc1.bias"] = whole[3:35:2], whole[20:36]
    found = read_generator(dump({"G_ema": pickled_module(state)}))
    assert found["mapping.fc0.bias"].equal(whole[3:35:2])
    assert found["mapping.fc1.bias"].equal(whole[20:36])


@pytest.fixture
def files(network: StyleGan, dump: Dump, snapshot: Snapshot, tmp_path: Path) -> dict[str, Path]:
    """The same network in every kind of file."""
    ema, mean = rosinality_state(network), network.mapping.w_avg
    contents = {"zip.pt": True, "old.pt": False}
    for name, zipped in contents.items():
        content = {"g_ema": ema, "latent_avg": mean, "g_optim": {"step": 3}}
        torch.save(content, tmp_path / name, _use_new_zipfile_serialization=zipped)
    torch.save({**ema, "latent_avg": mean}, tmp_path / "flat.pt")
    return {name: tmp_path / name for name in (*contents, "flat.pt")} | {"pkl": dump(snapshot(network))}


def test_all_kinds_of_files_give_the_same_network(network: StyleGan, files: dict[str, Path]) -> None:
    expected = network.state_dict()
    for path in files.values():
        loaded = weights.load_network(str(path))
        assert loaded.config == network.config
        assert all(expected[name].equal(value) for name, value in loaded.state_dict().items())
        assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_a_mean_of_w_that_is_not_there_is_estimated(network: StyleGan, tmp_path: Path) -> None:
    torch.save({"g_ema": rosinality_state(network)}, tmp_path / "g.pt")
    loaded = weights.load_network(str(tmp_path / "g.pt"))
    torch.testing.assert_close(loaded.mapping.w_avg, mean_w(network.mapping))


@pytest.fixture
def published_small(small: StyleGanConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`small` stands for the published network; the cache is empty."""
    monkeypatch.setenv("IDEM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(weights, "FFHQ_256", ((weights.nvidia, small.widths), (weights.rosinality, small.widths)))
    monkeypatch.setattr(weights, "StyleGanConfig", lambda widths, *sizes: replace(small, widths=widths))


@pytest.mark.usefixtures("published_small")
def test_imported_weights_are_found_by_name(
    small: StyleGanConfig, files: dict[str, Path], tmp_path: Path, runtime: Runtime
) -> None:
    z = torch.randn(2, small.z, generator=torch.Generator().manual_seed(3))
    for path in files.values():
        file = models.find_one("stylegan2-ffhq-256")
        assert models.import_file(file, path) is None
        assert models.verify(file) == "here"
        by_name = StyleGanGenerator(FfhqConfig(), runtime)
        assert by_name.synthesize(z).equal(StyleGanGenerator(StyleGanSettings(str(path)), runtime).synthesize(z))
        stored = models.stored("stylegan2-ffhq-256")
        models.import_file(file, stored.rename(tmp_path / "again.safetensors"))
        assert StyleGanGenerator(FfhqConfig(), runtime).synthesize(z).equal(by_name.synthesize(z))


class Call:
    """Is unpickled as a call of this function with these arguments."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def inside_a_tensor(trap: Call) -> Call:
    buffer = io.BytesIO()
    torch.save({"storage": trap}, buffer, _use_new_zipfile_serialization=False)
    return Call(torch.storage._load_from_bytes, buffer.getvalue())


TRAPS: dict[str, Callable[[Path], tuple[object, str]]] = {
    "a command": lambda mark: (Call(os.system, f"touch {mark}"), "posix.system"),
    "a file": lambda mark: ({"G_ema": Call(open, str(mark), "w")}, "io.open"),
    "source": lambda mark: ([Call(exec, f"open({str(mark)!r}, 'w')")], "builtins.exec"),
    "an attribute": lambda mark: (Call(getattr, {}, "get"), "builtins.getattr"),
    "PyTorch's loader": lambda mark: (Call(torch.load, str(mark)), "torch.serialization.load"),
    "NumPy's loader": lambda mark: (Call(pickle.loads, b"."), "_pickle.loads"),
    "in a tensor": lambda mark: (inside_a_tensor(Call(os.mkdir, str(mark))), "code inside a tensor"),
}


@pytest.mark.usefixtures("published_small")
@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize("inside", [False, True], ids=["at the top", "in a module"])
def test_a_pickle_that_wants_to_run_something_is_refused(
    trap: str, inside: bool, dump: Dump, tmp_path: Path, pickled_module: Module
) -> None:
    mark, module = tmp_path / "mark", pickled_module({})
    module.trap, named = TRAPS[trap](mark)
    path = dump({"G_ema": module} if inside else module.trap)
    with pytest.raises(InputError, match=r"network\.pkl is refused: it wants to run") as caught:
        models.import_file(models.find_one("stylegan2-ffhq-256"), path)
    assert named in caught.value.message
    assert not mark.exists()
    assert not list(models.cache_folder().rglob("*"))


@pytest.mark.parametrize("state", [b"N}X\x0c\0\0\0__defaults__K\1K\2\x86s\x86", b"}X\x0c\0\0\0__defaults__K\1K\2\x86s"])
@pytest.mark.parametrize("name", [b"torch._utils\n_rebuild_tensor_v2", b"collections\nOrderedDict", b"numpy\ndtype"])
def test_a_pickle_cannot_alter_what_reads_it(
    name: bytes, state: bytes, network: StyleGan, dump: Dump, tmp_path: Path, snapshot: Snapshot
) -> None:
    """BUILD assigns attributes of the thing on the stack, here of what stands for a name."""
    (tmp_path / "a.pkl").write_bytes(b"\x80\3c" + name + b"\n" + state + b"b.")
    with pytest.raises(InputError, match=r"a\.pkl (cannot be read|holds no StyleGAN2)"):
        read_generator(tmp_path / "a.pkl")
    assert read_generator(dump(snapshot(network)))["mapping.w_avg"].equal(network.mapping.w_avg)


def test_networks_of_tensorflow_are_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "old.pkl").write_bytes(b"\x80\3cdnnlib.tflib.network\nNetwork\n)\x81.")
    with pytest.raises(InputError, match=r"old\.pkl is a network of TensorFlow") as caught:
        read_generator(tmp_path / "old.pkl")
    assert "stylegan2-ada-pytorch" in caught.value.hint


@pytest.mark.usefixtures("published_small")
def test_what_is_no_network_is_refused(
    network: StyleGan, dump: Dump, snapshot: Snapshot, pickled_module: Module
) -> None:
    shared = pickled_module({"a.weight": torch.zeros(1)})
    shared.add_module("b", shared.a)
    whole = dump(snapshot(network)).read_bytes()
    contents: dict[str, object] = {
        "no generator": {"G": pickled_module({})},
        "a list": [1, 2],
        "a state dict": {"G_ema": {"weight": 1}},
        "nothing": {"G_ema": None},
        "shared modules": {"G_ema": shared},
        "cut": whole[:-1000],
        "half": whole[: len(whole) // 2],
        "text": b"\x80\x04nonsense",
    }
    for name, content in contents.items():
        path = dump(content, f"{name}.pkl")
        if isinstance(content, bytes):
            path.write_bytes(content)
        with pytest.raises(InputError, match=rf"{name}\.pkl"):
            models.import_file(models.find_one("stylegan2-ffhq-256"), path)
        assert not list(models.cache_folder().rglob("*")), name


def test_what_is_no_stylegan_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    for content in ({"weight": torch.zeros(3)}, {"style.1.weight": torch.zeros(3)}, {"g_ema": {"a": 1}}, [1]):
        torch.save(content, path)
        with pytest.raises(InputError, match=r"other\.pt.* holds? "):
            weights.load_network(str(path))


@pytest.mark.parametrize(
    ("given", "hint"),
    [("bundled", "idem train stylegan"), ("", "generator.weights"), ("gone.pkl", "generator.weights")],
)
def test_missing_weights_are_an_error(given: str, hint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(weights, "BUNDLED", tmp_path / "stylegan2-faces64.safetensors")
    with pytest.raises(MissingError) as caught:
        weights.load_network(given)
    assert caught.value.exit_code == 4
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if "1024" in name else []) for name in PUBLISHED]
)
def test_the_published_networks_import_and_run(
    name: str,
    dump: Dump,
    snapshot: Snapshot,
    random_network: Callable[[StyleGanConfig], StyleGan],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    runtime: Runtime,
) -> None:
    monkeypatch.setenv("IDEM_CACHE", str(tmp_path / "cache"))
    resolution = int(name.split("_")[1])
    network = random_network(layout_of(name).config)
    path = tmp_path / "network.pt"
    if name.startswith("nvidia"):
        path = dump(snapshot(network))
    else:
        torch.save({"g_ema": rosinality_state(network), "latent_avg": network.mapping.w_avg}, path)
    models.import_file(models.find_one(f"stylegan2-ffhq-{resolution}"), path)
    generator = StyleGanGenerator(FfhqConfig(f"stylegan2-ffhq-{resolution}"), runtime)
    assert generator.size == (resolution, resolution)
    z = torch.randn(1, 512, generator=torch.Generator().manual_seed(0))
    image = generator.synthesize(z)
    assert image.shape == (1, 3, resolution, resolution)
    assert image.equal((network(z, network.synthesis.constant_noise()) + 1) / 2)
