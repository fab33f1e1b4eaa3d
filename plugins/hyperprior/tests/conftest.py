"""Tiny hyperprior networks with random weights whose latents take a few levels, and pictures for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from torch import Tensor, nn

from idemcore.cli import main
from idemcore.learned.config import LearnedConfig
from idemcore.learned.encoder import LearnedEncoder
from idemcore.learned.weights import codec_file
from idemcore.runtime import Runtime
from idemcore_hyperprior.network import Hyperprior, MeanHyperprior

KINDS = {"scale": Hyperprior, "mean": MeanHyperprior}


def randomise(tensors: dict[str, Tensor], seed: int = 0) -> None:
    """Fills the weights of convolutions so that activations keep their spread and latents take a few levels."""
    rng = torch.Generator().manual_seed(seed)
    for name, value in tensors.items():
        if value.dim() == 4:
            transposed = name.startswith(("g_s", "h_s")) and value.shape[-1] == 5
            fan_in = value[:, 0].numel() / 4 if transposed else value[0].numel()
            gain = 3.0 if name == "g_a.6.weight" else 1.5
            value.copy_(gain / fan_in**0.5 * torch.randn(value.shape, generator=rng))
        elif name.endswith(".bias") and value.dim() == 1:
            value.copy_(0.1 * torch.randn(value.shape, generator=rng))


def tiny(kind: str = "scale", seed: int = 0, channels: int = 8, latents: int = 12) -> Hyperprior:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = KINDS[kind](channels, latents)
        randomise(model.state_dict(), seed)
        model.g_s[-1].weight.mul_(0.02)
        model.g_s[-1].bias.fill_(0.5)
        model.entropy_bottleneck.fit_quantiles()
    return model


def codec(kind: str = "scale", seed: int = 0, **settings: object) -> LearnedEncoder:
    runtime = Runtime(torch.device("cpu"), torch.float32)
    return LearnedEncoder(tiny(kind, seed), b"tiny", runtime, LearnedConfig(**settings))


def picture(count: int = 1, height: int = 64, width: int = 64, seed: int = 0) -> Tensor:
    """Byte images [count,3,height,width]: soft shades, an edge, and grain on a part of each."""
    rng = torch.Generator().manual_seed(seed)
    shades = nn.functional.interpolate(torch.rand(count, 3, 5, 5, generator=rng), (height, width), mode="bilinear")
    grain = 0.1 * torch.randn(count, 3, height, width, generator=rng)
    grain[..., : width // 2] = 0
    shades[:, :, height // 3 : height // 2] *= 0.4
    return ((shades + grain).clamp(0, 1) * 255).round().to(torch.uint8)


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """The functions above, which pytest's import mode keeps tests from importing."""
    return SimpleNamespace(model=tiny, codec=codec, picture=picture, real=lambda image: image.float() / 255)


@pytest.fixture
def idem() -> Callable[..., Result]:
    """`idem("run", path, ...)`: the command line with these arguments; `.stdout`, `.stderr`, `.exit_code`."""
    return lambda *arguments: CliRunner().invoke(main, [str(a) for a in arguments], prog_name="idem")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A PNG of 60x40 pixels."""
    path = tmp_path / "photo.png"
    Image.fromarray(picture(1, 40, 60)[0].permute(1, 2, 0).numpy()).save(path)
    return path


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights of the tiny networks: quality 1 knows scales, quality 2 means too."""
    folder = tmp_path_factory.mktemp("weights")
    for quality, kind in ((1, "scale"), (2, "mean")):
        data = codec_file(tiny(kind).state_dict(), "hyperprior", {"quality": str(quality)})
        (folder / f"hyperprior-{quality}.safetensors").write_bytes(data)
    return folder
