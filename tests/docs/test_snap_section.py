"""The `snap` of docs/writing-a-plugin.md certifies clipped highlights, where a new codec without one does not."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from blocks import ROOT, blocks
from idemcore.pipeline.certify import Certified, certify
from idemcore.protocols import Cell
from idemcore.runtime import Runtime
from idemcore.scaffold import names_of, write_plugin

FINEST = 8


@pytest.fixture(scope="module", params=["as written", "of the tutorial"])
def codec(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A new codec at its finest quality, with the transform that it comes with and with the tutorial's."""
    name = f"snapped{len(request.param)}"
    folder = tmp_path_factory.mktemp("snap") / name
    write_plugin(names_of(name), "codec", folder)
    if request.param == "of the tutorial":
        (transform,) = (b for b in blocks(ROOT / "docs" / "writing-a-plugin.md") if b.file.endswith("transform.py"))
        (folder / "src" / name / "transform.py").write_text(transform.text)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder / "src")
        config = import_module(f"{name}.config").CodecConfig(quality=FINEST)
        yield import_module(f"{name}.codec").BlockCodec(config, Runtime(torch.device("cpu"), torch.float32))


@pytest.fixture(scope="module")
def snap() -> Any:
    """The page's."""
    namespace: dict[str, Any] = {}
    (block,) = (b for b in blocks(ROOT / "docs" / "writing-a-plugin.md") if "def snap" in b.text)
    exec(compile(block.text, block.page, "exec"), namespace)
    return namespace["snap"]


@pytest.fixture(scope="module")
def clipped() -> Tensor:
    """[1,3,H,W]: a part of the photograph with so much contrast that highlights and shadows are clipped."""
    with Image.open(ROOT / "examples" / "photo.png") as photo:
        image = pil_to_tensor(photo.convert("RGB").crop((0, 0, 160, 160)))[None].float() / 255
    stretched = (1.6 * image - 0.2).clamp(0, 1)
    assert float(((stretched == 0) | (stretched == 1)).float().mean()) > 0.05
    return (stretched * 255).round() / 255


def certified(cell: Cell) -> Certified:
    """Of g(y)."""
    return certify(cell, cell.centre)


def test_the_page_s_snap_certifies_clipped_highlights(codec: Any, snap: Any, clipped: Tensor) -> None:
    cell = codec.cell(codec.encode(clipped), clipped.shape[-2:])
    assert not all(certified(cell).exact), "the default finds an image too: the section is not needed"
    snapping = type("Snapping", (type(cell),), {"snap": snap})
    cell.__class__ = snapping
    found = certified(cell)
    assert found.exact == [True]
    assert min(found.psnr_moved) > 50


def test_the_page_s_snap_depends_on_no_other_image_of_the_batch(codec: Any, snap: Any, clipped: Tensor) -> None:
    images = torch.cat([clipped, clipped.flip(-1)])
    streams = codec.encode(images)
    both = codec.cell(streams, clipped.shape[-2:])
    alone = codec.cell(streams[1:], clipped.shape[-2:])
    assert torch.equal(snap(both, both.centre)[1:], snap(alone, alone.centre))
