"""A tiny ELIC with random weights whose latents take a few levels, pictures for it, and the command line in process."""

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
from idemcore.learned.factorized import FactorizedDensity
from idemcore.learned.weights import codec_file
from idemcore.runtime import Runtime
from idemcore_elic.network import Elic, Shape

TINY = Shape(channels=8, groups=(2, 2, 2, 2, 4), context=(8, 8), aggregation=(16, 16))


def randomise(tensors: dict[str, Tensor], seed: int = 0) -> None:
    """Fills the weights of convolutions so that activations keep their spread and latents take a few levels."""
    rng = torch.Generator().manual_seed(seed)
    for name, value in tensors.items():
        if name.startswith("entropy_bottleneck"):
            continue
        strided = value.dim() == 4 and value.shape[-1] == 5
        fan_in = value[:, 0].numel() / 4 if strided and name.startswith(("g_s", "h_s")) else value[0].numel()
        gain = 1.5 if strided or not name.startswith("g_") else 0.5
        spread = 0.1 if value.dim() == 1 else gain / fan_in**0.5
        value.copy_(spread * torch.randn(value.shape, generator=rng))


def tiny(seed: int = 0) -> Elic:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = Elic(TINY)
        randomise(model.state_dict(), seed)
        model.g_s[-1].weight.mul_(0.03)
        model.g_s[-1].bias.fill_(0.5)
        model.entropy_bottleneck.fit_quantiles()
    return model


def full_density(channels: int) -> FactorizedDensity:
    """With the quantiles that a trained one has."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        density = FactorizedDensity(channels)
    density.fit_quantiles()
    return density


def codec(seed: int = 0, **settings: object) -> LearnedEncoder:
    runtime = Runtime(torch.device("cpu"), torch.float32)
    return LearnedEncoder(tiny(seed), b"tiny", runtime, LearnedConfig(**settings))


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
    return SimpleNamespace(
        model=tiny,
        untrained=lambda shape=TINY: Elic(shape),
        codec=codec,
        picture=picture,
        randomise=randomise,
        full_density=full_density,
        real=lambda image: image.float() / 255,
    )


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
    """A folder of weights of the tiny network, qualities 1 and 2."""
    folder = tmp_path_factory.mktemp("weights")
    for quality in (1, 2):
        data = codec_file(tiny(quality).state_dict(), "elic", {"quality": str(quality)})
        (folder / f"elic-{quality}.safetensors").write_bytes(data)
    return folder
