"""A small DRUNet that is trained here for a few seconds: `drunet` behaves as a denoiser, not only as its layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from idemcore.io.images import read_image
from idemcore.noise import Noise
from idemcore.pipeline.codec import Codec
from idemcore.pipeline.decoder import Decoder
from idemcore.runtime import Runtime
from idemcore_spandrel.config import DenoiserConfig
from idemcore_spandrel.denoiser import LevelDenoiser

CPU = Runtime(torch.device("cpu"), torch.float32)
PHOTO = Path(__file__).parents[3] / "examples" / "photo.png"
STEPS, SIDE, BATCH = 250, 40, 4
MOST = 50 / 255

pytestmark = pytest.mark.slow


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * (a - b).square().mean().log10())


@pytest.fixture(scope="module")
def halves() -> tuple[Tensor, Tensor]:
    """The photograph's left half, to train on, and a part of its right one."""
    photo = read_image(PHOTO)
    middle = photo.shape[-1] // 2
    return photo[..., :middle], photo[..., 64:192, middle + 32 : middle + 160]


@pytest.fixture(scope="module")
def model(halves: tuple[Tensor, Tensor], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file of a DRUNet of a tenth of its widths, trained on noise of 0 to 50/255 (Zhang et al., TPAMI 2021)."""
    from spandrel.architectures.DRUNet import DRUNet

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = DRUNet(in_nc=4, out_nc=3, nc=[12, 16, 24, 32], nb=2)
        descent = torch.optim.Adam(network.parameters(), 1e-3)
        for step in range(STEPS):
            descent.param_groups[0]["lr"] = 1e-3 * (1 - step / STEPS)
            clean = crops(halves[0])
            level = MOST * torch.rand(BATCH, 1, 1, 1)
            noisy = torch.cat([clean + level * torch.randn_like(clean), level.expand_as(clean[:, :1])], dim=1)
            loss = F.l1_loss(network(noisy), clean)
            descent.zero_grad()
            loss.backward()
            descent.step()
    path = tmp_path_factory.mktemp("drunet") / "small.pth"
    torch.save(network.state_dict(), path)
    return str(path)


def crops(image: Tensor) -> Tensor:
    tops, lefts = (torch.randint(0, length - SIDE, (BATCH,)).tolist() for length in image.shape[-2:])
    return torch.cat([image[..., t : t + SIDE, x : x + SIDE] for t, x in zip(tops, lefts, strict=True)])


@pytest.fixture(scope="module")
def denoise(model: str) -> Callable[[Tensor, float], Tensor]:
    return LevelDenoiser(DenoiserConfig(model), CPU).denoise


@pytest.mark.parametrize(("level", "gain"), [(50 / 255, 4.0), (25 / 255, 1.5)])
def test_it_takes_noise_of_its_level_away(
    denoise: Callable[[Tensor, float], Tensor], halves: tuple[Tensor, Tensor], level: float, gain: float
) -> None:
    clean = halves[1]
    noisy = clean + level * Noise([1]).like(clean)
    with torch.no_grad():
        assert psnr(denoise(noisy, level), clean) > psnr(noisy, clean) + gain


def test_cell_on_it_is_exact(model: str, halves: tuple[Tensor, Tensor]) -> None:
    bitstream = Codec.load("jpeg", CPU, quality=5).encode(halves[1])
    settings = {"generator": {"model": model}, "solver": {"start_at": "centre"}}
    result = Decoder.load("drunet", "cell", CPU, settings).reconstruct(bitstream)
    assert result.exact
