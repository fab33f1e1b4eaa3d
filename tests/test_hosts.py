"""docs/examples: nodes for ComfyUI and chaiNNer, by the interfaces that these document, without either."""

from __future__ import annotations

import importlib.util
import inspect
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import idemcore as idem
from blocks import ROOT

EXAMPLES = ROOT / "docs" / "examples"


def loaded(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=[str(path.parent)])
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def jpeg(photo: Path, tmp_path: Path) -> Path:
    Image.open(photo).save(tmp_path / "old.jpg", quality=10)
    return tmp_path / "old.jpg"


@pytest.fixture
def comfyui() -> Iterator[ModuleType]:
    yield loaded("idem_comfyui", EXAMPLES / "comfyui" / "src" / "idem_comfyui.py")
    sys.modules.pop("idem_comfyui")


def called(node: type, **given: Any) -> dict[str, Any]:
    """As ComfyUI calls a node: every declared input by its name, a value for every declared output."""
    wanted = node.INPUT_TYPES()["required"]  # type: ignore[attr-defined]
    values = {name: given.get(name, (more[0] if more else {}).get("default")) for name, (_, *more) in wanted.items()}
    found = getattr(node(), node.FUNCTION)(**values)  # type: ignore[attr-defined]
    assert len(found) == len(node.RETURN_TYPES)  # type: ignore[attr-defined]
    return dict(zip(node.RETURN_NAMES, found, strict=True))  # type: ignore[attr-defined]


def test_comfyui_finds_nodes_with_names_and_choices(comfyui: ModuleType) -> None:
    assert comfyui.NODE_CLASS_MAPPINGS.keys() == comfyui.NODE_DISPLAY_NAME_MAPPINGS.keys()
    for node in comfyui.NODE_CLASS_MAPPINGS.values():
        assert set(node.INPUT_TYPES()) <= {"required", "optional", "hidden"}
        assert list(inspect.signature(getattr(node, node.FUNCTION)).parameters)[1:] == list(
            node.INPUT_TYPES()["required"]
        )
        assert node.CATEGORY
        assert len(node.RETURN_TYPES) == len(node.RETURN_NAMES)
    solvers, options = comfyui.Restore.INPUT_TYPES()["required"]["solver"]
    assert options["default"] in solvers


def test_comfyui_gets_an_image_that_is_exact(comfyui: ModuleType, jpeg: Path) -> None:
    found = called(comfyui.Restore, file=str(jpeg), solver="mean")
    image = found["image"]
    assert image.shape == (1, 24, 40, 3)
    assert image.dtype == torch.float32
    assert 0 <= image.min() < image.max() <= 1
    assert found["exact"] is True
    assert idem.verify(image.movedim(-1, 1), jpeg)


def test_comfyui_makes_a_batch_exact(comfyui: ModuleType, jpeg: Path) -> None:
    batch = torch.stack([torch.zeros(24, 40, 3), torch.full((24, 40, 3), 0.5)])
    found = called(comfyui.MakeExact, image=batch, file=str(jpeg))
    assert found["image"].shape == batch.shape
    assert found["exact"] is True
    assert all(idem.verify(one[None].movedim(-1, 1), jpeg) for one in found["image"])


def test_comfyui_draws_again_when_the_file_changes(comfyui: ModuleType, jpeg: Path) -> None:
    before = comfyui.Restore.IS_CHANGED(str(jpeg))
    assert before == comfyui.Restore.IS_CHANGED(str(jpeg))
    jpeg.touch()
    assert comfyui.MakeExact.IS_CHANGED(str(jpeg)) >= before
    assert math.isnan(comfyui.Restore.IS_CHANGED("nowhere.jpg"))


class Host:
    """chaiNNer, as far as its documentation says what it does with nodes."""

    def __init__(self) -> None:
        self.nodes: dict[str, tuple[Any, dict[str, Any]]] = {}
        inside = ("nodes", "nodes.properties", "nodes.properties.inputs", "nodes.properties.outputs")
        self.modules = {name: ModuleType(name) for name in ("api", *inside)}
        self.modules["api"].add_package = lambda file, **_: self  # type: ignore[attr-defined]
        inputs = self.modules["nodes.properties.inputs"]
        for kind in ("FileInput", "ImageInput", "SeedInput", "SliderInput"):
            setattr(inputs, kind, lambda *given, kind=kind, **more: (kind, given, more))
        setattr(self.modules["nodes.properties.outputs"], "ImageOutput", lambda **more: more)  # noqa: B010

    def add_category(self, **_: Any) -> Host:
        return self

    def add_node_group(self, _: str) -> Host:
        return self

    def register(self, schema_id: str, **metadata: Any) -> Any:
        def keep(function: Any) -> Any:
            hints = inspect.signature(function)
            assert len(hints.parameters) == len(metadata["inputs"]), "an argument an input"
            assert all(one.annotation is not inspect.Parameter.empty for one in hints.parameters.values())
            assert hints.return_annotation is not inspect.Signature.empty
            self.nodes[schema_id] = function, metadata
            return function

        return keep


@pytest.fixture
def chainner(monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host()
    for name, module in host.modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("idem_chainner", "idem_chainner.functions"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    loaded("idem_chainner", EXAMPLES / "chainner" / "src" / "idem_chainner" / "__init__.py")
    return host


def test_chainner_registers_nodes_with_their_metadata(chainner: Host) -> None:
    assert set(chainner.nodes) == {"idem:jpeg:restore", "idem:jpeg:make_exact"}
    for _, metadata in chainner.nodes.values():
        assert {"name", "description", "icon", "inputs", "outputs"} <= metadata.keys()


def test_chainner_gets_blue_first_and_its_input_stays(
    chainner: Host, jpeg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, _ = chainner.nodes["idem:jpeg:make_exact"]
    image = np.asarray(Image.open(jpeg).convert("RGB"))[..., ::-1].astype(np.float32) / 255
    image.flags.writeable = False
    found = node(image, jpeg)
    assert found.dtype == np.float32
    assert found.shape == (24, 40, 3)
    assert 0 <= found.min() < found.max() <= 1
    assert idem.verify(np.ascontiguousarray(found[..., ::-1]), jpeg)
    assert np.abs(found - image).mean() < 0.05, "the same colours, not red for blue"
    for other in (np.zeros((24, 40), np.float32), np.ones((24, 40, 4), np.float32)):
        assert idem.verify(np.ascontiguousarray(node(other, jpeg)[..., ::-1]), jpeg)


def test_chainner_restores_a_file(chainner: Host, jpeg: Path) -> None:
    node, _ = chainner.nodes["idem:jpeg:restore"]
    found = node(jpeg, 0, 0)
    assert found.shape == (24, 40, 3)
    assert idem.verify(np.ascontiguousarray(found[..., ::-1]), jpeg)
