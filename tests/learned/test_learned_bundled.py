"""The weights that the packages of learned codecs carry: what their card says, and what they do to a photograph."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from idemcore.io.images import read_bytes, to_bytes, write_png
from idemcore.learned.model import gaussian_likelihood
from idemcore.pipeline.certify import certify, psnr
from idemcore.pipeline.codec import Codec, open_bitstream
from idemcore.plugins.registry import registry_folder
from idemcore.runtime import Runtime
from idemcore.weights import store as models

CPU = Runtime(torch.device("cpu"), torch.float32)
QUALITIES = (1, 2, 3, 4)
PHOTO = Path(__file__).parents[2] / "examples" / "photo.png"


@pytest.fixture(scope="module", params=["elic", "hyperprior"])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def codecs(name: str) -> dict[int, Codec]:
    return {quality: Codec.load(name, CPU, quality=quality) for quality in QUALITIES}


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    """Bytes [1,3,128,192], of the middle of the example."""
    image = read_bytes(PHOTO)
    top, left = (image.shape[2] - 128) // 2, (image.shape[3] - 192) // 2
    return image[..., top : top + 128, left : left + 192].contiguous()


def test_the_card_describes_the_files(name: str, codecs: dict[int, Codec]) -> None:
    files = models.find(name)
    assert [(file.id, file.quality) for file in files] == [(f"{name}-{quality}", quality) for quality in QUALITIES]
    assert [models.verify(file) for file in files] == ["bundled"] * 4
    assert sum(file.bytes for file in files) < 25_000_000
    card = yaml.safe_load((registry_folder() / "models" / f"{name}.yaml").read_text(encoding="utf-8"))
    assert sum(p.numel() for p in codecs[1].encoder.model.parameters()) == card["parameters"]
    library = import_module(f"idemcore_{name}.library").LIBRARY
    assert {path.name for path in library.bundled.iterdir()} == {Path(file.file).name for file in files}


def test_a_higher_quality_costs_more_and_is_nearer(codecs: dict[int, Codec], photo: torch.Tensor) -> None:
    bits, fidelity = [], []
    for quality in QUALITIES:
        written = codecs[quality].encode(photo.float() / 255)
        bits.append(written.bits_per_pixel)
        fidelity.append(psnr(to_bytes(written.decoded), photo))
    assert bits == sorted(bits)
    assert fidelity == sorted(fidelity)
    assert 0.02 < bits[0] < 0.5 * bits[-1], bits
    assert fidelity[-1] - fidelity[0] > 4, fidelity
    assert fidelity[0] > 22, fidelity


@pytest.mark.parametrize("quality", QUALITIES)
def test_a_file_is_as_long_as_the_likelihood_says(codecs: dict[int, Codec], photo: torch.Tensor, quality: int) -> None:
    encoder = codecs[quality].encoder
    y, z = encoder.analyse(photo.float() / 255)
    found = encoder.coder.quantise(y, z)
    bits = -gaussian_likelihood(found.y_hat, found.means, found.scales).clamp(min=1e-9).log2().sum()
    bits -= encoder.model.entropy_bottleneck.likelihood(found.z_hat.float()).clamp(min=1e-9).log2().sum()
    estimate = float(bits) / 8
    assert abs(len(encoder.encode(photo.float() / 255)[0]) - estimate) < 0.01 * estimate + 8  # checksum, last words


@pytest.mark.parametrize("quality", QUALITIES)
def test_any_file_decodes_exactly_and_without_settings(
    name: str, codecs: dict[int, Codec], photo: torch.Tensor, quality: int
) -> None:
    image = photo[..., :71, :65].float() / 255
    written = codecs[quality].encode(image)
    opened = open_bitstream(written.data, runtime=CPU)
    assert (opened.codec.name, opened.codec.part.config.quality) == (name, quality)
    assert torch.equal(opened.decoded, written.decoded)
    assert bool(opened.cell.contains(photo[..., :71, :65]))
    encoder = opened.codec.encoder
    own = encoder.synthesise(encoder.coder.quantise(*encoder.analyse(image)).y_hat)[..., :71, :65]
    assert torch.equal(opened.decoded, own)


@pytest.mark.parametrize("quality", QUALITIES)
def test_a_grainy_decode_is_certified_and_hardly_moved(
    codecs: dict[int, Codec], photo: torch.Tensor, quality: int
) -> None:
    written = codecs[quality].encode(photo.float() / 255)
    noise = torch.randn(photo.shape, generator=torch.Generator().manual_seed(0))
    certified = certify(written.cell, (written.decoded + 0.5 * written.cell.distortion * noise).clamp(0, 1))
    assert certified.exact == [True]
    assert certified.psnr_moved[0] > 30


SMALL_SIZES = [(1, 1), (2, 3), (33, 17)]


@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("size", SMALL_SIZES)
def test_odd_sizes_are_certified_from_the_decode_and_from_another_image(
    codecs: dict[int, Codec], photo: torch.Tensor, quality: int, size: tuple[int, int]
) -> None:
    original, other = photo[..., : size[0], : size[1]], photo[..., -size[0] :, -size[1] :]
    written = codecs[quality].encode(original.float() / 255)
    for image in (written.decoded, other.float() / 255)[: 2 if quality == 2 else 1]:
        certified = certify(written.cell, image)
        assert certified.exact == [True]
        assert codecs[quality].encode(certified.image.float() / 255).data == written.data
    assert torch.equal(certify(written.cell, original.float() / 255).image, original), "the original is never moved"


def test_it_tells_how_wrong_its_decode_is(codecs: dict[int, Codec], photo: torch.Tensor) -> None:
    for quality in QUALITIES:
        written = codecs[quality].encode(photo.float() / 255)
        error = float((written.decoded - photo.float() / 255).square().mean().sqrt())
        assert abs(math.log2(float(written.cell.distortion) / error)) < 1, quality


def test_encode_copy_and_decode_in_an_empty_folder(
    idem: Callable[..., Any], name: str, photo: torch.Tensor, tmp_path: Path
) -> None:
    write_png(photo, tmp_path / "photo.png")
    encoded = idem("encode", tmp_path / "photo.png", "-o", tmp_path / "photo.idem", "--codec", name, "--quality", 2)
    assert encoded.exit_code == 0, encoded.stderr
    (tmp_path / "empty").mkdir()
    copy = shutil.copy(tmp_path / "photo.idem", tmp_path / "empty")
    decoded = idem("decode", copy, "-o", tmp_path / "empty" / "photo.png", "--mse")
    assert decoded.exit_code in (0, 3), decoded.stderr
    assert psnr(read_bytes(tmp_path / "empty" / "photo.png"), photo) > 22
