"""Tiles: the same as without them where a network looks no further than the halo, no seams, bounded memory."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from PIL import Image
from torch import Tensor

from idemcore.cli import main
from idemcore.errors import IdemWarning, UnsupportedCombination, UsageError
from idemcore.io.images import read_image
from idemcore.pipeline.codec import Codec
from idemcore.pipeline.decoder import Decoder
from idemcore.pipeline.tiles import AUTO, TiledDenoiser, chosen_tile, fitted, least_tile, mirrored, tiled, windows
from idemcore.protocols import DiffusionGenerator
from idemcore.runtime import Runtime

CPU = Runtime(torch.device("cpu"), torch.float32)


class Blur(DiffusionGenerator):
    """Looks `halo` pixels far, on a grid of `multiple` pixels as a network of several resolutions does."""

    sigma_min, sigma_max = 0.001, 10.0

    def __init__(self, halo: int = 8, multiple: int = 4, size: tuple[int, int] | None = None) -> None:
        self.halo, self.multiple, self.size = halo, multiple, size
        self.seen: list[tuple[int, ...]] = []

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        self.seen.append(tuple(x.shape))
        height, width = x.shape[-2:]
        whole = mirrored(x, (height + -height % self.multiple, width + -width % self.multiple))
        coarse = F.interpolate(F.avg_pool2d(whole, self.multiple), scale_factor=self.multiple, mode="nearest")
        reach = self.halo - self.multiple + 1
        wide = F.avg_pool2d(coarse, 2 * reach + 1, 1, reach, count_include_pad=False)
        return (x + sigma * wide[..., :height, :width]) / (1 + sigma)


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize(("size", "halo", "ramp"), [(16, 2, 2), (16, 4, 0), (16, 0, 4), (8, 0, 1), (64, 4, 8)])
def test_windows_cover_an_axis_with_weights_that_sum_to_one(size: int, halo: int, ramp: int, fixed: bool) -> None:
    for length in range(1, 5 * size):
        found = windows(length, size, halo, ramp, fixed)
        total = torch.zeros(length)
        for window in found:
            assert 0 <= window.start <= window.first < window.last
            assert window.last <= window.stop <= length
            assert window.stop - window.start <= size
            assert not fixed or length < size or window.stop - window.start == size
            total[window.first : window.last] += window.weight
        torch.testing.assert_close(total, torch.ones(length))
        for left, right in itertools.pairwise(found):
            assert left.last <= left.stop - halo
            assert right.first >= right.start + halo


def test_windows_that_cannot_overlap_enough_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot overlap"):
        windows(100, 16, halo=4, ramp=1)


@pytest.mark.parametrize(("height", "width"), [(96, 128), (97, 61), (130, 33), (40, 200), (64, 64), (3, 150)])
def test_tiles_are_the_same_as_the_whole_where_the_halo_is_all_a_network_looks_at(height: int, width: int) -> None:
    x, network = torch.rand(2, 3, height, width), Blur()
    together = TiledDenoiser(network, 64).denoise(x, 0.5)
    torch.testing.assert_close(together, network.denoise(x, 0.5), rtol=0, atol=1e-6)


def test_an_image_of_one_tile_is_bit_for_bit_what_it_is_without_tiles() -> None:
    x, network = torch.rand(1, 3, 61, 64), Blur()
    assert torch.equal(TiledDenoiser(network, 64).denoise(x, 0.5), network.denoise(x, 0.5))
    assert fitted(network, (61, 64), 64) is network
    assert fitted(network, (AUTO, AUTO)) is network


def test_no_network_call_sees_more_pixels_than_a_tile() -> None:
    network = Blur()
    TiledDenoiser(network, 64).denoise(torch.rand(1, 3, 301, 517), 0.5)
    assert len(network.seen) > 20
    assert max(height * width for *_, height, width in network.seen) <= 64 * 64


def test_gradients_pass_through_tiles_as_through_the_whole() -> None:
    x, network = torch.rand(1, 3, 70, 90, requires_grad=True), Blur()
    target = torch.rand(1, 3, 70, 90)
    gradients = [
        torch.autograd.grad((prior.denoise(x, 0.5) - target).square().sum(), x)[0]
        for prior in (network, TiledDenoiser(network, 64))
    ]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-5)


class Uneven(Blur):
    """Knows where in its window a pixel is, as a network of one size does: what makes seams if tiles only abut."""

    def denoise(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        self.seen.append(tuple(x.shape))
        return x + torch.linspace(-0.2, 0.2, x.shape[-1])


def test_there_are_no_seams_between_tiles_that_disagree() -> None:
    x = torch.full((1, 3, 16, 150), 0.5)
    image = TiledDenoiser(Uneven(size=(16, 32))).denoise(x, 0.1)
    # Ends of two windows are 0.4 apart; over the blend that is no more than 0.4 / 4 a pixel, and their own slope.
    assert float((image[..., 1:] - image[..., :-1]).abs().max()) < 0.15


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 32), (50, 75), (20, 100), (7, 5)])
def test_a_generator_of_one_size_sees_windows_of_that_size_only(height: int, width: int) -> None:
    network = Blur(size=(32, 32), multiple=1, halo=1)
    x = torch.rand(1, 3, height, width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IdemWarning)
        image = fitted(network, (height, width)).denoise(x, 0.5)
    assert image.shape == x.shape
    assert set(network.seen) == {(1, 3, 32, 32)}


def test_a_generator_of_one_size_warns_of_what_tiles_of_it_mean() -> None:
    network = Blur(size=(32, 32))
    with pytest.warns(IdemWarning, match="makes images of 32x32 pixels; this one of 75x50 is made of such tiles"):
        fitted(network, (50, 75))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fitted(network, (32, 32)) is network


def test_the_learned_variance_is_tiled_too() -> None:
    class Learned(Blur):
        def denoise_and_variance(self, x: Tensor, sigma: Tensor | float) -> tuple[Tensor, Tensor | None]:
            return self.denoise(x, sigma), x / 2

    x = torch.rand(1, 3, 90, 70)
    x0, share = TiledDenoiser(Learned(), 64).denoise_and_variance(x, 0.5)
    torch.testing.assert_close(x0, Learned().denoise(x, 0.5), rtol=0, atol=1e-6)
    torch.testing.assert_close(share, x / 2)
    assert TiledDenoiser(Blur(), 64).denoise_and_variance(x, 0.5)[1] is None


def test_tiles_of_a_network_that_changes_resolution() -> None:
    x = torch.rand(1, 3, 64, 160)
    down = lambda part: F.avg_pool2d(part, 8)  # noqa: E731
    cut = windows(8, 4, 0, 0), windows(20, 4, 0, 0)
    torch.testing.assert_close(tiled(down, x, *cut, takes=8), down(x))
    up = lambda part: F.interpolate(part, scale_factor=8.0)  # noqa: E731
    torch.testing.assert_close(tiled(up, down(x), *cut, gives=8), up(down(x)))


def test_mirroring_goes_on_as_often_as_it_takes() -> None:
    row = torch.arange(3.0).view(1, 1, 1, 3)
    assert mirrored(row, (2, 9)).tolist() == [[[[0, 1, 2, 1, 0, 1, 2, 1, 0]] * 2]]
    assert mirrored(row, (1, 2)) is row


def test_tiles_follow_from_the_size_alone_unless_asked_for() -> None:
    assert chosen_tile((1000, 1000), None) is None
    assert chosen_tile((3000, 4000), None) == AUTO
    assert chosen_tile((100, 100), 64) == 64
    assert chosen_tile((64, 50), 64) is None


def test_tiles_too_small_for_the_generator_are_refused() -> None:
    least = least_tile(Blur())
    assert isinstance(fitted(Blur(), (500, 500), least), TiledDenoiser)
    with pytest.raises(UsageError, match=f"Use --tile {least} or more"):
        fitted(Blur(), (500, 500), least - 1)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    rows, columns = np.mgrid[0:72, 0:90]
    waves = [np.sin(rows / 5 + channel) * np.cos(columns / 7) * 90 + 128 for channel in range(3)]
    path = tmp_path / "waves.png"
    Image.fromarray(np.stack(waves, -1).astype(np.uint8)).save(path)
    return path


def test_a_decode_in_tiles_is_that_without_them(photo: Path) -> None:
    bitstream = Codec.load("jpeg", CPU, quality=10).encode(read_image(photo))
    settings: dict[str, dict[str, Any]] = {"solver": {"steps": 3}}
    whole, cut = (
        Decoder.load("toy", "cell", Runtime(torch.device("cpu"), torch.float32, tile), settings) for tile in (None, 64)
    )
    assert cut.generator is not None
    cut.generator.halo = 0  # the toy prior looks at single pixels
    assert isinstance(cut.fitted(bitstream.size), TiledDenoiser)
    one, other = whole.reconstruct(bitstream, seed=3), cut.reconstruct(bitstream, seed=3)
    assert [one.exact, other.exact] == [True, True]
    assert float((one.image.int() - other.image.int()).abs().max()) <= 1


def test_a_network_of_one_size_decodes_a_larger_photo_with_a_note(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("idemcore_toy.generator.ToyGenerator.size", (64, 64))
    jpeg, output = tmp_path / "waves.jpg", tmp_path / "out.png"
    Image.open(photo).save(jpeg, quality=10)
    words = ["decode", str(jpeg), "-o", str(output), "--generator", "toy", "--set", "solver.steps=1"]
    found = CliRunner().invoke(main, words)
    assert found.exit_code == 0, found.output
    assert "note: the generator makes images of 64x64 pixels; this one of 90x72 is made of such tiles" in found.stderr
    assert Image.open(output).size == (90, 72)


def test_a_latent_generator_of_another_size_is_refused(photo: Path) -> None:
    bitstream = Codec.load("jpeg", CPU, quality=10).encode(read_image(photo))
    decoder = Decoder.load("stylegan2-faces64", "pulse", CPU)
    with pytest.raises(UnsupportedCombination, match="64x64 pixels only"):
        decoder.check(bitstream)


def test_the_tile_option_reaches_the_network(photo: Path, tmp_path: Path) -> None:
    words = ["run", str(photo), "--generator", "toy", "--out", str(tmp_path), "--set", "solver.steps=1"]
    refused = CliRunner().invoke(main, [*words, "--tile", "16"])
    assert refused.exit_code == 2
    assert "Tiles of 16 pixels are too small" in refused.stderr
